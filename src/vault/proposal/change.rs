//! What can be proposed, in words, and as it lies in a row.

use std::fmt;

use crate::crypto::{QuorumSize, Recipient};
use crate::model::{HsmName, Invalid, ProposalId, SlotId, SpiffeId, Text, Timestamp};

use super::super::{Error, NewRecipient, record};

/// What exactly is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedChange {
    /// A new slot.
    AddSlot(NewSlot),
    /// A slot less.
    RemoveSlot(SlotId),
    /// Another root key. Every slot must be opened for it, but for those dropped.
    ReplaceRootKey {
        /// The slots that go with the old one.
        dropped: Vec<SlotId>,
    },
    /// One more recipient of backups.
    EnrolRecipient(NewRecipient),
    /// A recipient less.
    RemoveRecipient(Recipient),
}

/// A name and a recipient, as it stands in the audit log.
fn named(new: &NewRecipient) -> String {
    format!("{} ({})", new.recipient, new.name)
}

/// A slot to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewSlot {
    /// With a passphrase, which is given when it is made.
    Passphrase,
    /// That a key in an HSM opens: the name of the HSM in the configuration.
    Token(HsmName),
    /// With shares.
    Quorum {
        /// How many, and how many open it.
        size: QuorumSize,
        /// Whom each share is encrypted to, in the order of their numbers; or nobody.
        recipients: Vec<Recipient>,
    },
}

impl NewSlot {
    /// A quorum, if its recipients fit its size.
    ///
    /// # Errors
    /// Unless there are as many recipients as shares, each once, or none.
    pub fn quorum(size: QuorumSize, recipients: Vec<Recipient>) -> Result<Self, Invalid> {
        let invalid = |why| Err(Invalid(why));
        if !recipients.is_empty() && recipients.len() != usize::from(size.shares()) {
            return invalid("name a recipient for each share, or none");
        }
        let repeated = |(at, recipient): (usize, &Recipient)| recipients[..at].contains(recipient);
        if recipients.iter().enumerate().any(repeated) {
            return invalid("a recipient is named twice: each share belongs to another person");
        }
        Ok(Self::Quorum { size, recipients })
    }
}

impl ProposedChange {
    /// Whom new shares are encrypted to.
    pub(in crate::vault) fn recipients(&self) -> &[Recipient] {
        match self {
            Self::AddSlot(NewSlot::Quorum { recipients, .. }) => recipients,
            _ => &[],
        }
    }
}

/// As it stands in the audit log.
impl fmt::Display for ProposedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddSlot(NewSlot::Passphrase) => write!(f, "add a passphrase slot"),
            Self::AddSlot(NewSlot::Token(hsm)) => write!(f, "add a slot that the HSM {hsm} opens"),
            Self::AddSlot(NewSlot::Quorum { size, recipients }) => {
                write!(f, "add a slot that {} of {} shares open", size.threshold(), size.shares())?;
                match recipients.is_empty() {
                    true => write!(f, ", shown to who carries it out"),
                    false => write!(f, ", encrypted to {}", recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
                }
            }
            Self::RemoveSlot(slot) => write!(f, "remove slot {slot}"),
            Self::EnrolRecipient(new) => write!(f, "encrypt backups to {}, too", named(new)),
            Self::RemoveRecipient(recipient) => write!(f, "encrypt backups no more to {recipient}"),
            Self::ReplaceRootKey { dropped } if dropped.is_empty() => write!(f, "replace the root key, keeping every slot"),
            Self::ReplaceRootKey { dropped } => {
                write!(f, "replace the root key, dropping slots {}", dropped.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
        }
    }
}

impl From<&ProposedChange> for record::ProposedChange {
    fn from(change: &ProposedChange) -> Self {
        use record::proposed_change::Change;
        let change = match change {
            ProposedChange::AddSlot(NewSlot::Passphrase) => Change::AddPassphraseSlot(record::NewPassphraseSlot {}),
            ProposedChange::AddSlot(NewSlot::Token(hsm)) => Change::AddTokenSlot(record::NewTokenSlot { hsm: hsm.to_string() }),
            ProposedChange::AddSlot(NewSlot::Quorum { size, recipients }) => Change::AddQuorumSlot(record::NewQuorumSlot {
                threshold: size.threshold().into(),
                shares: size.shares().into(),
                recipients: recipients.iter().map(ToString::to_string).collect(),
            }),
            ProposedChange::RemoveSlot(slot) => Change::RemoveSlot(slot.as_bytes().to_vec()),
            ProposedChange::EnrolRecipient(new) => {
                Change::EnrolRecipient(record::EnrolledRecipient { name: new.name.to_string(), recipient: new.recipient.to_string() })
            }
            ProposedChange::RemoveRecipient(recipient) => Change::RemoveRecipient(recipient.to_string()),
            ProposedChange::ReplaceRootKey { dropped } => Change::ReplaceRootKey(record::RootKeyReplacement {
                dropped: dropped.iter().map(|slot| slot.as_bytes().to_vec()).collect(),
            }),
        };
        Self { change: Some(change) }
    }
}

impl record::Proposal {
    pub(super) fn proposed_change(&self) -> Result<ProposedChange, Error> {
        use record::proposed_change::Change;
        let slot = |bytes: &[u8]| bytes.try_into().map(SlotId::from_bytes).map_err(|_| damaged());
        match self.change.as_ref().and_then(|change| change.change.as_ref()).ok_or_else(damaged)? {
            Change::AddPassphraseSlot(_) => Ok(ProposedChange::AddSlot(NewSlot::Passphrase)),
            Change::AddTokenSlot(new) => new.hsm.parse().map(|hsm| ProposedChange::AddSlot(NewSlot::Token(hsm))).map_err(|_| damaged()),
            Change::AddQuorumSlot(new) => {
                let number = |number: u32| u8::try_from(number).map_err(|_| damaged());
                let size = QuorumSize::new(number(new.threshold)?, number(new.shares)?).map_err(|_| damaged())?;
                let recipients = new.recipients.iter().map(|text| text.parse().map_err(|_| damaged())).collect::<Result<_, _>>()?;
                NewSlot::quorum(size, recipients).map(ProposedChange::AddSlot).map_err(|_| damaged())
            }
            Change::RemoveSlot(id) => slot(id).map(ProposedChange::RemoveSlot),
            Change::EnrolRecipient(new) => {
                let name = Text::parse(&new.name).map_err(|_| damaged())?;
                Ok(ProposedChange::EnrolRecipient(NewRecipient { name, recipient: new.recipient.parse().map_err(|_| damaged())? }))
            }
            Change::RemoveRecipient(text) => text.parse().map(ProposedChange::RemoveRecipient).map_err(|_| damaged()),
            Change::ReplaceRootKey(new) => {
                let dropped = new.dropped.iter().map(|id| slot(id)).collect::<Result<_, _>>()?;
                Ok(ProposedChange::ReplaceRootKey { dropped })
            }
        }
    }

    pub(super) fn proposal_id(&self) -> Result<ProposalId, Error> {
        self.id.as_slice().try_into().map(ProposalId::from_bytes).map_err(|_| damaged())
    }

    pub(super) fn voters(&self) -> Result<Vec<(SpiffeId, Timestamp)>, Error> {
        self.votes.iter().map(|vote| Ok((record::principal(&vote.principal)?, record::time(vote.time_ms)?))).collect()
    }

    pub(super) fn close(&mut self, how: record::ProposalEnd, by: &SpiffeId, now: Timestamp, intent: u64) {
        self.end = how.into();
        self.ended_by = by.to_string();
        self.ended_ms = now.unix_ms();
        self.intent = intent;
    }
}

fn damaged() -> Error {
    Error::Integrity("a proposal's record")
}
