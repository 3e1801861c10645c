//! The ledger: the store's own row, written with every group, that says what rows there must be.
//!
//! sled takes a damaged message in the part of its log that it replays for the end of a segment and goes on behind it: the
//! rows in between are gone or old, and nobody is told. So the ledger keeps the number of rows and the sum of their
//! revisions. A row lost, or fallen back to an older revision, changes one of them: `count` finds it.

use super::super::{Revision, StoreError};

/// Under the empty key, which no row of a caller can have.
pub(super) const LEDGER_KEY: &[u8] = b"";

const FORMAT: u8 = 1;
const LEDGER_BYTES: usize = 1 + 8 + 8 + 16;

/// What is in the store. Row: format (1 byte) ‖ revision (8) ‖ rows (8) ‖ sum of revisions (16), all big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    /// Of the last commit. It is kept here because the row of that commit may have been a deletion.
    pub(super) revision: Revision,
    rows: u64,
    sum_of_revisions: u128,
}

impl Ledger {
    /// Of a store without rows, whose next revision is the one after this.
    pub(super) fn after(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    /// A row at `old` (absent: none) is at `new` from now on.
    pub(super) fn replace(&mut self, old: Revision, new: Revision) {
        self.remove(old);
        self.add(new);
    }

    /// Takes one more row into account.
    pub(super) fn add(&mut self, revision: Revision) {
        if revision != Revision::ABSENT {
            self.rows = self.rows.wrapping_add(1);
            self.sum_of_revisions = self.sum_of_revisions.wrapping_add(revision.number().into());
        }
    }

    fn remove(&mut self, revision: Revision) {
        if revision != Revision::ABSENT {
            self.rows = self.rows.wrapping_sub(1);
            self.sum_of_revisions = self.sum_of_revisions.wrapping_sub(revision.number().into());
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEDGER_BYTES);
        bytes.push(FORMAT);
        bytes.extend(self.revision.number().to_be_bytes());
        bytes.extend(self.rows.to_be_bytes());
        bytes.extend(self.sum_of_revisions.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let wrong = || StoreError::Corrupt("the ledger has an unknown format".to_owned());
        let (format, rest) = bytes.split_first().ok_or_else(wrong)?;
        let (revision, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let (rows, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let sum_of_revisions: [u8; 16] = rest.try_into().map_err(|_| wrong())?;
        if *format != FORMAT {
            return Err(wrong());
        }
        Ok(Self {
            revision: Revision::from_number(u64::from_be_bytes(*revision)),
            rows: u64::from_be_bytes(*rows),
            sum_of_revisions: u128::from_be_bytes(sum_of_revisions),
        })
    }

    /// How many rows there are.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether the rows that were found are those that it says.
    pub(super) fn confirm(&self, found: &Self) -> Result<(), StoreError> {
        if (found.rows, found.sum_of_revisions) == (self.rows, self.sum_of_revisions) {
            return Ok(());
        }
        let why = format!("{} rows of {} are there, or some are older than they were", found.rows, self.rows);
        Err(StoreError::Corrupt(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: u64) -> Revision {
        Revision::from_number(number)
    }

    fn agree(ledger: Ledger, rows: &[u64]) -> bool {
        let mut found = Ledger::default();
        rows.iter().for_each(|number| found.add(revision(*number)));
        ledger.confirm(&found).is_ok()
    }

    #[test]
    fn a_lost_and_a_rolled_back_row_are_noticed() {
        let mut ledger = Ledger { revision: revision(9), ..Ledger::default() };
        ledger.replace(Revision::ABSENT, revision(1));
        ledger.replace(Revision::ABSENT, revision(2));
        ledger.replace(revision(1), revision(9));
        assert!(agree(ledger, &[2, 9]));
        assert!(!agree(ledger, &[2, 1]));
        assert!(!agree(ledger, &[9]));
        assert!(!agree(ledger, &[2, 9, 9]));
        ledger.replace(revision(9), Revision::ABSENT);
        assert!(agree(ledger, &[2]));
    }

    #[test]
    fn the_row_has_one_form() {
        let ledger = Ledger { revision: revision(3), rows: 2, sum_of_revisions: 5 };
        assert_eq!(hex::encode(ledger.encode()), "010000000000000003000000000000000200000000000000000000000000000005");
        assert_eq!(Ledger::decode(&ledger.encode()).expect("its own bytes"), ledger);
        let mut unknown = ledger.encode();
        unknown[0] = 2;
        assert!(Ledger::decode(&unknown).is_err());
        assert!(Ledger::decode(&ledger.encode()[1..]).is_err());
        assert!(Ledger::decode(b"").is_err());
    }
}
