//! Where a path leads: absolute, with `..` and symbolic links followed as far as anything exists, so that two spellings
//! of one folder are seen to be one.

use std::path::{Component, Path, PathBuf};

/// The place that `path` names when it is read relative to `folder`.
pub(super) fn resolve(folder: &Path, path: &Path) -> PathBuf {
    let mut place = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                place.pop();
            }
            other => place.push(other),
        }
        if let Ok(real) = place.canonicalize() {
            place = real;
        }
    }
    place
}

/// Whether one lies in the other or both are the same.
pub(super) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn two_spellings_of_one_folder_are_one() {
        let temporary = tempfile::tempdir().expect("a folder");
        let base = temporary.path().canonicalize().expect("it exists");
        std::fs::create_dir(base.join("real")).expect("a folder");
        symlink(base.join("real"), base.join("link")).expect("a link");

        assert_eq!(resolve(&base, Path::new("link/not/yet")), base.join("real/not/yet"));
        assert_eq!(resolve(&base, Path::new("link/../x")), base.join("x"));
        assert_eq!(resolve(&base, Path::new("./real/./gone/../x")), base.join("real/x"));
        assert_eq!(resolve(&base, Path::new("/a/../b")), Path::new("/b"));
    }

    #[test]
    fn overlap_goes_by_components_and_both_ways() {
        let (outer, inner, other) = (Path::new("/a/b"), Path::new("/a/b/c"), Path::new("/a/bc"));
        assert!(overlap(outer, inner) && overlap(inner, outer) && overlap(outer, outer));
        assert!(!overlap(outer, other) && !overlap(other, outer));
    }
}
