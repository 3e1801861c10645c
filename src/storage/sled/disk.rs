//! The disk under the log: how much room there is, and what is really on it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::StatVfsMountFlags;

use super::super::StoreError;
use super::folder::{Folder, LOG};

/// Our own handle of sled's log, and the file system that it lies on.
///
/// The handle is opened before sled writes: an error of writing back is told once to each handle that was open when it
/// happened, so that sled's own fsyncs, whose errors it only logs, cannot swallow one.
pub(super) struct Disk {
    log: File,
    folder: PathBuf,
    reserve_bytes: u64,
}

impl Disk {
    pub(super) fn open(folder: &Folder, reserve_bytes: u64) -> Result<Self, StoreError> {
        Ok(Self { log: folder.file(LOG)?, folder: folder.path().to_owned(), reserve_bytes })
    }

    /// Whether there is room for more writes; if not, why.
    pub(super) fn room(&self) -> Result<(), String> {
        let system = rustix::fs::statvfs(&self.folder).map_err(|error| format!("the file system does not answer: {error}"))?;
        let free_bytes = system.f_bavail.saturating_mul(system.f_frsize);
        judge(system.f_flag.contains(StatVfsMountFlags::RDONLY), free_bytes, self.reserve_bytes)
    }

    /// Returns when every byte that was written to the log is on the disk.
    ///
    /// sled's flush starts the writing and waits for it, but neither flushes the disk's own cache nor syncs the file's new
    /// length. An error here must never be followed by another try: the kernel has dropped the pages, and the next sync
    /// would succeed without them.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.log.sync_data()?;
        match self.log.metadata()?.nlink() {
            // The sync of a file without a name succeeds as well.
            0 => Err(io::Error::new(ErrorKind::NotFound, "the log was removed from its folder")),
            _ => Ok(()),
        }
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.log.metadata().map_or(0, |log| log.len())
    }

    /// With another file in the log's place.
    #[cfg(test)]
    pub(super) fn over(log: File, folder: &Folder) -> Self {
        Self { log, folder: folder.path().to_owned(), reserve_bytes: 0 }
    }
}

fn judge(is_read_only: bool, free_bytes: u64, reserve_bytes: u64) -> Result<(), String> {
    if is_read_only {
        return Err("the file system is read-only".to_owned());
    }
    if free_bytes < reserve_bytes {
        return Err(format!("{free_bytes} bytes free on the file system, {reserve_bytes} are held in reserve"));
    }
    Ok(())
}

/// Whether a write failed for a reason that passes: there was no room, or the file system is read-only.
pub(super) fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge | ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_kept_to_the_byte() {
        assert!(judge(false, 100, 100).is_ok());
        assert!(judge(false, 99, 100).is_err());
        assert!(judge(true, 100, 100).is_err());
    }

    #[test]
    fn what_passes_and_what_does_not() {
        use rustix::io::Errno;
        let is_passing = |code: Errno| is_passing(io::Error::from(code).kind());
        assert!([Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::ROFS].into_iter().all(is_passing));
        assert!(![Errno::IO, Errno::BADF, Errno::PERM].into_iter().any(is_passing));
    }
}
