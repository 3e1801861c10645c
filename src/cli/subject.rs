//! `strongroom subject …`: all that is stored for one subject of a provider, e.g. a merchant who asks to be forgotten.

use clap::{Args, Subcommand};
use serde_json::json;

use super::destruction::{ends, explain};
use super::input::confirm;
use super::output::Column;
use super::words::remark;
use super::{CliError, Session};
use crate::client::{ClientError, Listed, SecretInfo, SecretState, StateChange, collect};
use crate::model::NamespaceName;

/// See and destroy what is stored for one subject of a provider.
#[derive(Debug, Subcommand)]
pub enum SubjectCommand {
    /// List the access tokens of a subject, in every namespace that you may see
    #[command(after_help = "Example:\n  strongroom subject list wepay 12345")]
    List(WhichArguments),
    /// Destroy all of them, and say what that means
    #[command(after_help = "Examples:\n  strongroom subject destroy wepay 12345 --reason 'a request for erasure'\n  \
                            strongroom subject destroy wepay 12345 --namespace wepay-prod --purge --yes")]
    Destroy(DestroyArguments),
}

/// Which subject, and where.
#[derive(Debug, Args)]
pub struct WhichArguments {
    /// The provider, e.g. wepay
    provider: String,
    /// The subject: whose tokens they are
    subject: String,
    /// In this namespace; may be repeated [default: every one that you may see]
    #[arg(long = "namespace")]
    namespaces: Vec<NamespaceName>,
}

/// `subject destroy`.
#[derive(Debug, Args)]
pub struct DestroyArguments {
    #[command(flatten)]
    which: WhichArguments,
    /// Delete the rows at once, too: nothing can be restored
    #[arg(long)]
    purge: bool,
    /// Do not ask for the subject once more
    #[arg(long)]
    yes: bool,
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
}

const COLUMNS: &[Column<SecretInfo>] = &[
    ("NAME", |secret| secret.name.to_string()),
    ("STATE", |secret| secret.state.word().to_owned()),
    ("VERSION", |secret| secret.version.to_string()),
    ("UPDATED", |secret| secret.update_time.to_string()),
    ("PURGED", |secret| secret.purge_time.map(|time| time.to_string()).unwrap_or_default()),
];

pub(super) async fn run(session: &Session, command: SubjectCommand) -> Result<(), CliError> {
    match command {
        SubjectCommand::List(which) => session.printer.list(&Listed { items: find(session, &which).await?, next: None }, COLUMNS),
        SubjectCommand::Destroy(arguments) => destroy(session, arguments).await,
    }
}

async fn destroy(session: &Session, DestroyArguments { which, purge, yes, reason }: DestroyArguments) -> Result<(), CliError> {
    confirm("destroy all that is stored for", &which.subject, yes)?;
    let reason = reason.unwrap_or_default();
    let (mut gone, mut refused) = (Vec::new(), None);
    for secret in find(session, &which).await? {
        let name = secret.name.clone();
        match end(session, secret, purge, &reason).await {
            Ok(ended) => gone.push(ended),
            Err(error) => {
                session.printer.note(&format!("{name}: {error}"));
                refused.get_or_insert(error);
            }
        }
    }
    let last_purge = gone.iter().filter_map(|secret| secret.purge_time).max();
    let ends = ends(if purge { None } else { last_purge });
    match session.printer.format {
        super::Format::Json => {
            session.printer.item(&json!({ "destroyed": gone, "purged": purge, "complete": refused.is_none(), "ends": ends }), &[])?
        }
        super::Format::Table => {
            session.printer.list(&Listed { items: gone, next: None }, COLUMNS)?;
            explain(session.printer, &ends);
        }
    }
    // What was refused is told by the exit code, too: the rest is gone all the same.
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// Destroys a secret that is not destroyed yet, and deletes its rows if that is asked for.
async fn end(session: &Session, secret: SecretInfo, purge: bool, reason: &str) -> Result<SecretInfo, ClientError> {
    let change = || StateChange::of(&secret.name).reason(reason.to_owned());
    let destroyed = if secret.state == SecretState::Destroyed { secret.clone() } else { session.client.destroy_secret(change()).await? };
    if purge {
        session.client.purge_secret(change()).await?;
    }
    Ok(destroyed)
}

async fn find(session: &Session, which: &WhichArguments) -> Result<Vec<SecretInfo>, CliError> {
    let namespaces = match which.namespaces.as_slice() {
        [] => collect(0, |page| session.client.list_namespaces(page)).await?.items.into_iter().map(|info| info.name).collect(),
        named => named.to_vec(),
    };
    let mut found = Vec::new();
    for namespace in &namespaces {
        match session.client.find_secrets(namespace, &which.provider, &which.subject).await {
            Ok(secrets) => found.extend(secrets),
            // A namespace whose secrets one may not see, among those that one may.
            Err(error) if which.namespaces.is_empty() && error.refusal().is_some_and(|refusal| refusal.is_denied()) => {
                session.printer.note(&format!("{namespace}: you may not look for secrets there; it was left out"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}
