//! `strongroom keys slot …` and `strongroom keys root …`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::Column;
use super::proposal::{ProposeArguments, propose};
use super::slot_secret::SlotSecretArguments;
use super::{CliError, Session};
use crate::client::{Listed, ProposedChange, QuorumProgress, SlotAnswer, SlotInfo, SlotKind};
use crate::model::{HsmName, Invalid, SlotId};

/// See, test and change the slots: the independent ways to the root key. Changes are proposals, which another person approves.
#[derive(Debug, Subcommand)]
pub enum SlotCommand {
    /// List the slots
    #[command(after_help = "Examples:\n  strongroom keys slot list\n  strongroom keys slot list --output json")]
    List,
    /// Prove that a passphrase, or shares, still open a slot
    #[command(after_help = "Examples:\n  strongroom keys slot test\n  strongroom keys slot test --share-file share-2-of-5.txt")]
    Test(SlotSecretArguments),
    /// Propose a new slot
    #[command(after_help = "Examples:\n  strongroom keys slot add --passphrase --reason 'a second passphrase for the safe'\n  \
                            strongroom keys slot add --quorum 3/5 --reason 'new custodians'\n  \
                            strongroom keys slot add --hsm main --reason 'starts without anybody'")]
    Add(AddSlotArguments),
    /// Propose that a slot goes; the last that is known to work stays
    #[command(after_help = "Example:\n  strongroom keys slot remove 0123456789abcdef0123456789abcdef --reason 'Dan has left'")]
    Remove {
        /// The slot's id, as `keys slot list` shows it
        id: SlotId,
        #[command(flatten)]
        how: ProposeArguments,
    },
}

/// Replace the root key. That is a proposal, which another person approves.
#[derive(Debug, Subcommand)]
pub enum RootCommand {
    /// Propose another root key. Every slot is opened for it by whoever can, or dropped
    #[command(after_help = "Examples:\n  strongroom keys root rotate --reason 'yearly'\n  \
                            strongroom keys root rotate --drop 0123456789abcdef0123456789abcdef --reason 'a share was photographed'")]
    Rotate {
        /// A slot that goes with the old key; may be repeated
        #[arg(long = "drop", value_name = "SLOT-ID")]
        dropped: Vec<SlotId>,
        #[command(flatten)]
        how: ProposeArguments,
    },
}

/// `keys slot add`.
#[derive(Debug, Args)]
pub struct AddSlotArguments {
    #[command(flatten)]
    kind: KindArguments,
    /// Encrypt the first share to this age recipient, the second to the next, and so on; one for each share, or none
    #[arg(long = "recipient", value_name = "age1…", requires = "quorum")]
    recipients: Vec<String>,
    #[command(flatten)]
    how: ProposeArguments,
}

/// What opens the new slot.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct KindArguments {
    /// A passphrase, asked for when the proposal is carried out
    #[arg(long)]
    passphrase: bool,
    /// A key in this HSM of the server's configuration
    #[arg(long, value_name = "NAME")]
    hsm: Option<HsmName>,
    /// So many of so many shares, e.g. 3/5
    #[arg(long, value_name = "K/N")]
    quorum: Option<QuorumSize>,
}

/// `3/5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct QuorumSize {
    threshold: u8,
    shares: u8,
}

impl std::str::FromStr for QuorumSize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid = Invalid("a quorum is written K/N, e.g. 3/5: K of N shares open it, 2 to 16");
        let (threshold, shares) = text.split_once('/').ok_or(WHY)?;
        let number = |text: &str| super::words::number::<u8>(text).map_err(|_| WHY);
        let (threshold, shares) = (number(threshold)?, number(shares)?);
        if threshold < 2 || threshold > shares || shares > 16 { Err(WHY) } else { Ok(Self { threshold, shares }) }
    }
}

const COLUMNS: &[Column<SlotInfo>] = &[
    ("ID", |slot| slot.slot_id.to_string()),
    ("OPENED BY", kind),
    ("CREATED", |slot| slot.create_time.to_string()),
    ("LAST OPENED", |slot| slot.last_open_time.map_or_else(|| "never: not known to work".to_owned(), |time| time.to_string())),
    ("BY", |slot| slot.last_opened_by.clone()),
];

pub(super) async fn run(session: &Session, command: SlotCommand) -> Result<(), CliError> {
    match command {
        SlotCommand::List => session.printer.list(&Listed { items: session.client.list_slots().await?, next: None }, COLUMNS),
        SlotCommand::Test(secret) => match session.client.test_slot(secret.read(session)?).await? {
            SlotAnswer::Opened(slot) => {
                let fields: Vec<_> = COLUMNS.iter().map(|(head, cell)| (head.to_lowercase(), cell(&slot))).collect();
                session.printer.item(&slot, &fields.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>())
            }
            SlotAnswer::Waiting(quorum) => session.printer.item(&json!({ "quorum": quorum }), &[("shares", progress(&quorum))]),
        },
        SlotCommand::Add(AddSlotArguments { kind, recipients, how }) => propose(session, &new_slot(&kind, recipients), &how).await,
        SlotCommand::Remove { id, how } => propose(session, &ProposedChange::RemoveSlot(id), &how).await,
    }
}

pub(super) async fn run_root(session: &Session, command: RootCommand) -> Result<(), CliError> {
    match command {
        RootCommand::Rotate { dropped, how } => propose(session, &ProposedChange::ReplaceRootKey { dropped }, &how).await,
    }
}

fn new_slot(kind: &KindArguments, recipients: Vec<String>) -> ProposedChange {
    match (kind.quorum, &kind.hsm) {
        (Some(QuorumSize { threshold, shares }), _) => ProposedChange::AddQuorumSlot { threshold, shares, recipients },
        (None, Some(hsm)) => ProposedChange::AddTokenSlot(hsm.clone()),
        (None, None) => ProposedChange::AddPassphraseSlot,
    }
}

/// `2 of 3 given; slot …; forgotten at …`.
pub(super) fn progress(quorum: &QuorumProgress) -> String {
    let QuorumProgress { slot_id, threshold, given, forget_time, .. } = quorum;
    format!("{given} of {threshold} given for slot {slot_id}; forgotten at {forget_time} unless another one comes")
}

fn kind(slot: &SlotInfo) -> String {
    match &slot.kind {
        SlotKind::Token { token_label, key_label } => format!("the key {key_label} in the HSM's token {token_label}"),
        SlotKind::Passphrase { argon2_memory_kib, argon2_passes } => {
            format!("a passphrase (Argon2id: {} MiB, {argon2_passes} passes)", argon2_memory_kib / 1024)
        }
        SlotKind::Quorum { threshold, shares } => format!("{threshold} of {shares} shares"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_written_one_way() {
        assert_eq!("3/5".parse(), Ok(QuorumSize { threshold: 3, shares: 5 }));
        assert_eq!("2/2".parse(), Ok(QuorumSize { threshold: 2, shares: 2 }));
        assert_eq!("16/16".parse(), Ok(QuorumSize { threshold: 16, shares: 16 }));
        for text in ["", "3", "/", "3/", "/5", "1/5", "0/0", "6/5", "2/17", "3 / 5", "+3/5", "3/5/7", "300/500"] {
            assert!(text.parse::<QuorumSize>().is_err(), "{text:?}");
        }
    }
}
