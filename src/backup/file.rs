//! An archive's file: it has its name once it is whole and on disk. Until then it is `NAME.part`, which no restore takes for whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{BackupError, Step, Steps};
use crate::crypto::Sha256;

/// A file in the making. Dropped before [`PartFile::finish`], it is removed.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    part: PathBuf,
    file: Option<File>,
    digest: Sha256,
    bytes: u64,
    steps: Steps,
}

/// What was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
}

impl PartFile {
    /// Makes it, for its owner alone. What a run that was killed has left under the name of the part is replaced.
    ///
    /// # Errors
    /// [`BackupError::Exists`] where something has the name already; [`BackupError::File`].
    pub fn create(path: &Path, steps: Steps) -> Result<Self, BackupError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let failed = |source| BackupError::File { path: part.clone(), source };
        steps.at(Step::CreateFile);
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
        Ok(Self { path: path.to_owned(), part, file: Some(file), digest: Sha256::new(), bytes: 0, steps })
    }

    /// Appends.
    ///
    /// # Errors
    /// [`BackupError::File`]: a full disk, for one.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.steps.at(Step::WriteFile);
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(|source| self.failed(source))
    }

    /// Syncs it, gives it its name, and syncs that.
    ///
    /// # Errors
    /// [`BackupError::Exists`] where something has taken the name meanwhile; [`BackupError::File`].
    pub fn finish(mut self) -> Result<Saved, BackupError> {
        let saved = Saved { bytes: self.bytes, sha256: self.digest.finish() };
        self.steps.at(Step::SyncFile);
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_all);
        synced.map_err(|source| self.failed(source))?;
        self.steps.at(Step::NameFile);
        // A second name and not a rename, which would replace what is there.
        fs::hard_link(&self.part, &self.path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(self.path.clone()),
            _ => self.failed(source),
        })?;
        self.discard();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| self.failed(source))?;
        Ok(saved)
    }

    fn failed(&self, source: io::Error) -> BackupError {
        BackupError::File { path: self.part.clone(), source }
    }

    fn discard(&mut self) {
        if self.file.take().is_some() {
            // One that stays is replaced by the next run.
            let _ = fs::remove_file(&self.part);
        }
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        self.discard();
    }
}
