//! `strongroom proposal …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::Column;
use super::shares::{ShareFolder, advice};
use super::slot_secret::SlotSecretArguments;
use super::words::{Span, number, remark};
use super::{CliError, Session, input, slot};
use crate::client::{CarriedOut, ProposalInfo, ProposedChange, SlotAnswer, collect};
use crate::model::{Clock, ProposalId, SystemClock};

/// See, confirm, end and carry out what was proposed. `keys slot` and `keys root` make proposals.
#[derive(Debug, Subcommand)]
pub enum ProposalCommand {
    /// List proposals, the newest first
    #[command(after_help = "Examples:\n  strongroom proposal list --pending\n  strongroom proposal list --output json")]
    List {
        /// Those alone that wait to be approved or carried out
        #[arg(long)]
        pending: bool,
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
    /// Tell of a proposal
    #[command(after_help = "Example:\n  strongroom proposal show 0123456789abcdef0123456789abcdef")]
    Show {
        /// Its id
        id: ProposalId,
    },
    /// Agree to somebody else's proposal, after a look at it
    #[command(after_help = "Examples:\n  strongroom proposal approve 0123456789abcdef0123456789abcdef\n  \
                            strongroom proposal approve 0123456789abcdef0123456789abcdef --yes --reason 'as discussed, CHG-12'")]
    Approve {
        /// Its id
        id: ProposalId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
    },
    /// End a proposal: your own, or with the action approve anybody's
    #[command(after_help = "Example:\n  strongroom proposal withdraw 0123456789abcdef0123456789abcdef --reason 'not as agreed'")]
    Withdraw {
        /// Its id
        id: ProposalId,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
    },
    /// Bring a passphrase or a share that an approved proposal needs; the server keeps what it opened for 15 minutes
    #[command(after_help = "Examples:\n  strongroom proposal present 0123456789abcdef0123456789abcdef\n  \
                            age --decrypt --identity me.key share-2-of-5.age | strongroom proposal present 0123456789abcdef0123456789abcdef --share-file -")]
    Present(PresentArguments),
    /// Do what was proposed, once it is approved and what it needs was brought; only for who proposed it
    #[command(after_help = "Examples:\n  strongroom proposal carry-out 0123456789abcdef0123456789abcdef\n  \
                            strongroom proposal carry-out 0123456789abcdef0123456789abcdef --shares-to new-shares")]
    CarryOut(CarryOutArguments),
}

/// `proposal present`.
#[derive(Debug, Args)]
pub struct PresentArguments {
    /// The proposal's id
    id: ProposalId,
    #[command(flatten)]
    secret: SlotSecretArguments,
}

/// `proposal carry-out`.
#[derive(Debug, Args)]
pub struct CarryOutArguments {
    /// The proposal's id
    id: ProposalId,
    /// Make this folder and write the new slot's shares to it, each to a file of its own
    #[arg(long, value_name = "DIR")]
    shares_to: Option<PathBuf>,
    /// Read the new slot's passphrase from this file, - for standard input [default: ask for it]
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
}

/// What every command that makes a proposal takes.
#[derive(Debug, Args)]
pub struct ProposeArguments {
    /// Why, for those who are to agree
    #[arg(long, value_parser = remark)]
    reason: String,
    /// How long it stands: at most 7d
    #[arg(long = "for", value_name = "DURATION", default_value = "1d")]
    stands: Span,
}

const COLUMNS: &[Column<ProposalInfo>] = &[
    ("ID", |proposal| proposal.proposal_id.to_string()),
    ("STATE", |proposal| proposal.state.word().to_owned()),
    ("WHAT", |proposal| proposal.summary.clone()),
    ("PROPOSED BY", |proposal| proposal.proposed_by.to_string()),
    ("UNTIL", |proposal| proposal.expire_time.to_string()),
    ("AGREED", agreed),
    ("REASON", |proposal| proposal.reason.clone()),
];

pub(super) async fn run(session: &Session, command: ProposalCommand) -> Result<(), CliError> {
    match command {
        ProposalCommand::List { pending, limit } => {
            let all = collect(limit, |page| session.client.list_proposals(pending, page)).await?;
            session.printer.list(&all, COLUMNS)
        }
        ProposalCommand::Show { id } => show(session, &session.client.describe_proposal(id).await?),
        ProposalCommand::Approve { id, yes, reason } => {
            let proposal = session.client.describe_proposal(id).await?;
            if !yes {
                session.printer.note(&format!("{} proposes to {}, since: {}", proposal.proposed_by, proposal.summary, proposal.reason));
                input::agree("Do you agree?")?;
            }
            show(session, &session.client.approve_proposal(id, reason.as_deref().unwrap_or_default()).await?)
        }
        ProposalCommand::Withdraw { id, reason } => {
            show(session, &session.client.withdraw_proposal(id, reason.as_deref().unwrap_or_default()).await?)
        }
        ProposalCommand::Present(PresentArguments { id, secret }) => present(session, id, &secret).await,
        ProposalCommand::CarryOut(arguments) => carry_out(session, arguments).await,
    }
}

/// Proposes a change, and says what happens next.
pub(super) async fn propose(session: &Session, change: &ProposedChange, how: &ProposeArguments) -> Result<(), CliError> {
    let Span(stands) = how.stands;
    let expires = SystemClock.now().plus(stands);
    let proposal = session.client.propose(change, &how.reason, Some(expires)).await?;
    show(session, &proposal)?;
    let id = proposal.proposal_id;
    session.printer.note(&format!(
        "Now another person approves it:\n  strongroom proposal approve {id}\nwhoever knows a passphrase or holds a share brings it:\n  \
         strongroom proposal present {id}\nand you carry it out:\n  strongroom proposal carry-out {id}"
    ));
    Ok(())
}

async fn present(session: &Session, id: ProposalId, secret: &SlotSecretArguments) -> Result<(), CliError> {
    let presented = session.client.present_secret(id, secret.read(session)?).await?;
    let missing: Vec<_> = presented.missing.iter().map(ToString::to_string).collect();
    let (told, mut fields) = match presented.answer {
        SlotAnswer::Opened(info) => (json!({ "slot": info, "missing": missing }), vec![("opened", info.slot_id.to_string())]),
        SlotAnswer::Waiting(quorum) => {
            let words = slot::progress(&quorum);
            (json!({ "quorum": quorum, "missing": missing }), vec![("shares", words)])
        }
    };
    fields.push(("still to be opened", missing.join(" ")));
    session.printer.item(&told, &fields)
}

async fn carry_out(session: &Session, arguments: CarryOutArguments) -> Result<(), CliError> {
    let CarryOutArguments { id, shares_to, new_passphrase_file, reason } = arguments;
    let proposal = session.client.describe_proposal(id).await?;
    let new_passphrase = match proposal.needs_new_passphrase {
        true => Some(input::new_slot_passphrase(new_passphrase_file.as_deref())?),
        false => None,
    };
    let folder = match (proposal.new_shares, shares_to) {
        (0, _) => None,
        (_, Some(path)) => Some(ShareFolder::create(&path)?),
        (_, None) => {
            return Err(CliError::Usage("the new slot has shares: say where they are to be written, with --shares-to DIR".to_owned()));
        }
    };
    match session.client.carry_out_proposal(id, new_passphrase, reason.as_deref().unwrap_or_default()).await {
        Ok(done) => tell_done(session, &done, folder.as_ref()),
        Err(error) => {
            folder.iter().for_each(ShareFolder::abandon);
            Err(error.into())
        }
    }
}

fn tell_done(session: &Session, done: &CarriedOut, folder: Option<&ShareFolder>) -> Result<(), CliError> {
    let mut files = Vec::new();
    for share in &done.shares {
        let folder = folder.ok_or(CliError::Usage("shares came that nobody asked for; they were dropped: remove the slot".to_owned()))?;
        files.push(folder.write(share.number, done.shares.len(), &share.text, !share.recipient.is_empty())?.display().to_string());
    }
    let slot = done.slot.as_ref().map(|slot| slot.slot_id.to_string()).unwrap_or_default();
    let told = json!({ "proposal": done.proposal, "slot": done.slot, "share_files": files });
    session.printer.item(&told, &[("done", done.proposal.summary.clone()), ("new slot", slot), ("shares", files.join(" "))])?;
    if let Some(share) = done.shares.first() {
        session.printer.note(advice(!share.recipient.is_empty()));
    }
    if done.slot.is_some() {
        session.printer.note("It counts as working once it opened: strongroom keys slot test");
    }
    Ok(())
}

fn show(session: &Session, proposal: &ProposalInfo) -> Result<(), CliError> {
    let fields: Vec<_> = COLUMNS.iter().map(|(head, cell)| (head.to_lowercase(), cell(proposal))).collect();
    let mut fields: Vec<_> = fields.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    fields.push(("ended by", proposal.closed_by.clone()));
    session.printer.item(proposal, &fields)
}

fn agreed(proposal: &ProposalInfo) -> String {
    let names: Vec<_> = proposal.votes.iter().map(|vote| vote.principal.to_string()).collect();
    format!("{} of {} {}", names.len(), proposal.votes_needed, names.join(" ")).trim_end().to_owned()
}
