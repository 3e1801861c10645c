//! New shares, each in a file of its own.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::errors::CliError;
use super::input::write_file;
use crate::model::SecretBytes;

/// A folder that is made for shares: its owner's alone, and new, so that no other share is ever among them.
#[derive(Debug)]
pub struct ShareFolder(PathBuf);

impl ShareFolder {
    /// Makes the folder, before there are any shares that it could not take.
    ///
    /// # Errors
    /// It exists, or cannot be made.
    pub fn create(path: &Path) -> Result<Self, CliError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(CliError::Input(format!("{} exists already: name a folder that does not", path.display())));
        }
        let made = DirBuilder::new().mode(0o700).create(path);
        made.map_err(|source| CliError::File { path: path.to_owned(), source })?;
        Ok(Self(path.to_owned()))
    }

    /// Writes one share: `share-2-of-5.age` where it is encrypted to a recipient, otherwise `share-2-of-5.txt`. Returns the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, number: u32, of: usize, text: &SecretBytes, is_encrypted: bool) -> Result<PathBuf, CliError> {
        let ending = if is_encrypted { "age" } else { "txt" };
        let path = self.0.join(format!("share-{number}-of-{of}.{ending}"));
        write_file(&path, text, false)?;
        Ok(path)
    }

    /// Removes the folder, if nothing was written to it.
    pub fn abandon(&self) {
        // What holds files stays.
        let _ = fs::remove_dir(&self.0);
    }
}

/// What is to be done with files of shares, for people.
#[must_use]
pub fn advice(encrypted: bool) -> &'static str {
    if encrypted {
        "Give each file to its custodian, who opens it with `age --decrypt --identity KEY FILE | strongroom unseal --share-file -`; the \
         vault keeps no copy."
    } else {
        "Give each file to another person, and then destroy it here: whoever has enough of them has the vault, and the vault keeps no copy."
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn shares_lie_in_a_folder_of_their_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shares");
        let shares = ShareFolder::create(&path).expect("made");
        let file = shares.write(2, 5, &SecretBytes::new(b"srshare1".to_vec()), false).expect("written");
        assert_eq!(file, path.join("share-2-of-5.txt"));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        assert!(shares.write(2, 5, &SecretBytes::new(b"again".to_vec()), false).is_err(), "no share is written over");
        assert!(matches!(ShareFolder::create(&path), Err(CliError::Input(_))));
        shares.abandon();
        assert!(file.exists());
        let empty = ShareFolder::create(&folder.path().join("empty")).expect("made");
        empty.abandon();
        assert!(!folder.path().join("empty").exists());
    }
}
