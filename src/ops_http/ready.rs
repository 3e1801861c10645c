//! Whether calls would be served, condition by condition.

use super::Watched;
use crate::model::Timestamp;
use crate::{audit, storage};

/// How it is with a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Calls are served, but somebody has to look.
    Ailing,
    /// No calls are served.
    Not,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Well => "ok ",
            Self::Ailing => "BUT",
            Self::Not => "NOT",
        }
    }
}

/// One condition: its name, how it is with it, and what is to be said of it.
struct Finding {
    name: &'static str,
    state: State,
    says: String,
}

/// Whether all conditions hold, and a line for each.
pub(super) fn told(watched: &Watched) -> (bool, String) {
    let findings = findings(watched);
    let line = |finding: &Finding| format!("{} {}: {}\n", finding.state.word(), finding.name, finding.says);
    let verdict = if findings.iter().all(|finding| finding.state != State::Not) { "ready\n" } else { "not ready\n" };
    let lines: String = findings.iter().map(line).collect();
    (verdict == "ready\n", format!("{verdict}{lines}"))
}

fn findings(watched: &Watched) -> Vec<Finding> {
    use State::{Ailing, Not, Well};
    let finding = |name, state, says: &str| Finding { name, state, says: says.to_owned() };
    let now = watched.clock.now();
    vec![
        match *watched.ending.borrow() {
            true => finding("server", Not, "it is ending: calls under way are finished, no new ones begun"),
            false => finding("server", Well, "takes calls"),
        },
        match watched.vault.is_open() {
            true => finding("vault", Well, "open"),
            false => finding("vault", Not, "sealed: a custodian opens it with `strongroom unseal`"),
        },
        match watched.audit.condition() {
            audit::Condition::Writable => finding("audit", Well, "can be written"),
            audit::Condition::Failing { why, .. } => finding("audit", Not, &format!("cannot be written, so nothing is served: {why}")),
        },
        match watched.vault.store_status().condition {
            storage::Condition::Healthy => finding("store", Well, "reads and writes"),
            storage::Condition::RefusingWrites { why, .. } => finding("store", Ailing, &format!("reads, but takes no writes: {why}")),
            storage::Condition::Fatal { why, .. } => finding("store", Not, &format!("failed for good: {why}")),
            storage::Condition::Closed => finding("store", Not, "closed"),
        },
        certificate(watched, now),
        lists(watched, now),
        match watched.live.reloads().refused {
            None => finding("reload", Well, "the files of certificates and lists are in force"),
            Some(why) => finding("reload", Ailing, &format!("the files as they are now are NOT in force, older ones are: {why}")),
        },
    ]
}

fn certificate(watched: &Watched, now: Timestamp) -> Finding {
    let end = watched.live.current().not_after();
    let says = if end > now { format!("good until {end}") } else { format!("ended {end}: put a new one in its place") };
    Finding { name: "certificate", state: if end > now { State::Well } else { State::Not }, says }
}

/// Of several lists the one that ends first speaks for all.
fn lists(watched: &Watched, now: Timestamp) -> Finding {
    let tls = watched.live.current();
    let Some(first) = tls.lists().iter().min_by_key(|list| list.next_update) else {
        return Finding { name: "revocation lists", state: State::Well, says: "none is configured".to_owned() };
    };
    let end = first.next_update;
    let state = if end > now { State::Well } else { State::Not };
    let whose = format!("that of {} in {}", first.issuer, first.domain);
    let says = match state == State::Well {
        true => format!("good until {end}, when {whose} ends"),
        false => format!("{whose} ended {end}, so nobody of that CA can connect: put a new one in its place"),
    };
    Finding { name: "revocation lists", state, says }
}
