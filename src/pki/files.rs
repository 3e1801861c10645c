//! Private files: readable by their owner alone, whatever the umask says, and whole or absent after a crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::PkiError;

/// Makes the folder and its missing parents with mode 0700, or accepts one that is there and closed to others.
///
/// # Errors
/// The folder is there and others may enter it (it is not changed: it may be somebody else's), or it cannot be made.
pub fn private_folder(path: &Path) -> Result<(), PkiError> {
    let failed = |source| PkiError::File { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
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
    write_and_move(path, pem.as_bytes()).map_err(|source| PkiError::File { path: path.to_owned(), source })
}

fn write_and_move(path: &Path, content: &[u8]) -> io::Result<()> {
    let (folder, beside) = neighbour(path)?;
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` follows no link that somebody else put there, and a umask can only take bits away from the mode.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// The folder of `path`, and the name beside it that is written first.
fn neighbour(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut beside = name.to_owned();
    beside.push(".new");
    Ok((folder.clone(), folder.join(beside)))
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
}
