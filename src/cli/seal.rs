//! `strongroom status`, `unseal`, `seal`.

use clap::Args;
use serde_json::json;

use super::slot::progress;
use super::slot_secret::SlotSecretArguments;
use super::words::remark;
use super::{CliError, Session};
use crate::client::{ConditionInfo, Refusal, SealState, SlotSecret, Unsealing};

/// `unseal`.
#[derive(Debug, Args)]
#[command(after_help = "The passphrase, or the share, is asked for without being shown, unless a file is given. Custodians give their \
                        shares one after the other, each from their own machine, within 15 minutes of each other.\n\nExamples:\n  \
                        strongroom unseal\n  strongroom unseal --passphrase-file /run/credentials/passphrase\n  \
                        fetch-passphrase | strongroom unseal --passphrase-file -\n  strongroom unseal --share\n  \
                        age --decrypt --identity me.key share-2-of-5.age | strongroom unseal --share-file -\n  \
                        strongroom unseal --forget-shares")]
pub struct UnsealArguments {
    #[command(flatten)]
    secret: SlotSecretArguments,
    /// Open nothing: forget the shares that were given so far, to begin anew
    #[arg(long, conflicts_with_all = ["passphrase_file", "share", "share_file"])]
    forget_shares: bool,
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
        ("opens itself", status.automatic_unseal.as_ref().map(condition).unwrap_or_default()),
        ("vault", status.vault_id.to_string()),
        ("version", status.server_version.clone()),
        ("started", status.start_time.to_string()),
        ("now", status.now.to_string()),
        ("store", condition(&status.store)),
        ("store size", format!("{} bytes", status.store_bytes)),
        ("audit log", condition(&status.audit)),
        ("audit size", format!("{} entries, {} bytes", status.audit_sequence, status.audit_bytes)),
        ("clock", condition(&status.clock)),
        ("shares given", status.quorums.iter().map(progress).collect::<Vec<_>>().join("; ")),
        ("keys lie in", status.key_memory.clone()),
        ("memory", if status.memory_protected { "protected" } else { "NOT protected: core dumps or debuggers can read it" }.to_owned()),
    ];
    session.printer.item(&status, &fields)
}

pub(super) async fn unseal(session: &Session, arguments: &UnsealArguments) -> Result<(), CliError> {
    if arguments.forget_shares {
        let forgotten = session.client.forget_shares("").await?;
        return session.printer.item(&json!({ "forgotten": forgotten }), &[("forgotten", format!("{forgotten} shares"))]);
    }
    let vault_id = match arguments.secret.read(session)? {
        SlotSecret::Passphrase(passphrase) => session.client.unseal(passphrase).await?.to_string(),
        SlotSecret::Share(share) => match session.client.unseal_with_share(share).await? {
            Unsealing::Open(vault_id) => vault_id.to_string(),
            Unsealing::Waiting(quorum) => {
                let fields = [("state", "sealed".to_owned()), ("shares", progress(&quorum))];
                return session.printer.item(&json!({ "seal_state": "sealed", "quorum": quorum }), &fields);
            }
        },
    };
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
