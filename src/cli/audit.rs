//! `strongroom audit …`.

use clap::{Args, Subcommand, ValueEnum};

use super::output::Column;
use super::words::{Prefix, When, number, remark};
use super::{CliError, Session};
use crate::client::{AuditEntry, AuditFilter, Method, collect};
use crate::model::{Action, Invalid, SpiffeId};

/// Read the record of every call.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show entries, newest first; that you looked is itself on record
    #[command(after_help = "Examples:\n  strongroom audit show --resource wepay-prod --action reveal --since 7d\n  \
                            strongroom audit show --principal spiffe://people.example/alice --decision deny")]
    Show(ShowArguments),
}

/// `audit show`. Each flag narrows what is shown.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// Written at this time or later: a time, or a duration back from now
    #[arg(long, value_name = "TIME|DURATION")]
    since: Option<When>,
    /// Written before this time
    #[arg(long, value_name = "TIME|DURATION")]
    until: Option<When>,
    /// Of this caller
    #[arg(long, value_name = "SPIFFE-ID")]
    principal: Option<SpiffeId>,
    /// Of this action, e.g. reveal
    #[arg(long)]
    action: Option<Action>,
    /// About this namespace, or about secrets below NAMESPACE/PATH
    #[arg(long, value_name = "PREFIX")]
    resource: Option<Prefix>,
    /// Of this RPC, e.g. RevealSecret
    #[arg(long, value_parser = rpc)]
    method: Option<Method>,
    /// So decided
    #[arg(long, value_enum)]
    decision: Option<Decision>,
    /// With this outcome: ok, or the code of an error
    #[arg(long, value_parser = remark)]
    outcome: Option<String>,
    /// Of this event, e.g. denied
    #[arg(long, value_enum)]
    event: Option<Event>,
    /// Oldest first
    #[arg(long)]
    oldest_first: bool,
    /// At most this many; 0 for all
    #[arg(long, default_value = "1000", value_parser = number::<usize>)]
    limit: usize,
}

/// What was decided about a call.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Decision {
    Allow,
    Deny,
}

/// What an entry tells of.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Event {
    Read,
    Intent,
    Outcome,
    Denied,
    Summary,
    System,
}

const COLUMNS: &[Column<AuditEntry>] = &[
    ("SEQUENCE", |entry| entry.sequence.to_string()),
    ("TIME", |entry| entry.time.to_string()),
    ("EVENT", |entry| entry.event.clone()),
    ("METHOD", |entry| entry.method.clone()),
    ("PRINCIPAL", |entry| if entry.principal.is_empty() { entry.peer.clone() } else { entry.principal.clone() }),
    ("RESOURCE", |entry| entry.resource.clone()),
    ("DECISION", |entry| entry.decision.clone()),
    ("RULE OR WHY", |entry| entry.detail.get("why").unwrap_or(&entry.rule).clone()),
    ("OUTCOME", |entry| entry.outcome.clone()),
    ("REASON", |entry| entry.reason.clone()),
    ("TICKET", |entry| entry.ticket.clone()),
];

pub(super) async fn run(session: &Session, command: AuditCommand) -> Result<(), CliError> {
    let AuditCommand::Show(arguments) = command;
    let (limit, filter) = (arguments.limit, arguments.filter());
    let all = collect(limit, |page| session.client.list_audit_entries(&filter, page)).await?;
    session.printer.list(&all, COLUMNS)
}

impl ShowArguments {
    fn filter(self) -> AuditFilter {
        AuditFilter {
            start_time: self.since.map(When::ago),
            end_time: self.until.map(When::ago),
            principal: self.principal.map(|id| id.to_string()).unwrap_or_default(),
            action: self.action.map(|action| action.word().to_owned()).unwrap_or_default(),
            resource_prefix: self.resource.map(|prefix| prefix.0).unwrap_or_default(),
            method: self.method.map(|method| method.name().to_owned()).unwrap_or_default(),
            decision: word(self.decision),
            outcome: self.outcome.unwrap_or_default(),
            event: word(self.event),
            oldest_first: self.oldest_first,
        }
    }
}

fn word(value: Option<impl ValueEnum>) -> String {
    value.and_then(|value| value.to_possible_value()).map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn rpc(text: &str) -> Result<Method, Invalid> {
    let known = Method::ALL.iter().find(|method| method.name() == text);
    known.copied().ok_or(Invalid("not an RPC: e.g. RevealSecret, CreateSecret, DestroySecret, CreateBinding"))
}
