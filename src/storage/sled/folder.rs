//! The folder: whose it is, what lies in it, and who may read it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::StoreError;

/// sled's log, which is all of its data.
pub(super) const LOG: &str = "db";
/// sled's parameters.
const PARAMETERS: &str = "conf";
/// Where sled would put pages too large for its log; it never syncs them, so there must be none.
pub(super) const BLOBS: &str = "blobs";
/// Ours: held locked while the store is open.
const LOCK: &str = "lock";
/// Ours: the highest revision that was acknowledged.
pub(super) const WITNESS: &str = "witness";
/// Ours: where torn snapshots go.
pub(super) const SET_ASIDE: &str = "set-aside";
/// What a new file system brings along.
const LOST_AND_FOUND: &str = "lost+found";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder that this process, and no other, uses as a store.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder, or takes an empty one.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        if path.exists() && !is_empty(path)? {
            return Err(refused(path, "is not empty: it cannot become a new store"));
        }
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(failed(path, "cannot be made"))?;
        set_mode(path, FOLDER_MODE)?;
        let lock = path.join(LOCK);
        // Of two that create at the same time, one finds the other's lock.
        private().create_new(true).open(&lock).map_err(failed(&lock, "cannot be made"))?;
        let folder = Self::lock(path)?;
        folder.fill()?;
        sync_folder(path)?;
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)?;
        Ok(folder)
    }

    /// Takes a folder that holds a store.
    pub(super) fn existing(path: &Path) -> Result<Self, StoreError> {
        let log = path.join(LOG);
        if !path.is_dir() {
            return Err(refused(path, "is not there: was the disk mounted?"));
        }
        if !fs::metadata(&log).is_ok_and(|file| file.is_file() && file.len() > 0) {
            return Err(refused(path, "holds no store: was the disk mounted?"));
        }
        let folder = Self::lock(path)?;
        folder.fill()?;
        folder.set_aside_torn_snapshots()?;
        Ok(folder)
    }

    /// A file or folder in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of ours for reading and writing, made if it is not there.
    pub(super) fn file(&self, name: &str) -> Result<File, StoreError> {
        let path = self.join(name);
        private().create(true).truncate(false).open(&path).map_err(failed(&path, "cannot be opened"))
    }

    /// A kill while sled writes a snapshot leaves half of it as `snap.*.generating`, and its next open would take that for
    /// the newest snapshot and fail. The one before it is still there: sled removes it last.
    pub(super) fn set_aside_torn_snapshots(&self) -> Result<(), StoreError> {
        for name in names(&self.path)?.filter(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            let (from, to) = (self.join(&name), self.join(SET_ASIDE).join(&name));
            fs::rename(&from, to).map_err(failed(&from, "cannot be set aside"))?;
            tracing::warn!(file = name, "set aside a snapshot that was not finished");
        }
        Ok(())
    }

    /// Makes all of it private, whatever the umask: sled makes its files as the umask lets it. Then syncs the names.
    pub(super) fn tighten(&self) -> Result<(), StoreError> {
        set_mode(&self.path, FOLDER_MODE)?;
        for name in names(&self.path)?.filter(|name| name != LOST_AND_FOUND) {
            let path = self.join(&name);
            set_mode(&path, if path.is_dir() { FOLDER_MODE } else { FILE_MODE })?;
        }
        sync_folder(&self.path)
    }

    fn lock(path: &Path) -> Result<Self, StoreError> {
        let name = path.join(LOCK);
        let lock = private().create(true).truncate(false).open(&name).map_err(failed(&name, "cannot be opened"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(refused(path, "is in use by another process")),
            Err(TryLockError::Error(error)) => Err(failed(&name, "cannot be locked")(error)),
        }
    }

    /// What sled would make with the modes of the umask is there before it comes, with ours.
    fn fill(&self) -> Result<(), StoreError> {
        for name in [LOG, PARAMETERS] {
            self.file(name)?;
        }
        for name in [BLOBS, SET_ASIDE] {
            let path = self.join(name);
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path).map_err(failed(&path, "cannot be made"))?;
        }
        Ok(())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

fn is_empty(path: &Path) -> Result<bool, StoreError> {
    Ok(names(path)?.all(|name| name == LOST_AND_FOUND))
}

/// Names that are not text are none of ours or sled's.
fn names(path: &Path) -> Result<impl Iterator<Item = String>, StoreError> {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed(path, "cannot be read"))?;
    Ok(entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned()))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed(path, "cannot be made private"))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(failed(path, "cannot be synced"))
}

fn refused(path: &Path, why: &'static str) -> StoreError {
    StoreError::Folder { path: path.to_owned(), why, source: None }
}

pub(super) fn failed(path: &Path, why: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Folder { path, why, source: Some(error) }
}
