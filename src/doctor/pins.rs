//! Is the vault the one that the configuration pins? The server says which vault it serves; the first entry of the audit log says
//! which key the vault was made with. The store is not opened: while the server runs it is locked, and opening it would write.

use std::path::Path;

use super::finding::{Check, Finding, Unseen};
use super::server::Answers;
use crate::audit::{AuditError, Filter, Order, Reader};
use crate::config::Pins;
use crate::model::{Timestamp, VaultId, with_causes};

/// What the audit log says.
#[derive(Debug, Clone)]
pub(super) struct Log {
    /// Its first entry, if that is there still.
    made: Result<Made, Unseen>,
    /// The time of its last entry.
    pub(super) last: Result<Timestamp, Unseen>,
}

/// What `init` wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    vault: String,
    audit_public_key: String,
}

const MOVED: &str = "look into the copy of the log's first file: its first line (method `init`) holds both pins";

/// Reads the first entry of the log and the last.
pub(super) fn log(folder: &Path) -> Log {
    let unseen = |error: AuditError| Unseen::new(with_causes(&error), super::AS_ROOT);
    let reader = match Reader::open(folder) {
        Ok(reader) => reader,
        Err(error) => return Log { made: Err(unseen(error)), last: Err(Unseen::new("the audit log cannot be read", super::AS_ROOT)) },
    };
    let none = || Unseen::new("the audit log has no entry", "`strongroom init` makes the first; see audit_folder");
    let first = reader.entries(Filter::default(), Order::OldestFirst).next();
    let made = match first {
        Some(Ok(entry)) if entry.method == "init" => {
            let detail = |key: &str| entry.detail.get(key).cloned().unwrap_or_default();
            Ok(Made { vault: detail("vault"), audit_public_key: detail("audit_public_key") })
        }
        Some(Ok(_)) => Err(Unseen::new("the log's first file, whose first line holds both pins, is no longer there", MOVED)),
        Some(Err(error)) => Err(unseen(error)),
        None => Err(none()),
    };
    let last = match reader.entries(Filter::default(), Order::NewestFirst).next() {
        Some(Ok(entry)) => Ok(entry.time),
        Some(Err(error)) => Err(unseen(error)),
        None => Err(none()),
    };
    Log { made, last }
}

pub(super) fn check(pinned: Option<&Pins>, answers: &Answers, log: &Log) -> Vec<Finding> {
    let Some(pins) = pinned else {
        let advice = "run `strongroom init` once, and copy both lines that it prints into the configuration";
        return vec![Check::Pins.fail("vault_id and audit_public_key are missing: no vault is pinned", advice)];
    };
    let served = answers.status.as_ref().map(|status| status.vault_id);
    vec![vault(pins, served.map_err(Clone::clone)), key(pins, &log.made)]
}

fn vault(pins: &Pins, served: Result<VaultId, Unseen>) -> Finding {
    let pinned = pins.vault_id;
    match served {
        Ok(served) if served == pinned => Check::Pins.pass(format!("the server serves the vault that is pinned, {pinned}")),
        Ok(served) => Check::Pins.fail(
            format!("vault_id pins {pinned}, but the server serves {served}"),
            "find out who changed the configuration or the store before anybody types a passphrase",
        ),
        Err(Unseen { why, advice }) => {
            Check::Pins.unknown(&Unseen::new(format!("whether the server serves the vault that is pinned cannot be seen: {why}"), advice))
        }
    }
}

/// The server compares the key at each unseal with the one in the store: here only whether the log tells the same.
fn key(pins: &Pins, made: &Result<Made, Unseen>) -> Finding {
    let pinned = Made { vault: pins.vault_id.to_string(), audit_public_key: hex::encode(pins.audit_public_key) };
    match made {
        Ok(made) if *made == pinned => Check::Pins.pass("both pins are those that `init` put on record"),
        Ok(_) => Check::Pins.fail(
            "the pins are not those that `init` put on record in the log's first line",
            "find out whether the configuration or the log was changed; an unseal refuses a pinned key that is not the vault's",
        ),
        Err(Unseen { why, advice }) => {
            Check::Pins.unknown(&Unseen::new(format!("whether the pins are those of `init` cannot be seen: {why}"), advice.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn pins() -> Pins {
        Pins { vault_id: VaultId::from_bytes([1; 16]), audit_public_key: [2; 32] }
    }

    #[test]
    fn only_the_pinned_vault_passes() {
        let unseen = || Unseen::new("it is silent", "start it");
        assert_eq!(vault(&pins(), Ok(pins().vault_id)).verdict, Verdict::Pass);
        assert_eq!(vault(&pins(), Ok(VaultId::from_bytes([3; 16]))).verdict, Verdict::Fail);
        assert_eq!(vault(&pins(), Err(unseen())).verdict, Verdict::Unknown);
        let made = |vault: u8, key: u8| Ok(Made { vault: hex::encode([vault; 16]), audit_public_key: hex::encode([key; 32]) });
        assert_eq!(key(&pins(), &made(1, 2)).verdict, Verdict::Pass);
        assert_eq!(key(&pins(), &made(1, 3)).verdict, Verdict::Fail);
        assert_eq!(key(&pins(), &made(3, 2)).verdict, Verdict::Fail);
        assert_eq!(key(&pins(), &Err(unseen())).verdict, Verdict::Unknown);
    }

    #[test]
    fn no_pins_and_no_log_pass_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (answers, log) = (Answers::none(&Unseen::new("", "")), log(folder.path()));
        assert_eq!(check(None, &answers, &log)[0].verdict, Verdict::Fail);
        assert!(check(Some(&pins()), &answers, &log).iter().all(|finding| finding.verdict == Verdict::Unknown));
        assert!(log.last.is_err());
    }
}
