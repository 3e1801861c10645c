//! The witness: a small file beside the log that holds the highest revision which was acknowledged.
//!
//! sled cannot tell a tail that was never finished (dropped, rightly) from one that was damaged or cut off later (dropped
//! as well). The witness can. It is written after a group is on disk and is not synced itself: what is in it was durable
//! before it, whenever the system writes it out, so it can be too low after a power cut but never too high.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::{Revision, StoreError};
use super::folder::{Folder, WITNESS};

/// File: revision (8 bytes, big-endian) ‖ the same, inverted.
pub(super) struct Witness(File);

impl Witness {
    pub(super) fn open(folder: &Folder) -> Result<Self, StoreError> {
        folder.file(WITNESS).map(Self)
    }

    /// This revision is durable. Failing is no reason to stop: the witness stays lower than it could be.
    pub(super) fn record(&self, durable: Revision) {
        if let Err(error) = self.0.write_all_at(&encode(durable), 0) {
            tracing::warn!(%error, "the witness could not be written");
        }
    }

    /// Whether a recovered log reaches as far as what was acknowledged.
    pub(super) fn confirm(&self, recovered: Revision) -> Result<(), StoreError> {
        match self.read() {
            Some(witnessed) if witnessed > recovered => {
                Err(StoreError::Corrupt(format!("the log ends at revision {recovered}, but {witnessed} was acknowledged")))
            }
            Some(_) => Ok(()),
            None => {
                tracing::warn!("the witness is missing or unreadable: a cut log would go unnoticed");
                Ok(())
            }
        }
    }

    fn read(&self) -> Option<Revision> {
        let mut bytes = [0; 16];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let (revision, _) = bytes.split_first_chunk()?;
        let revision = Revision::from_number(u64::from_be_bytes(*revision));
        (bytes == encode(revision)).then_some(revision)
    }
}

fn encode(revision: Revision) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&revision.number().to_be_bytes());
    bytes[8..].copy_from_slice(&(!revision.number()).to_be_bytes());
    bytes
}
