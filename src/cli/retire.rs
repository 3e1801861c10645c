//! `strongroom keys disable`, `enable`, `retire`, `keep`, `statement` and `verify-statement`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::words::{number, remark};
use super::{CliError, Format, Printer, Session, input, output};
use crate::client::KeyInfo;
use crate::crypto::verify_note;
use crate::model::{Invalid, NamespaceName, SecretBytes, VaultId};

/// How long a look at every value of a namespace may take.
const SCAN: Duration = Duration::from_secs(600);

/// Which version, and why.
#[derive(Debug, Args)]
pub struct KeyVersionArguments {
    /// The namespace
    namespace: NamespaceName,
    /// The version
    #[arg(value_parser = number::<u32>)]
    version: u32,
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
}

/// `keys retire`.
#[derive(Debug, Args)]
pub struct RetireArguments {
    #[command(flatten)]
    which: KeyVersionArguments,
    /// Write the signed statement to this file, too
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// `keys statement`.
#[derive(Debug, Args)]
pub struct StatementArguments {
    /// The namespace
    namespace: NamespaceName,
    /// The version
    #[arg(value_parser = number::<u32>)]
    version: u32,
}

/// `keys verify-statement`.
#[derive(Debug, Args)]
#[command(
    after_help = "The two are what `init` printed, and stand at the top of the server's configuration. No vault is asked.\n\nExample:\n  \
                        strongroom keys verify-statement retired.txt --vault-id 0123456789abcdef0123456789abcdef \\\n    --audit-public-key \
                        00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)]
pub struct VerifyStatementArguments {
    /// The statement, as it was written
    file: PathBuf,
    /// The vault that must have signed it
    #[arg(long, value_name = "ID")]
    vault_id: VaultId,
    /// The public key of its audit log: 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    audit_public_key: [u8; 32],
}

fn public_key(text: &str) -> Result<[u8; 32], Invalid> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).map_err(|_| Invalid("a public key is 64 hex digits"))?;
    Ok(key)
}

pub(super) async fn disable(
    session: &Session,
    KeyVersionArguments { namespace, version, reason }: KeyVersionArguments,
) -> Result<(), CliError> {
    show(session, &session.client.disable_key(&namespace, version, &reason.unwrap_or_default()).await?)
}

pub(super) async fn enable(
    session: &Session,
    KeyVersionArguments { namespace, version, reason }: KeyVersionArguments,
) -> Result<(), CliError> {
    show(session, &session.client.enable_key(&namespace, version, &reason.unwrap_or_default()).await?)
}

pub(super) async fn keep(
    session: &Session,
    KeyVersionArguments { namespace, version, reason }: KeyVersionArguments,
) -> Result<(), CliError> {
    show(session, &session.client.cancel_key_retirement(&namespace, version, &reason.unwrap_or_default()).await?)
}

pub(super) async fn retire(session: &Session, RetireArguments { which, to }: RetireArguments) -> Result<(), CliError> {
    let KeyVersionArguments { namespace, version, reason } = which;
    if let Some(path) = &to {
        input::check_target(path, false)?;
    }
    let client = session.client.with_deadline(SCAN);
    let (key, statement) = client.retire_key(&namespace, version, &reason.unwrap_or_default()).await?;
    if let Some(path) = &to {
        input::write_file(path, &SecretBytes::new(statement.clone().into_bytes()), false)?;
    }
    tell_statement(session.printer, &json!({ "key": key, "statement": statement }), &statement)
}

pub(super) async fn statement(session: &Session, StatementArguments { namespace, version }: StatementArguments) -> Result<(), CliError> {
    let statement = session.client.key_statement(&namespace, version).await?;
    tell_statement(session.printer, &json!({ "statement": statement }), &statement)
}

/// Verifies a statement without a vault.
pub(super) fn verify(printer: Printer, arguments: &VerifyStatementArguments) -> Result<(), CliError> {
    let VerifyStatementArguments { file, vault_id, audit_public_key } = arguments;
    let note = std::fs::read_to_string(file).map_err(|source| CliError::File { path: file.clone(), source })?;
    let text = verify_note(&note, &format!("strongroom/{vault_id}"), audit_public_key);
    let text = text.map_err(|Invalid(why)| CliError::NotGood(format!("{}: {why}", file.display())))?;
    let fields: Vec<_> =
        text.lines().skip(1).filter_map(|line| line.split_once(": ")).map(|(name, value)| (name, value.to_owned())).collect();
    let told: serde_json::Map<_, _> = fields.iter().map(|(name, value)| (name.replace(' ', "_"), json!(value))).collect();
    printer.item(&json!({ "verified": true, "statement": told }), &fields)?;
    printer.note("The signature is the vault's.");
    Ok(())
}

fn tell_statement(printer: Printer, told: &serde_json::Value, statement: &str) -> Result<(), CliError> {
    match printer.format {
        Format::Json => printer.item(told, &[]),
        Format::Table => output::print(statement.as_bytes()),
    }
}

fn show(session: &Session, key: &KeyInfo) -> Result<(), CliError> {
    super::keys::show(session, key)
}
