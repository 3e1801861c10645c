//! `strongroom status`, `unseal`, `seal`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::words::remark;
use super::{CliError, Session, input};
use crate::client::{ConditionInfo, Refusal, SealState};

/// `unseal`.
#[derive(Debug, Args)]
#[command(after_help = "The passphrase is asked for without being shown, unless --passphrase-file is given.\n\nExamples:\n  \
                        strongroom unseal\n  strongroom unseal --passphrase-file /run/credentials/passphrase\n  \
                        fetch-passphrase | strongroom unseal --passphrase-file -")]
pub struct UnsealArguments {
    /// Read the passphrase from this file, - for standard input; one newline at its end is dropped
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// `seal`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  strongroom seal --reason 'a stolen laptop'")]
pub struct SealArguments {
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
}

pub(super) async fn status(session: &Session) -> Result<(), CliError> {
    let status = session.client.status().await?;
    let fields = [
        ("state", if status.seal_state == SealState::Open { "open" } else { "sealed" }.to_owned()),
        ("vault", status.vault_id.to_string()),
        ("version", status.server_version.clone()),
        ("started", status.start_time.to_string()),
        ("now", status.now.to_string()),
        ("store", condition(&status.store)),
        ("store size", format!("{} bytes", status.store_bytes)),
        ("audit log", condition(&status.audit)),
        ("audit size", format!("{} entries, {} bytes", status.audit_sequence, status.audit_bytes)),
        ("clock", condition(&status.clock)),
        ("keys lie in", status.key_memory.clone()),
        ("memory", if status.memory_protected { "protected" } else { "NOT protected: core dumps or debuggers can read it" }.to_owned()),
    ];
    session.printer.item(&status, &fields)
}

pub(super) async fn unseal(session: &Session, arguments: &UnsealArguments) -> Result<(), CliError> {
    let passphrase = input::passphrase(arguments.passphrase_file.as_deref())?;
    let vault_id = session.client.unseal(passphrase).await?.to_string();
    session
        .printer
        .item(&json!({ "vault_id": vault_id, "seal_state": "open" }), &[("vault", vault_id.clone()), ("state", "open".to_owned())])
}

pub(super) async fn seal(session: &Session, arguments: &SealArguments) -> Result<(), CliError> {
    match session.client.seal(arguments.reason.as_deref().unwrap_or_default()).await {
        // What was wanted holds, which is what counts in an emergency.
        Err(error) if error.refusal().is_some_and(Refusal::is_sealed) => eprintln!("it is sealed already"),
        done => done?,
    }
    session.printer.item(&json!({ "seal_state": "sealed" }), &[("state", "sealed".to_owned())])
}

fn condition(condition: &ConditionInfo) -> String {
    match (condition.healthy, condition.since) {
        (true, _) => "healthy".to_owned(),
        (false, Some(since)) => format!("UNHEALTHY since {since}: {}", condition.problem),
        (false, None) => format!("UNHEALTHY: {}", condition.problem),
    }
}
