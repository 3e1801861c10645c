//! The file itself: read with care, and looked up again when an error needs a line.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::ConfigError;

const FILE_MAX_BYTES: u64 = 1 << 20;
const OTHERS_MAY_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// The text of the file.
///
/// Whoever may write it, or replace it in its folder, decides whose certificates are believed: nobody at large may.
pub(super) fn read(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: file.to_owned(), source };
    let untrustworthy = |problem| Err(ConfigError::Untrustworthy { file: file.to_owned(), problem });

    // Asked of the open handle, so that what is checked is what is read.
    let handle = File::open(file).map_err(unreadable)?;
    let metadata = handle.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return untrustworthy("is no regular file; name the configuration file itself");
    }
    if metadata.mode() & OTHERS_MAY_WRITE != 0 {
        return untrustworthy("can be written by everybody; run `chmod o-w` on it and check what it says");
    }
    let folder = std::fs::metadata(file.parent().unwrap_or(Path::new("/"))).map_err(unreadable)?;
    if folder.mode() & OTHERS_MAY_WRITE != 0 && folder.mode() & STICKY == 0 {
        return untrustworthy("lies in a folder where everybody can replace it; run `chmod o-w` on the folder");
    }
    let mut text = String::new();
    handle.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return untrustworthy("is longer than 1 MiB; no configuration is");
    }
    Ok(text)
}

/// What the parser refused, with its line and, unless the file is no TOML at all, its key.
pub(super) fn explain(file: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map(|span| span.start);
    let line = at.map(|offset| line_at(text, offset));
    let problem = without_typed_text(error.message());
    match at.and_then(|offset| key_at(text, offset)) {
        Some(key) => ConfigError::Refused { file: file.to_owned(), line, key, problem },
        None => ConfigError::Syntax { file: file.to_owned(), line, problem },
    }
}

/// The line of a key, or of the nearest table around it, counted from 1.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let places = places(text);
    let mut sought = key;
    loop {
        if let Some((_, range)) = places.iter().find(|(name, _)| name == sought) {
            return Some(line_at(text, range.start));
        }
        sought = &sought[..sought.rfind(['.', '['])?];
    }
}

fn key_at(text: &str, offset: usize) -> Option<String> {
    let holds = |(_, range): &(String, Range<usize>)| range.contains(&offset);
    places(text).into_iter().filter(holds).min_by_key(|(_, range)| range.len()).map(|(name, _)| name)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Every key with its place in the text, from the first byte of its name to the last of its value.
fn places(text: &str) -> Vec<(String, Range<usize>)> {
    let mut found = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk_table("", table.get_ref(), &mut found);
    }
    found
}

fn walk_table(prefix: &str, table: &DeTable<'_>, found: &mut Vec<(String, Range<usize>)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        found.push((key.clone(), name.span().start..value.span().end.max(name.span().end)));
        walk_value(&key, value.get_ref(), found);
    }
}

fn walk_value(key: &str, value: &DeValue<'_>, found: &mut Vec<(String, Range<usize>)>) {
    match value {
        DeValue::Table(table) => walk_table(key, table, found),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let key = format!("{key}[{index}]");
                found.push((key.clone(), item.span()));
                walk_value(&key, item.get_ref(), found);
            }
        }
        _ => {}
    }
}

/// serde quotes a text of the wrong type in full (`string "hunter2"`); what was typed may be a secret, so it goes.
fn without_typed_text(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) => format!("{}{}", &message[..start + "string".len()], &message[end + 1..]),
        _ => message.to_owned(),
    }
}
