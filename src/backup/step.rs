//! The steps of a backup and of a restore. A test stops, kills or fills the disk at each of them; a vault at work does nothing
//! there.

use std::fmt;
use std::sync::Arc;

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A page of all rows is read.
    Scan,
    /// What has changed since is read.
    Changes,
    /// The writer stands still while the last changes are read.
    StandStill,
    /// The vault notes that there is a backup.
    NoteBackup,
    /// The trailer is written, without which an archive is none.
    Trailer,
    /// The file is made, under another name.
    CreateFile,
    /// Some of the archive is written to it.
    WriteFile,
    /// It is synced.
    SyncFile,
    /// It gets its name.
    NameFile,
    /// The archive is read to its end, and nothing is written.
    Verify,
    /// The new store is made.
    MakeStore,
    /// Some rows are stored.
    WriteRows,
    /// The policy is stored, with bindings suspended.
    WritePolicy,
    /// What was destroyed after the backup is destroyed again.
    Replay,
    /// The restore is put on record.
    Announce,
    /// The header is stored, without which a store is no vault.
    WriteHeader,
    /// The store is closed.
    CloseStore,
    /// It is put on record that the restore is done.
    NoteRestore,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: &'static [Self] = &[
        Self::Scan,
        Self::Changes,
        Self::StandStill,
        Self::NoteBackup,
        Self::Trailer,
        Self::CreateFile,
        Self::WriteFile,
        Self::SyncFile,
        Self::NameFile,
        Self::Verify,
        Self::MakeStore,
        Self::WriteRows,
        Self::WritePolicy,
        Self::Replay,
        Self::Announce,
        Self::WriteHeader,
        Self::CloseStore,
        Self::NoteRestore,
    ];

    /// Whether it belongs to the making of a backup; the others belong to a restore.
    #[must_use]
    pub const fn is_of_backup(self) -> bool {
        (self as u8) < (Self::Verify as u8)
    }
}

/// Who is told of each step before it is done.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Fn(Step) + Send + Sync>>);

impl Steps {
    /// Somebody who wants to know.
    #[must_use]
    pub fn told_to(who: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(who)))
    }

    /// This step comes next.
    pub fn at(&self, step: Step) {
        if let Some(who) = &self.0 {
            who(step);
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_stand_in_their_order() {
        assert!(Step::ALL.iter().enumerate().all(|(position, step)| *step as usize == position));
        assert_eq!(Step::ALL.last(), Some(&Step::NoteRestore));
        assert_eq!(Step::ALL.iter().filter(|step| step.is_of_backup()).count(), 9);
    }
}
