//! Where values and passphrases come from: a prompt without echo, a file, or standard input. Never the command line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::errors::CliError;
use super::output::shown;
use crate::model::{SecretBytes, limits};

/// Longest passphrase that is read.
const PASSPHRASE_BYTES: usize = 4096;
/// Longest share that is read, blanks included.
const SHARE_BYTES: usize = 1024;

/// Where the value of a secret comes from. With neither flag: the prompt on a terminal, else standard input.
#[derive(Debug, Args)]
pub(super) struct ValueArguments {
    /// Read the value from this file
    #[arg(long, value_name = "FILE", conflicts_with = "from_stdin")]
    from_file: Option<PathBuf>,
    /// Read the value from standard input
    #[arg(long)]
    from_stdin: bool,
    /// Keep a newline at the end of the file or of standard input; otherwise one is dropped
    #[arg(long)]
    keep_newline: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    File(&'a Path),
    Stdin,
    Prompt,
}

impl ValueArguments {
    /// Reads the value; at a prompt it is asked for twice.
    pub(super) fn read(&self) -> Result<SecretBytes, CliError> {
        let value = match self.source(io::stdin().is_terminal()) {
            Source::File(path) => trimmed(read_file(path, limits::PAYLOAD_BYTES)?, self.keep_newline),
            Source::Stdin => trimmed(read_stdin(limits::PAYLOAD_BYTES)?, self.keep_newline),
            Source::Prompt => prompt_twice("Value")?,
        };
        not_empty(value, "the value is empty; nothing was sent")
    }

    fn source(&self, stdin_is_terminal: bool) -> Source<'_> {
        match &self.from_file {
            Some(path) => Source::File(path),
            None if self.from_stdin || !stdin_is_terminal => Source::Stdin,
            None => Source::Prompt,
        }
    }
}

/// The passphrase of a slot: from a file, `-` for standard input, or the prompt, asked once. One newline at the end is dropped.
pub(super) fn passphrase(file: Option<&Path>) -> Result<SecretBytes, CliError> {
    let passphrase = match file {
        Some(path) if path == Path::new("-") => trimmed(read_stdin(PASSPHRASE_BYTES)?, false),
        Some(path) => trimmed(read_file(path, PASSPHRASE_BYTES)?, false),
        None => prompt("Passphrase")?,
    };
    not_empty(passphrase, "the passphrase is empty; nothing was sent")
}

/// Longest file of identities that is read.
const IDENTITY_BYTES: usize = 64 * 1024;

/// An age identity: from a file, or `-` for standard input.
pub(super) fn identity(file: &Path) -> Result<SecretBytes, CliError> {
    let identity = if file == Path::new("-") { read_stdin(IDENTITY_BYTES)? } else { read_file(file, IDENTITY_BYTES)? };
    not_empty(identity, "the identity is empty; nothing was done")
}

/// The passphrase of a new slot: from a file, `-` for standard input, or the prompt, asked twice.
///
/// # Errors
/// The file cannot be read, the two answers differ, or there is none.
pub fn new_passphrase(file: Option<&Path>) -> Result<SecretBytes, CliError> {
    match file {
        Some(_) => passphrase(file),
        None => not_empty(prompt_twice("Passphrase for the new vault")?, "the passphrase is empty; nothing was made"),
    }
}

/// The passphrase of a slot to be added: as [`new_passphrase`].
pub(super) fn new_slot_passphrase(file: Option<&Path>) -> Result<SecretBytes, CliError> {
    match file {
        Some(_) => passphrase(file),
        None => not_empty(prompt_twice("Passphrase for the new slot")?, "the passphrase is empty; nothing was sent"),
    }
}

/// One share of a slot: from a file, `-` for standard input, or the prompt, asked once. Blanks and line ends stay; they do not count.
pub(super) fn share(file: Option<&Path>) -> Result<SecretBytes, CliError> {
    let share = match file {
        Some(path) if path == Path::new("-") => read_stdin(SHARE_BYTES)?,
        Some(path) => read_file(path, SHARE_BYTES)?,
        None => prompt("Share")?,
    };
    not_empty(share, "the share is empty; nothing was sent")
}

/// Asks for a yes. Without a terminal there is nobody to ask: then `--yes` must be given.
pub(super) fn agree(question: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage("nobody is there to agree; add --yes to do it without a question".to_owned()));
    }
    eprint!("{question} Type yes: ");
    let mut typed = String::new();
    io::stdin().read_line(&mut typed).map_err(|_| CliError::Declined)?;
    if typed.trim() == "yes" { Ok(()) } else { Err(CliError::Declined) }
}

/// Asks for the name of what is about to go. Without a terminal there is nobody to ask: then `--yes` must be given.
pub(super) fn confirm(deed: &str, name: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!("nobody is there to confirm; add --yes to {deed} without a question")));
    }
    eprint!("To {deed} {}, type its name: ", shown(name));
    let mut typed = String::new();
    io::stdin().read_line(&mut typed).map_err(|_| CliError::Declined)?;
    if typed.trim_end_matches(['\r', '\n']) == name { Ok(()) } else { Err(CliError::Declined) }
}

/// Refuses a file that exists already, before anything is revealed that could then not be written.
pub(super) fn check_target(path: &Path, force: bool) -> Result<(), CliError> {
    if !force && fs::symlink_metadata(path).is_ok() {
        return Err(CliError::Input(format!("{} exists already; --force replaces it", path.display())));
    }
    Ok(())
}

/// Writes a value to a file that only its owner may read. An existing file is replaced as a whole, and only with `force`;
/// a link is replaced, not followed.
pub(super) fn write_file(path: &Path, value: &SecretBytes, force: bool) -> Result<(), CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    check_target(path, force)?;
    if !force {
        return write_new(path, value).map_err(failed);
    }
    let mut name = path.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    write_new(&beside, value).and_then(|()| fs::rename(&beside, path).inspect_err(|_| drop(fs::remove_file(&beside)))).map_err(failed)
}

fn write_new(path: &Path, value: &SecretBytes) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(value.expose()).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

fn read_file(path: &Path, most: usize) -> Result<SecretBytes, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    read_bounded(File::open(path).map_err(failed)?, most).map_err(failed)?.ok_or_else(|| too_long(most))
}

/// Past `std::io::Stdin`, whose buffer would keep a copy.
fn read_stdin(most: usize) -> Result<SecretBytes, CliError> {
    let failed = |source| CliError::File { path: "standard input".into(), source };
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    read_bounded(File::from(stdin), most).map_err(failed)?.ok_or_else(|| too_long(most))
}

/// At most `most` bytes and a newline of one or two; `None` if there are more. The buffer never grows, so that no part of
/// a value is left behind.
fn read_bounded(reader: impl Read, most: usize) -> io::Result<Option<SecretBytes>> {
    let room = most + 2;
    let mut bytes = Vec::with_capacity(room + 64);
    let outcome = reader.take(room as u64 + 1).read_to_end(&mut bytes);
    let value = SecretBytes::new(bytes);
    outcome?;
    let bare = newline(value.expose());
    Ok((value.len() - bare <= most && value.len() <= room).then_some(value))
}

/// The length of the newline at the end: 0, 1 or 2.
fn newline(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}

fn trimmed(value: SecretBytes, keep_newline: bool) -> SecretBytes {
    let drop = if keep_newline { 0 } else { newline(value.expose()) };
    let mut bytes = value.into_exposed();
    bytes.truncate(bytes.len() - drop);
    SecretBytes::new(bytes)
}

fn not_empty(value: SecretBytes, why: &str) -> Result<SecretBytes, CliError> {
    if value.is_empty() { Err(CliError::Input(why.to_owned())) } else { Ok(value) }
}

fn too_long(most: usize) -> CliError {
    CliError::Input(format!("longer than {most} bytes; nothing was sent"))
}

fn prompt(what: &str) -> Result<SecretBytes, CliError> {
    let typed = rpassword::prompt_password(format!("{what} (not shown): "));
    let hint = |_| CliError::Usage("no terminal to ask on: give it by a file or by standard input, see --help".to_owned());
    typed.map(|text| SecretBytes::new(text.into_bytes())).map_err(hint)
}

fn prompt_twice(what: &str) -> Result<SecretBytes, CliError> {
    let (first, again) = (prompt(what)?, prompt(&format!("{what} again"))?);
    if first.same_as(&again) { Ok(first) } else { Err(CliError::Input("the two were not the same; nothing was sent".to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn value(text: &str) -> SecretBytes {
        SecretBytes::new(text.as_bytes().to_vec())
    }

    fn arguments(from_file: Option<&str>, from_stdin: bool) -> ValueArguments {
        ValueArguments { from_file: from_file.map(PathBuf::from), from_stdin, keep_newline: false }
    }

    #[test]
    fn a_value_comes_from_where_it_was_said() {
        assert_eq!(arguments(None, false).source(true), Source::Prompt);
        assert_eq!(arguments(None, false).source(false), Source::Stdin);
        assert_eq!(arguments(None, true).source(true), Source::Stdin);
        assert_eq!(arguments(Some("f"), false).source(true), Source::File(Path::new("f")));
        assert_eq!(arguments(Some("f"), false).source(false), Source::File(Path::new("f")));
    }

    #[test]
    fn one_newline_is_dropped_and_no_more() {
        for (typed, meant) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), ("\n", "")] {
            assert!(trimmed(value(typed), false).same_as(&value(meant)), "{typed:?}");
            assert!(trimmed(value(typed), true).same_as(&value(typed)), "{typed:?}");
        }
    }

    #[test]
    fn reading_stops_at_the_limit_and_never_grows_its_buffer() {
        for (text, fits) in
            [("12345678", true), ("12345678\n", true), ("12345678\r\n", true), ("123456789", false), ("12345678\n\n", false)]
        {
            assert_eq!(read_bounded(text.as_bytes(), 8).expect("no error").is_some(), fits, "{text:?}");
        }
        assert!(read_bounded(io::repeat(b'x'), 8).expect("it ends").is_none());
        let exact = read_bounded(io::repeat(b'x').take(1000), 1000).expect("no error").expect("fits").into_exposed();
        assert_eq!(exact.capacity(), 1000 + 2 + 64);
    }

    #[test]
    fn an_empty_value_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("empty");
        fs::write(&path, "\n").expect("written");
        let arguments = ValueArguments { from_file: Some(path), from_stdin: false, keep_newline: false };
        assert!(matches!(arguments.read(), Err(CliError::Input(_))));
    }

    #[test]
    fn a_written_value_is_its_owners_alone_and_replaces_nothing_unasked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        write_file(&path, &value("one"), false).expect("new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(write_file(&path, &value("two"), false), Err(CliError::Input(_))));
        assert_eq!(fs::read(&path).expect("there"), b"one");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        write_file(&path, &value("two"), true).expect("forced");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, elsewhere) = (folder.path().join("link"), folder.path().join("elsewhere"));
        symlink(&elsewhere, &link).expect("linked");
        assert!(write_file(&link, &value("one"), false).is_err());
        write_file(&link, &value("one"), true).expect("forced");
        assert!(!elsewhere.exists() && fs::symlink_metadata(&link).expect("there").is_file());
    }
}
