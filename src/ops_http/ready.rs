//! Whether calls would be served, condition by condition.

use super::Watched;
use crate::model::Timestamp;
use crate::{audit, storage};

/// One condition: its name, whether calls are served as far as it goes, and what is to be said of it.
struct Finding {
    name: &'static str,
    serves: bool,
    says: String,
}

/// Whether all conditions hold, and a line for each.
pub(super) fn told(watched: &Watched) -> (bool, String) {
    let findings = findings(watched);
    let line = |finding: &Finding| format!("{} {}: {}\n", if finding.serves { "ok " } else { "NOT" }, finding.name, finding.says);
    let verdict = if findings.iter().all(|finding| finding.serves) { "ready\n" } else { "not ready\n" };
    let lines: String = findings.iter().map(line).collect();
    (verdict == "ready\n", format!("{verdict}{lines}"))
}

fn findings(watched: &Watched) -> Vec<Finding> {
    let finding = |name, serves, says: &str| Finding { name, serves, says: says.to_owned() };
    let now = watched.clock.now();
    vec![
        match *watched.ending.borrow() {
            true => finding("server", false, "it is ending: calls under way are finished, no new ones begun"),
            false => finding("server", true, "takes calls"),
        },
        match watched.vault.is_open() {
            true => finding("vault", true, "open"),
            false => finding("vault", false, "sealed: a custodian opens it with `strongroom unseal`"),
        },
        match watched.audit.condition() {
            audit::Condition::Writable => finding("audit", true, "can be written"),
            audit::Condition::Failing { why, .. } => finding("audit", false, &format!("cannot be written, so nothing is served: {why}")),
        },
        match watched.vault.store_status().condition {
            storage::Condition::Healthy => finding("store", true, "reads and writes"),
            storage::Condition::RefusingWrites { why, .. } => finding("store", true, &format!("reads, but takes no writes: {why}")),
            storage::Condition::Fatal { why, .. } => finding("store", false, &format!("failed for good: {why}")),
            storage::Condition::Closed => finding("store", false, "closed"),
        },
        certificate(watched, now),
        lists(watched, now),
        match watched.live.reloads().refused {
            None => finding("reload", true, "the files of certificates and lists are in force"),
            Some(why) => finding("reload", true, &format!("the files as they are now are NOT in force, older ones are: {why}")),
        },
    ]
}

fn certificate(watched: &Watched, now: Timestamp) -> Finding {
    let end = watched.live.current().not_after();
    let says = if end > now { format!("good until {end}") } else { format!("ended {end}: put a new one in its place") };
    Finding { name: "certificate", serves: end > now, says }
}

/// Of several lists the one that ends first speaks for all.
fn lists(watched: &Watched, now: Timestamp) -> Finding {
    let tls = watched.live.current();
    let Some(first) = tls.lists().iter().min_by_key(|list| list.next_update) else {
        return Finding { name: "revocation lists", serves: true, says: "none is configured".to_owned() };
    };
    let (end, serves) = (first.next_update, first.next_update > now);
    let whose = format!("that of {} in {}", first.issuer, first.domain);
    let says = match serves {
        true => format!("good until {end}, when {whose} ends"),
        false => format!("{whose} ended {end}, so nobody of that CA can connect: put a new one in its place"),
    };
    Finding { name: "revocation lists", serves, says }
}
