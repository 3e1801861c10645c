//! Who may write the configuration decides whose certificates are believed: root, and at most the user that runs the server.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Check, Finding, Unseen};

const MAY_WRITE: u32 = 0o022;
const ALL_MAY_READ: u32 = 0o004;
const STICKY: u32 = 0o1000;

/// The file, or a folder on the way to it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
    mode: u32,
    owner: u32,
}

/// The file, and then the folders above it.
pub(super) fn look(file: &Path) -> Result<Vec<Place>, Unseen> {
    let place = |path: &Path| {
        let metadata = fs::metadata(path).map_err(|error| Unseen::new(format!("{}: {error}", path.display()), super::AS_ROOT))?;
        Ok(Place { path: path.to_owned(), mode: metadata.mode() & 0o7777, owner: metadata.uid() })
    };
    file.ancestors().map(place).collect()
}

/// `server` is the user that runs the server, by whose the store is.
pub(super) fn check(places: &Result<Vec<Place>, Unseen>, server: Option<u32>) -> Vec<Finding> {
    let places = match places {
        Ok(places) => places,
        Err(unseen) => return vec![Check::Configuration.unknown(unseen)],
    };
    let mut found: Vec<_> = places.iter().enumerate().filter_map(|(depth, place)| trouble(place, depth == 0, server)).collect();
    if found.is_empty() {
        let who = server.filter(|user| *user != 0).map_or_else(String::new, |user| format!(" and user {user}"));
        let file = places.first().map(|place| place.path.display().to_string()).unwrap_or_default();
        found.push(Check::Configuration.pass(format!("{file} makes sense, and nobody but root{who} may write it")));
    }
    found
}

fn trouble(place: &Place, is_file: bool, server: Option<u32>) -> Option<Finding> {
    let Place { path, mode, owner } = place;
    let path = path.display();
    let kept = !is_file && mode & STICKY != 0;
    if mode & MAY_WRITE != 0 && !kept {
        let found = format!("{path} may be written by others than its owner (mode {mode:04o})");
        return Some(Check::Configuration.fail(found, format!("chmod go-w {path}, then see that the configuration is what you wrote")));
    }
    if *owner != 0 && server != Some(*owner) {
        let found = format!("{path} belongs to user {owner}, who decides by it whose certificates are believed");
        return Some(match server {
            Some(_) => Check::Configuration.fail(found, format!("chown root {path}")),
            None => Check::Configuration.unknown(&Unseen::new(
                format!("{found}; whether that user runs the server cannot be seen without the data folder"),
                super::AS_ROOT,
            )),
        });
    }
    let open = is_file && mode & ALL_MAY_READ != 0;
    open.then(|| {
        let found = format!("{path} may be read by everybody on this host (mode {mode:04o}): it says who may unseal");
        Check::Configuration
            .warn(found, format!("chgrp {path} to the server's group, then chmod 640 {path}: the server must still read it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn verdict(file: (u32, u32), folder: (u32, u32), server: Option<u32>) -> Verdict {
        let place = |path: &str, (mode, owner)| Place { path: path.into(), mode, owner };
        let places = vec![place("/etc/strongroom/strongroom.toml", file), place("/etc/strongroom", folder), place("/", (0o755, 0))];
        check(&Ok(places), server).iter().map(|finding| finding.verdict).max().expect("a finding")
    }

    #[test]
    fn root_and_the_server_may_write_it_and_nobody_else() {
        for (file, folder, server, expected) in [
            ((0o600, 0), (0o755, 0), Some(7), Verdict::Pass),
            ((0o640, 0), (0o750, 0), Some(7), Verdict::Pass),
            ((0o600, 7), (0o700, 7), Some(7), Verdict::Pass),
            ((0o644, 0), (0o755, 0), Some(7), Verdict::Warn),
            ((0o660, 0), (0o755, 0), Some(7), Verdict::Fail),
            ((0o602, 0), (0o755, 0), Some(7), Verdict::Fail),
            ((0o600, 8), (0o755, 0), Some(7), Verdict::Fail),
            ((0o600, 0), (0o775, 0), Some(7), Verdict::Fail),
            ((0o600, 0), (0o1777, 0), Some(7), Verdict::Pass),
            ((0o600, 0), (0o755, 8), Some(7), Verdict::Fail),
            ((0o600, 8), (0o755, 0), None, Verdict::Unknown),
            ((0o600, 0), (0o755, 0), None, Verdict::Pass),
            // The sticky bit of a file keeps nobody from writing it.
            ((0o1660, 0), (0o755, 0), Some(7), Verdict::Fail),
        ] {
            assert_eq!(verdict(file, folder, server), expected, "{file:?} {folder:?} {server:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_unknown() {
        assert_eq!(check(&look(Path::new("/nowhere/a.toml")), Some(0))[0].verdict, Verdict::Unknown);
    }
}
