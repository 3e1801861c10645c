//! The key, the store and the log are for the user that runs the server, and for nobody else.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Check, Finding, Unseen};
use crate::config::Config;

/// Most files of a folder that are looked at: more than any store and log have.
const FILES: usize = 100_000;
/// How many are named.
const NAMED: usize = 3;

/// A file or folder.
#[derive(Debug, Clone)]
struct Entry {
    path: PathBuf,
    mode: u32,
    owner: u32,
}

/// Whose the folder is: the user that runs the server.
pub(super) fn owner(folder: &Path) -> Option<u32> {
    fs::metadata(folder).ok().map(|metadata| metadata.uid())
}

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let server = owner(&config.data_folder);
    let key = &config.tls.key;
    let key_seen = fs::metadata(key).map(|metadata| vec![as_handed_over(entry(key, &metadata), server)]);
    // Root may have put it there for the server to get it from a service manager.
    let key_owners: Vec<_> = server.into_iter().chain([0]).collect();
    let folder = |path: &Path| judge(path, walk(path), &owner(path).into_iter().collect::<Vec<_>>());
    vec![judge(key, key_seen, &key_owners), folder(&config.data_folder), folder(&config.audit_folder)]
}

fn entry(path: &Path, metadata: &Metadata) -> Entry {
    Entry { path: path.to_owned(), mode: metadata.mode() & 0o7777, owner: metadata.uid() }
}

/// A key of root's that a group may read is how service managers hand one to another user; the server takes it, too
/// (`identity::load_private_key`).
fn as_handed_over(entry: Entry, server: Option<u32>) -> Entry {
    let handed_over = entry.owner == 0 && server.is_some_and(|server| server != 0);
    Entry { mode: if handed_over { entry.mode & !0o040 } else { entry.mode }, ..entry }
}

/// The folder and all below it. Where a link leads is not followed.
fn walk(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut found = vec![entry(folder, &fs::metadata(folder)?)];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())) {
            let path = path?;
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                // The server removes files while it works.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            // Of a volume's own file system.
            if path.ends_with("lost+found") {
                continue;
            }
            if found.len() >= FILES {
                return Err(io::Error::other("more files than are looked at"));
            }
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            let mode = if metadata.is_symlink() { 0 } else { metadata.mode() & 0o7777 };
            found.push(Entry { path, mode, owner: metadata.uid() });
        }
    }
    Ok(found)
}

/// `owners` are those who may own what was seen.
fn judge(path: &Path, seen: io::Result<Vec<Entry>>, owners: &[u32]) -> Finding {
    let shown = path.display();
    let entries = match seen {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Check::FileModes.fail(format!("{shown} is not there"), "mount its disk, or correct the configuration");
        }
        Err(error) => return Check::FileModes.unknown(&Unseen::new(format!("{shown}: {error}"), super::AS_ROOT)),
    };
    let open: Vec<_> = entries.iter().filter(|entry| entry.mode & 0o077 != 0).collect();
    if !open.is_empty() {
        let found = format!("{} may be read or written by others than its owner", names(&open));
        return Check::FileModes.fail(found, format!("chmod -R go= {shown}, and think about who may have read it"));
    }
    let foreign: Vec<_> = entries.iter().filter(|entry| !owners.contains(&entry.owner)).collect();
    if !foreign.is_empty() {
        let found = format!("{} belongs to another user than the store", names(&foreign));
        return Check::FileModes.fail(found, format!("chown {shown} to the user that runs the server"));
    }
    let count = entries.len();
    let what = if count == 1 { shown.to_string() } else { format!("{shown} and the {} files and folders in it", count - 1) };
    Check::FileModes.pass(format!("{what}: for the owner alone"))
}

fn names(entries: &[&Entry]) -> String {
    let named: Vec<_> = entries
        .iter()
        .take(NAMED)
        .map(|entry| format!("{} (mode {:04o}, user {})", entry.path.display(), entry.mode, entry.owner))
        .collect();
    let more = entries.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::doctor::Verdict;

    /// What is left of a key's mode.
    fn left(mode: u32, owner: u32, server: u32) -> u32 {
        as_handed_over(Entry { path: PathBuf::new(), mode, owner }, Some(server)).mode & 0o077
    }

    #[test]
    fn a_key_of_roots_that_a_group_may_read_is_how_it_is_handed_over() {
        assert_eq!([left(0o440, 0, 65_532), left(0o640, 0, 65_532), left(0o600, 7, 7)], [0; 3]);
        assert_ne!(left(0o444, 0, 65_532), 0);
        assert_ne!(left(0o460, 0, 65_532), 0);
        assert_ne!(left(0o440, 0, 0), 0, "root needs no group");
        assert_ne!(left(0o440, 7, 7), 0);
    }

    fn verdict(mode: u32, owner: u32) -> Verdict {
        let entries = vec![Entry { path: "data".into(), mode: 0o700, owner: 7 }, Entry { path: "data/db".into(), mode, owner }];
        judge(Path::new("data"), Ok(entries), &[7]).verdict
    }

    #[test]
    fn not_one_bit_for_anybody_else() {
        for mode in [0o600, 0o400, 0o700] {
            assert_eq!(verdict(mode, 7), Verdict::Pass, "{mode:o}");
        }
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601] {
            assert_eq!(verdict(mode, 7), Verdict::Fail, "{mode:o}");
        }
        assert_eq!(verdict(0o600, 8), Verdict::Fail);
    }

    #[test]
    fn what_is_absent_fails_and_what_is_hidden_is_unknown() {
        let judged = |kind: ErrorKind| judge(Path::new("data"), Err(kind.into()), &[7]).verdict;
        assert_eq!(judged(ErrorKind::NotFound), Verdict::Fail);
        assert_eq!(judged(ErrorKind::PermissionDenied), Verdict::Unknown);
    }

    #[test]
    fn every_file_below_is_seen_and_no_link_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = owner(folder.path()).expect("it is there");
        let at = |name: &str| folder.path().join(name);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("set");
        for path in ["a", "a/b", "a/b/lost+found"] {
            fs::create_dir(at(path)).expect("made");
            fs::set_permissions(at(path), fs::Permissions::from_mode(0o700)).expect("set");
        }
        symlink("/usr", at("a/link")).expect("made");
        let deep = at("a/b/deep");
        fs::write(&deep, "").expect("written");
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o600)).expect("set");
        let judged = || judge(folder.path(), walk(folder.path()), &[own]);
        let good = judged();
        assert!(good.verdict == Verdict::Pass && good.found.contains("the 4 files"), "{good:?}");
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o644)).expect("set");
        let bad = judged();
        assert!(bad.verdict == Verdict::Fail && bad.found.contains("a/b/deep (mode 0644"), "{bad:?}");
    }
}
