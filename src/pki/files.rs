//! Private files: readable by their owner alone, whatever the umask says, and whole or absent after a crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::PkiError;

/// Longest file that is read, and so the longest that may be written.
pub(super) const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Makes the folder and its missing parents with mode 0700, or accepts one that is there and closed to others.
///
/// # Errors
/// The folder is there and others may enter it (it is not changed: it may be somebody else's), or it cannot be made.
pub fn private_folder(path: &Path) -> Result<(), PkiError> {
    let failed = |source| PkiError::File { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    closed_folder(path)
}

/// Accepts a folder that is closed to others.
///
/// # Errors
/// As [`private_folder`], and there is none.
pub(super) fn closed_folder(path: &Path) -> Result<(), PkiError> {
    let failed = |source| PkiError::File { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(PkiError::LooseFolder { path: path.to_owned() });
    }
    Ok(())
}

/// Writes `pem` into `path` with mode 0600. The file is written beside it and moved into place, so a looser file that was
/// there gives way to a new one, and a crash leaves the old or the new.
///
/// # Errors
/// What the operating system says, with the path.
pub fn write_private(path: &Path, pem: &str) -> Result<(), PkiError> {
    replace_private(&[(path, pem)])
}

/// The same for files that belong together: all are written beside their places, on disk, before the first is moved, and
/// then they are moved in this order, with nothing in between. A crash there leaves the first new and the second old, and
/// both of them whole.
pub(super) fn replace_private(files: &[(&Path, &str)]) -> Result<(), PkiError> {
    let failed = |path: &Path, source| PkiError::File { path: path.to_owned(), source };
    let mut beside = Vec::with_capacity(files.len());
    for (path, content) in files {
        beside.push(write_beside(path, content.as_bytes()).map_err(|source| failed(path, source))?);
    }
    for ((path, _), beside) in files.iter().zip(&beside) {
        fs::rename(beside, path).map_err(|source| failed(path, source))?;
    }
    files.iter().try_for_each(|(path, _)| sync_folder(path).map_err(|source| failed(path, source)))
}

/// The same where no file is yet; one that is there stays as it is.
///
/// # Errors
/// There is one, and what the operating system says.
pub(super) fn write_new_private(path: &Path, content: &str) -> Result<(), PkiError> {
    let write = || {
        let beside = write_beside(path, content.as_bytes())?;
        // A link, unlike a rename, takes nobody's place.
        let linked = fs::hard_link(&beside, path);
        fs::remove_file(&beside)?;
        linked?;
        sync_folder(path)
    };
    write().map_err(|source| PkiError::File { path: path.to_owned(), source })
}

/// The text of a file that others must not read.
///
/// # Errors
/// Others may, it is too long or no text, and what the operating system says.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, PkiError> {
    let failed = |source| PkiError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the open file, not of the path, which may name another one by now.
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(PkiError::LooseFile { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES { Err(failed(io::ErrorKind::FileTooLarge.into())) } else { Ok(text) }
}

/// Writes a new file beside `path`, down to the disk, and returns its name.
fn write_beside(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut beside = name.to_owned();
    beside.push(".new");
    let beside = folder_of(path).join(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` follows no link that somebody else put there, and a umask can only take bits away from the mode.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(beside)
}

/// Makes what was moved into the folder of `path` outlive a crash of the machine.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    // immune: row-52
    /// The umask belongs to the whole process, so the test runs once more in a process of its own.
    #[test]
    fn modes_are_tight_under_a_umask_of_000() {
        if std::env::var_os("STRONGROOM_TEST_UMASK").is_none() {
            let this = std::env::current_exe().expect("the test binary");
            let output = Command::new("sh")
                .args(["-c", "umask 000 && exec \"$0\" --exact pki::files::tests::modes_are_tight_under_a_umask_of_000"])
                .arg(this)
                .env("STRONGROOM_TEST_UMASK", "000")
                .output()
                .expect("sh runs");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let root = tempfile::tempdir().expect("a folder");
        let loose = root.path().join("witness");
        fs::write(&loose, "").expect("written");
        assert_eq!(mode(&loose), 0o666, "the umask is not 000");

        let folder = root.path().join("outer/inner");
        private_folder(&folder).expect("made");
        assert_eq!((mode(&folder), mode(&root.path().join("outer"))), (0o700, 0o700));
        let file = folder.join("key.pem");
        write_private(&file, "first").expect("written");
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn a_looser_file_gives_way_and_a_leftover_is_no_obstacle() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("key.pem");
        fs::write(&file, "loose").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("set");
        fs::write(root.path().join("key.pem.new"), "left by a crash").expect("written");
        write_private(&file, "tight").expect("written");
        assert_eq!((mode(&file), fs::read_to_string(&file).expect("read").as_str()), (0o600, "tight"));
        assert_eq!(fs::read_dir(root.path()).expect("read").count(), 1);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused_and_left_alone() {
        let root = tempfile::tempdir().expect("a folder");
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("set");
        assert!(matches!(private_folder(root.path()), Err(PkiError::LooseFolder { .. })));
        assert_eq!(mode(root.path()), 0o755);
    }

    #[test]
    fn a_new_file_takes_nobodys_place() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("key.pem");
        write_new_private(&file, "first").expect("written");
        assert!(
            matches!(write_new_private(&file, "second"), Err(PkiError::File { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists)
        );
        assert_eq!((mode(&file), fs::read_to_string(&file).expect("read").as_str()), (0o600, "first"));
        assert_eq!(fs::read_dir(root.path()).expect("read").count(), 1);
    }

    #[test]
    fn of_files_that_belong_together_none_moves_before_all_are_written() {
        let root = tempfile::tempdir().expect("a folder");
        let (key, certificate) = (root.path().join("a.key"), root.path().join("a.pem"));
        replace_private(&[(&key, "key 1"), (&certificate, "certificate 1")]).expect("written");
        // The second cannot be written: a folder lies where it would be written first.
        fs::create_dir(root.path().join("a.pem.new")).expect("made");
        assert!(replace_private(&[(&key, "key 2"), (&certificate, "certificate 2")]).is_err());
        assert_eq!(fs::read_to_string(&key).expect("read"), "key 1");
        fs::remove_dir(root.path().join("a.pem.new")).expect("removed");
        replace_private(&[(&key, "key 2"), (&certificate, "certificate 2")]).expect("written");
        assert_eq!(
            (fs::read_to_string(&key).expect("read"), fs::read_to_string(&certificate).expect("read")),
            ("key 2".into(), "certificate 2".into())
        );
    }

    #[test]
    fn a_private_file_that_others_may_read_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("key.pem");
        write_private(&file, "key").expect("written");
        assert_eq!(read_private(&file).expect("read").as_str(), "key");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(read_private(&file), Err(PkiError::LooseFile { .. })));
    }
}
