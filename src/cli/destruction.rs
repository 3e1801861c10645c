//! What a destruction means, told as it is: what is gone now, what ends when, and on what that rests.

use serde::Serialize;

use super::output::Printer;
use crate::model::Timestamp;

/// One thing that a destruction ends, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Ends {
    /// What.
    what: &'static str,
    /// When, in words.
    when: String,
    /// On what it rests.
    rests_on: &'static str,
}

/// What ends when. `last_purge` is when the last recovery window ends; none where there is none any more.
pub(super) fn ends(last_purge: Option<Timestamp>) -> Vec<Ends> {
    let rows = match last_purge {
        Some(time) => format!("at {time}; until then `strongroom secret restore` brings it back, and `secret purge` ends it at once"),
        None => "now".to_owned(),
    };
    vec![
        Ends { what: "nobody can read it through the vault", when: "now".to_owned(), rests_on: "the vault's own refusal, at each call" },
        Ends {
            what: "its rows are deleted, older versions among them",
            when: rows,
            rests_on: "the vault's own work, on record as PurgeDue",
        },
        Ends {
            what: "what is left in the data folder's files, which is ciphertext, cannot be read",
            when: "when its key version is retired: `strongroom keys rotate`, `keys disable`, `keys retire`".to_owned(),
            rests_on: "no copy of the key being left",
        },
        Ends {
            what: "copies of the data folder do not hold it",
            when: "when the last copy from before has been destroyed".to_owned(),
            rests_on: "whoever keeps them",
        },
        Ends {
            what: "a provider's token is void",
            when: "when the provider revokes it, which nothing here does".to_owned(),
            rests_on: "the provider",
        },
    ]
}

/// The same for people, on standard error.
pub(super) fn explain(printer: Printer, ends: &[Ends]) {
    for Ends { what, when, rests_on } in ends {
        printer.note(&format!("- {what}: {when} (rests on {rests_on})"));
    }
}
