//! Searches files for what must not be in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files below a folder that hold any of the needles; symbolic links are not followed.
pub(super) fn files_holding(folder: &Path, needles: &[&[u8]]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            found.extend(files_holding(&entry.path(), needles)?);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path())?;
            if needles.iter().any(|needle| holds(&bytes, needle)) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_wherever_it_lies() {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).expect("made");
        fs::write(deep.join("file"), b"xxNEEDLExx").expect("written");
        fs::write(folder.path().join("other"), b"NEEDL").expect("written");
        assert_eq!(files_holding(folder.path(), &[b"NEEDLE"]).expect("read"), [deep.join("file")]);
    }
}
