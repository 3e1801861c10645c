//! The count: whether the rows add up to what the ledger says. It goes on a stretch of keys at a time while the store serves,
//! since a million rows take seconds.
//!
//! The writer counts, and nobody else changes rows. So it is known exactly what lies up to the key where the count stands: a
//! change there changes what was found, and a change beyond it will be found.

use super::super::{Key, Revision, StoreError};
use super::ledger::Ledger;
use super::log::Log;

/// What was found so far.
#[derive(Default)]
pub(super) struct Count {
    found: Ledger,
    /// All rows up to this key, and no others, are in `found`.
    up_to: Option<Key>,
}

impl Count {
    /// Counts so many more rows. `true`: that was all of them, and they are what `ledger` says.
    pub(super) fn go_on(&mut self, log: &Log, ledger: &Ledger, rows: usize) -> Result<bool, StoreError> {
        let mut counted = 0;
        for row in log.rows_after(self.up_to.as_ref()).take(rows) {
            let (key, row) = row?;
            self.found.add(row.revision);
            self.up_to = Some(key);
            counted += 1;
        }
        match counted < rows {
            true => ledger.confirm(&self.found).map(|()| true),
            false => Ok(false),
        }
    }

    /// A group was written: each of these rows went from one revision to another, in this order.
    pub(super) fn follow(&mut self, replacements: &[(Key, Revision, Revision)]) {
        for (key, old, new) in replacements {
            if self.up_to.as_ref().is_some_and(|up_to| key <= up_to) {
                self.found.replace(*old, *new);
            }
        }
    }

    /// How many rows it knows of.
    pub(super) fn rows(&self) -> u64 {
        self.found.rows()
    }
}
