//! What comes out: tables for people, JSON for programs, values as they are.
//!
//! JSON keeps its shape: snake_case keys, times in RFC 3339, absent times null. One thing is one object; a list is
//! `{"items": […], "more": false}`. Names, labels and reasons were typed by somebody, so control and invisible characters
//! are escaped in both: no text can forge a row or steer a terminal.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use base64ct::{Base64, Encoding};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::errors::CliError;
use crate::client::Listed;
use crate::model::SecretBytes;

/// How things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// A column of a table: its head, and its cell for an item.
pub(super) type Column<T> = (&'static str, fn(&T) -> String);

/// Where results go: standard output. Remarks go to standard error.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// How.
    pub format: Format,
}

impl Printer {
    /// A list; says on standard error if it goes on beyond the limit.
    pub(super) fn list<T: Serialize>(self, listed: &Listed<T>, columns: &[Column<T>]) -> Result<(), CliError> {
        let more = listed.next.is_some();
        if more {
            self.note("there are more than --limit allows; --limit 0 shows all");
        }
        match self.format {
            Format::Json => print(json_text(&json!({ "items": listed.items, "more": more })).as_bytes()),
            Format::Table if listed.items.is_empty() => {
                self.note("none");
                Ok(())
            }
            Format::Table => {
                let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
                let rows = listed.items.iter().map(|item| columns.iter().map(|(_, cell)| cell(item)).collect());
                print(table(std::iter::once(heads).chain(rows)).as_bytes())
            }
        }
    }

    /// One thing: an object, or a table of its fields. Fields without text are left out of the table.
    pub(super) fn item(self, item: &impl Serialize, fields: &[(&str, String)]) -> Result<(), CliError> {
        match self.format {
            Format::Json => print(json_text(&serde_json::to_value(item).unwrap_or(Value::Null)).as_bytes()),
            Format::Table => {
                let told = fields.iter().filter(|(_, text)| !text.is_empty());
                print(table(told.map(|(name, text)| vec![format!("{name}:"), text.clone()])).as_bytes())
            }
        }
    }

    /// A remark for people, on standard error. Programs get none.
    pub(super) fn note(self, text: &str) {
        if self.format == Format::Table {
            eprintln!("{}", shown(text));
        }
    }
}

/// Rows under heads for people; for programs the whole that they tell of.
pub(super) fn rows(format: Format, whole: &impl Serialize, heads: &[&str], rows: Vec<Vec<String>>) -> Result<(), CliError> {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    match format {
        Format::Json => print(json_text(&serde_json::to_value(whole).unwrap_or(Value::Null)).as_bytes()),
        Format::Table => print(table(std::iter::once(heads).chain(rows)).as_bytes()),
    }
}

/// Text that shows what it holds: control, invisible and direction-changing characters and the backslash are escaped.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// JSON, indented, in which such characters are escaped too.
pub(super) fn json_text(value: &Value) -> String {
    escaped(format!("{value:#}\n"))
}

/// The same on one line.
pub(super) fn json_line(value: &Value) -> String {
    escaped(format!("{value}\n"))
}

fn escaped(mut text: String) -> String {
    if text.chars().any(|character| character != '\n' && is_steering(character)) {
        let escaped = |character: char| match character {
            '\n' => "\n".to_owned(),
            steering if is_steering(steering) => steering.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            plain => plain.to_string(),
        };
        text = text.chars().map(escaped).collect();
    }
    text
}

/// Whether a character would be escaped by [`shown`], combining marks excepted.
fn is_steering(character: char) -> bool {
    let escaped = format!("a{character}").escape_debug().count() > 2;
    escaped && !matches!(character, '"' | '\'' | '\\')
}

fn table(rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    rows.for_each(|row| {
        table.add_row(row.iter().map(|cell| shown(cell)));
    });
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A reader that went away, as `head` does, is no error.
pub(super) fn print(text: &[u8]) -> Result<(), CliError> {
    print_while_read(text).map(drop)
}

/// The same, for what goes on and on: says whether there is still a reader.
pub(super) fn print_while_read(text: &[u8]) -> Result<bool, CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Output(error)),
    }
}

/// A value on standard output, as it is, past the buffer that would keep a copy.
pub(super) fn write_value(value: &SecretBytes) -> Result<(), CliError> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(CliError::Output)?;
    File::from(stdout).write_all(value.expose()).map_err(CliError::Output)
}

/// Base64 (RFC 4648, section 4).
pub(super) fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // immune: row-43
    #[test]
    fn a_cell_cannot_forge_a_row_or_steer_the_terminal() {
        let evil = "a\nNAME  admin\r\u{1b}[2J\u{9b}31m\u{202e}\u{200b}\u{7f}\t\u{2028}";
        let text = table([vec!["NAME".to_owned()], vec![evil.to_owned()]].into_iter());
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(text.chars().all(|character| character == '\n' || !is_steering(character)), "{text:?}");
        assert!(text.contains("a\\nNAME  admin\\r\\u{1b}[2J"), "{text}");
        let json = json_text(&json!({ "name": evil }));
        assert!(json.chars().all(|character| character == '\n' || !is_steering(character)), "{json:?}");
        assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON")["name"], evil);
    }

    #[test]
    fn plain_text_is_shown_as_it_is_and_an_escape_cannot_be_forged() {
        for text in ["wepay-prod/merchants/é", "say \"yes\", don't", "日本語", ""] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("a\\nb"), "a\\\\nb");
        assert_eq!(shown("\\\""), "\\\\\"");
        assert_ne!(shown("a\nb"), shown("a\\nb"));
    }

    #[test]
    fn json_beyond_the_basic_plane_stays_json() {
        let tag = "\u{e0041}";
        let json = json_text(&json!({ "name": tag }));
        assert!(json.contains("\\udb40\\udc41"), "{json}");
        assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON")["name"], tag);
    }

    #[test]
    fn columns_line_up() {
        let text =
            table([vec!["NAME".to_owned(), "STATE".to_owned()], vec!["a/very/long/name".to_owned(), "enabled".to_owned()]].into_iter());
        assert_eq!(text, "NAME              STATE\na/very/long/name  enabled\n");
    }

    #[test]
    fn base64_as_in_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
