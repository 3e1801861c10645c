//! How secrets are shown.

use crate::cli::output::Column;
use crate::cli::{CliError, Session};
use crate::client::{AccessToken, SecretInfo, Stored, VersionInfo};
use crate::model::Timestamp;

pub(super) const SECRET_COLUMNS: &[Column<SecretInfo>] = &[
    ("NAME", |secret| secret.name.to_string()),
    ("KIND", |secret| secret.kind.word().to_owned()),
    ("STATE", state),
    ("VERSION", |secret| secret.version.to_string()),
    ("SUBJECT", |secret| secret.access_token.as_ref().map(subject).unwrap_or_default()),
    ("UPDATED", |secret| secret.update_time.to_string()),
    ("EXPIRES", |secret| or_never(secret.expire_time)),
];

pub(super) const VERSION_COLUMNS: &[Column<VersionInfo>] = &[
    ("VERSION", |version| version.version.to_string()),
    ("LATEST", |version| if version.latest { "yes" } else { "no" }.to_owned()),
    ("STORED", |version| version.create_time.to_string()),
    ("BY", |version| version.created_by.clone()),
    ("EXPIRES", |version| or_never(version.expire_time)),
    ("KEK", |version| version.kek_version.to_string()),
];

pub(super) fn print_secret(session: &Session, secret: &SecretInfo) -> Result<(), CliError> {
    session.printer.item(secret, &fields(secret))
}

pub(super) fn print_stored(session: &Session, stored: &Stored) -> Result<(), CliError> {
    stored.warnings.iter().for_each(|warning| session.printer.note(&format!("warning: {warning}")));
    session.printer.item(stored, &fields(&stored.secret))
}

fn fields(secret: &SecretInfo) -> Vec<(&'static str, String)> {
    let labels: Vec<_> = secret.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let of_token = |text: fn(&AccessToken) -> String| secret.access_token.as_ref().map(text).unwrap_or_default();
    vec![
        ("name", secret.name.to_string()),
        ("id", secret.secret_id.to_string()),
        ("kind", secret.kind.word().to_owned()),
        ("state", state(secret)),
        ("version", secret.version.to_string()),
        ("revision", secret.revision.to_string()),
        ("created", secret.create_time.to_string()),
        ("updated", secret.update_time.to_string()),
        ("updated by", secret.updated_by.clone()),
        ("expires", or_never(secret.expire_time)),
        ("purged", secret.purge_time.map(|time| time.to_string()).unwrap_or_default()),
        ("provider", of_token(|token| token.provider.clone())),
        ("subject", of_token(|token| token.subject.clone())),
        ("scopes", of_token(|token| token.scopes.join(" "))),
        ("type", of_token(|token| token.token_type.clone())),
        ("labels", labels.join(" ")),
        ("kek version", secret.kek_version.to_string()),
    ]
}

fn state(secret: &SecretInfo) -> String {
    if secret.expired { format!("{}, expired", secret.state.word()) } else { secret.state.word().to_owned() }
}

fn subject(token: &AccessToken) -> String {
    format!("{}:{}", token.provider, token.subject)
}

fn or_never(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}
