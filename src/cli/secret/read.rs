//! `secret get`, `fetch`, `describe`, `list`, `versions`, `find`.

use std::io::{self, IsTerminal};
use std::path::Path;

use serde_json::{Value, json};

use super::view::{SECRET_COLUMNS, VERSION_COLUMNS, print_secret};
use super::{FetchArguments, GetArguments};
use crate::cli::input::{check_target, write_file};
use crate::cli::output::{Format, base64, json_text, shown, write_value};
use crate::cli::words::Prefix;
use crate::cli::{CliError, Session};
use crate::client::{ClientError, Listed, Reveal, RevealBatch, Revealed, collect};
use crate::model::{NamespaceName, SecretBytes, SecretName};

/// Whether the value may go to standard output is decided before it is revealed: a refused call would be on record for nothing.
pub(super) async fn get(session: &Session, arguments: GetArguments) -> Result<(), CliError> {
    let GetArguments { name, version, reason, ticket, to, force, show } = arguments;
    let terminal = io::stdout().is_terminal();
    match &to {
        Some(path) => check_target(path, force)?,
        None => check_terminal(terminal, show)?,
    }
    let reveal = Reveal::latest(&name).version(version.unwrap_or_default());
    let reveal = reveal.reason(reason.unwrap_or_default()).ticket(ticket.unwrap_or_default());
    let revealed = session.client.reveal_secret(reveal).await?;
    match to {
        Some(path) => {
            write_file(&path, &revealed.value, force)?;
            report_file(session, &name, &revealed, &path)
        }
        None if session.printer.format == Format::Json => write_value(&with_value(&name, &revealed)),
        None if terminal => write_value(&for_terminal(&revealed.value)?),
        None => write_value(&revealed.value),
    }
}

/// What could be had is printed, whatever became of the rest; the error of the first that could not is the command's own.
pub(super) async fn fetch(session: &Session, arguments: FetchArguments) -> Result<(), CliError> {
    let FetchArguments { names, reason, ticket, to, force, show } = arguments;
    match &to {
        Some(path) => check_target(path, force)?,
        None => check_terminal(io::stdout().is_terminal(), show)?,
    }
    let batch = RevealBatch::new().latest(names.iter().cloned());
    let batch = batch.reason(reason.unwrap_or_default()).ticket(ticket.unwrap_or_default());
    let results = session.client.reveal_batch(batch).await?;
    let items: Vec<_> = names
        .iter()
        .zip(&results)
        .map(|(name, result)| match result {
            Ok(revealed) => valued(name, revealed),
            Err(refusal) => json!({ "name": name.to_string(), "code": refusal.code_word(), "message": refusal.message }),
        })
        .collect();
    let text = SecretBytes::new(json_text(&json!({ "items": items })).into_bytes());
    match to {
        Some(path) => write_file(&path, &text, force)?,
        None => write_value(&text)?,
    }
    match results.into_iter().find_map(Result::err) {
        Some(refusal) => Err(ClientError::Refused(Box::new(refusal)).into()),
        None => Ok(()),
    }
}

pub(super) async fn describe(session: &Session, name: &SecretName) -> Result<(), CliError> {
    print_secret(session, &session.client.describe_secret(name).await?)
}

pub(super) async fn list(session: &Session, prefix: &Prefix, limit: usize) -> Result<(), CliError> {
    let all = collect(limit, |page| session.client.list_secrets(&prefix.0, page)).await?;
    session.printer.list(&all, SECRET_COLUMNS)
}

pub(super) async fn versions(session: &Session, name: &SecretName, limit: usize) -> Result<(), CliError> {
    let all = collect(limit, |page| session.client.list_secret_versions(name, page)).await?;
    session.printer.list(&all, VERSION_COLUMNS)
}

pub(super) async fn find(session: &Session, namespace: &NamespaceName, provider: &str, subject: &str) -> Result<(), CliError> {
    let items = session.client.find_secrets(namespace, provider, subject).await?;
    session.printer.list(&Listed { items, next: None }, SECRET_COLUMNS)
}

fn check_terminal(terminal: bool, show: bool) -> Result<(), CliError> {
    if terminal && !show {
        let why = "standard output is a terminal: --show prints the value there, --to FILE writes it to a file, a pipe hands it on";
        return Err(CliError::Usage(why.to_owned()));
    }
    Ok(())
}

/// A value on a terminal ends its line, and must not steer the terminal.
fn for_terminal(value: &SecretBytes) -> Result<SecretBytes, CliError> {
    match std::str::from_utf8(value.expose()) {
        Ok(text) if shown(text) == text.replace('\\', "\\\\") => Ok(SecretBytes::new(format!("{text}\n").into_bytes())),
        _ => Err(CliError::Input("the value is not plain text, so a terminal cannot show it: use --to FILE or a pipe".to_owned())),
    }
}

fn report_file(session: &Session, name: &SecretName, revealed: &Revealed, path: &Path) -> Result<(), CliError> {
    let file = path.display().to_string();
    let mut object = without_value(name, revealed);
    object["file"] = json!(file);
    session.printer.item(&object, &[("name", name.to_string()), ("version", revealed.version.to_string()), ("file", file)])
}

fn without_value(name: &SecretName, revealed: &Revealed) -> Value {
    json!({
        "name": name.to_string(),
        "version": revealed.version,
        "revision": revealed.revision,
        "expire_time": revealed.expire_time.map(|time| time.to_string()),
    })
}

fn with_value(name: &SecretName, revealed: &Revealed) -> SecretBytes {
    SecretBytes::new(json_text(&valued(name, revealed)).into_bytes())
}

fn valued(name: &SecretName, revealed: &Revealed) -> Value {
    let mut object = without_value(name, revealed);
    object["value_base64"] = json!(base64(revealed.value.expose()));
    object["utf8"] = json!(std::str::from_utf8(revealed.value.expose()).is_ok());
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> SecretBytes {
        SecretBytes::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_terminal_sees_a_value_only_when_asked_to() {
        assert!(check_terminal(true, true).is_ok() && check_terminal(false, false).is_ok());
        let refused = check_terminal(true, false).expect_err("a terminal");
        assert!(refused.exit_code() == 2 && refused.to_string().contains("--show"), "{refused}");
    }

    #[test]
    fn a_value_does_not_steer_the_terminal() {
        for text in ["STAGE_0a", "back\\slash \"quoted\"", "日本"] {
            assert_eq!(for_terminal(&value(text)).expect("plain").expose(), format!("{text}\n").as_bytes());
        }
        for text in ["a\u{1b}[2J", "a\nb", "a\u{202e}b"] {
            let error = for_terminal(&value(text)).expect_err("not plain");
            assert!(!error.to_string().contains("[2J"), "{error}");
        }
        assert!(for_terminal(&SecretBytes::new(vec![0xff])).is_err());
    }

    #[test]
    fn json_tells_whether_the_value_is_text() {
        let name = "wepay-stage/merchants/12345".parse().expect("valid");
        let of = |bytes: &[u8]| {
            let revealed = Revealed { value: SecretBytes::new(bytes.to_vec()), version: 2, revision: 9, expire_time: None };
            serde_json::from_slice::<Value>(with_value(&name, &revealed).expose()).expect("JSON")
        };
        assert_eq!(
            of(b"foo"),
            json!({"name": "wepay-stage/merchants/12345", "version": 2, "revision": 9, "expire_time": null, "value_base64": "Zm9v", "utf8": true})
        );
        assert_eq!(of(&[0xff])["utf8"], false);
    }
}
