//! The folder and its segments: names, modes, identities, and the one way to write durably.
//!
//! | name | what |
//! |---|---|
//! | `audit-<first sequence, 20 digits>.jsonl` | a segment, mode 0600: lines, then zeros up to its size while it is in use |
//! | `audit-spare` | the next segment before it has a name |

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::AuditError;

const SPARE: &str = "audit-spare";
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// The folder of the log, mode 0700, locked against other processes for as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    handle: File,
    identity: Identity,
}

/// A segment open for writing. What lies before `length` is durable.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) file: File,
    pub(super) length: u64,
}

/// Two paths with the same identity are the same file.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Folder {
    /// Makes the folder if there is none (its parent must exist), narrows its mode to 0700 and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(AuditError::io("make", path)(error)),
            _ => {}
        }
        let handle = File::open(path).map_err(AuditError::io("open", path))?;
        let metadata = handle.metadata().map_err(AuditError::io("look at", path))?;
        if !metadata.is_dir() {
            return Err(AuditError::io("open", path)(io::ErrorKind::NotADirectory.into()));
        }
        narrow(&handle, &metadata, 0o700).map_err(AuditError::io("set the mode of", path))?;
        match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(AuditError::Locked(path.to_owned())),
            Err(error) => Err(AuditError::io("lock", path)(error.into())),
            Ok(()) => Ok(Self { path: path.to_owned(), handle, identity: identity(&metadata) }),
        }
    }

    /// Whether the path still leads to the folder that was opened: not so if it was moved, replaced or mounted over.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(identity(&metadata) == self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the segment's name still leads to the file that is being written: fsync of a file without a name succeeds.
    pub(super) fn holds(&self, segment: &Segment) -> io::Result<bool> {
        let own = rustix::fs::fstat(&segment.file)?;
        match rustix::fs::statat(&self.handle, segment_name(segment.first), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok(own.st_nlink > 0 && (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a segment that exists, for reading and writing, and narrows its mode to 0600.
    pub(super) fn open_segment(&self, first: u64) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(rustix::fs::openat(&self.handle, segment_name(first), flags, Mode::empty())?);
        narrow(&file, &file.metadata()?, 0o600)?;
        Ok(file)
    }

    /// A new file of `bytes` zeros, on disk, without a segment's name as yet; nothing is left of it if that fails.
    pub(super) fn prepare_spare(&self, bytes: u64) -> io::Result<File> {
        self.remove_spare()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(rustix::fs::openat(&self.handle, SPARE, flags, Mode::RUSR | Mode::WUSR)?);
        let filled = narrow(&file, &file.metadata()?, 0o600).and_then(|()| allocate(&file, bytes)).and_then(|()| fill(&file, 0, bytes));
        if filled.is_err() {
            self.remove_spare()?;
        }
        filled.map(|()| file)
    }

    /// Removes the spare, if there is one.
    pub(super) fn remove_spare(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.handle, SPARE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the spare its name as the segment that begins with `first`. Unless told so, it replaces no file. The name is
    /// durable only after [`Folder::sync`].
    pub(super) fn name_spare(&self, first: u64, replace: bool) -> io::Result<()> {
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(rustix::fs::renameat_with(&self.handle, SPARE, &self.handle, segment_name(first), flags)?)
    }

    /// Makes names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl Segment {
    /// Appends, and returns when the bytes are on disk. After an error they may be there in part or in whole: the range must
    /// not be written again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let offset = self.length + written as u64;
            // The flag of the call, not of the file: rustix's `OFlags::DSYNC` is O_SYNC on Linux, which syncs times as well.
            match rustix::io::pwritev2(&self.file, &[IoSlice::new(&bytes[written..])], offset, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Cuts off what lies after the last durable byte.
    pub(super) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }
}

/// Writes zeros over `from..to` and syncs. Blocks that have been written once need no metadata when they are written again:
/// that halves the cost of a durable write.
pub(super) fn fill(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let length = (to - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..usize::try_from(length).unwrap_or(ZEROS.len())], at)?;
        at += length;
    }
    file.sync_all()
}

/// Sequences with which the folder's segments begin, in order. Other files do not count.
pub(super) fn segments_in(folder: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(folder)? {
        firsts.extend(entry?.file_name().to_str().and_then(first_of));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Name of the segment that begins with this sequence.
pub(super) fn segment_name(first: u64) -> String {
    format!("audit-{first:020}.jsonl")
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| well_formed)
}

/// Asks for the room at once, so that a full disk says so before a byte is written. A file system that cannot is no fault.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The umask takes bits away at creation, and an existing file may have too many: this sets them, whatever they were.
fn narrow(file: &File, metadata: &Metadata, mode: u32) -> io::Result<()> {
    if metadata.mode() & 0o7777 == mode { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode)) }
}

fn identity(metadata: &Metadata) -> Identity {
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_and_nothing_else_counts() {
        assert_eq!(segment_name(42), "audit-00000000000000000042.jsonl");
        assert_eq!(first_of("audit-00000000000000000042.jsonl"), Some(42));
        for name in ["audit-42.jsonl", "audit-+0000000000000000042.jsonl", "audit-00000000000000000042.jsonl.gz", "audit-spare", "audit-"] {
            assert_eq!(first_of(name), None, "{name}");
        }
    }
}
