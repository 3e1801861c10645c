//! Recovery recipients: the people to whom every backup is encrypted. Their identities never come near the vault.

use crate::backup::Recipient;
use crate::gate::{Permit, Unreleased};
use crate::model::{Text, Timestamp, limits};
use crate::storage::{Batch, Revision};

use super::record::RecoveryRecipient;
use super::rows::SystemRows;
use super::{Error, Open, author, record, row};

/// Recipients of a vault: an archive has a stanza for each.
pub(super) const RECIPIENTS: usize = 16;

/// Somebody to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecipient {
    /// Who keeps the identity, in words.
    pub name: Text<{ limits::NAME_BYTES }>,
    /// The public half of it.
    pub recipient: Recipient,
}

/// A recovery recipient as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientInfo {
    /// Who keeps the identity, in words.
    pub name: String,
    /// The public half of it.
    pub recipient: Recipient,
    /// The SPIFFE ID of who enrolled it; empty if it was named when the vault was made.
    pub enrolled_by: String,
    /// When it was enrolled.
    pub enrolled: Timestamp,
}

impl TryFrom<&RecoveryRecipient> for RecipientInfo {
    type Error = Error;

    fn try_from(stored: &RecoveryRecipient) -> Result<Self, Error> {
        Ok(Self {
            name: stored.name.clone(),
            recipient: stored.recipient.parse().map_err(|_| Error::Integrity("a recovery recipient"))?,
            enrolled_by: stored.enrolled_by.clone(),
            enrolled: record::time(stored.enrolled_ms)?,
        })
    }
}

/// The rows of those that are named when a vault is made.
pub(super) fn first_recipients(batch: Batch, rows: &SystemRows, recipients: &[NewRecipient], now: Timestamp) -> Result<Batch, Error> {
    if recipients.len() > RECIPIENTS {
        return Err(FULL);
    }
    recipients.iter().try_fold(batch, |batch, new| {
        let key = row::recipient_key(new.recipient.as_str());
        let sealed = rows.seal(&key, &stored(new, String::new(), now, 0))?;
        Ok(batch.put(key, sealed))
    })
}

const FULL: Error = Error::State("a vault has at most 16 recovery recipients: remove one first");

fn stored(new: &NewRecipient, enrolled_by: String, now: Timestamp, intent: u64) -> RecoveryRecipient {
    RecoveryRecipient { name: new.name.to_string(), recipient: new.recipient.to_string(), enrolled_by, enrolled_ms: now.unix_ms(), intent }
}

impl Open {
    /// A batch after which backups are encrypted to this recipient, too.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::State`] where there are 16 already.
    pub(super) async fn with_recipient(&self, permit: &Permit<()>, batch: Batch, new: &NewRecipient) -> Result<Batch, Error> {
        let all = self.recovery_recipients().await?;
        if all.iter().any(|enrolled| enrolled.recipient == new.recipient) {
            return Err(Error::Exists);
        }
        if all.len() >= RECIPIENTS {
            return Err(FULL);
        }
        let key = row::recipient_key(new.recipient.as_str());
        let sealed = self.rows.seal(&key, &stored(new, author(permit), permit.now(), permit.intent()))?;
        Ok(batch.expecting(key.clone(), Revision::ABSENT).put(key, sealed))
    }

    /// A batch after which backups are not encrypted to this recipient. Those that were made before still are.
    ///
    /// # Errors
    /// [`Error::Absent`]; [`Error::State`] for the last one: without it there could be no backup.
    pub(super) async fn without_recipient(&self, batch: Batch, recipient: &Recipient) -> Result<Batch, Error> {
        let key = row::recipient_key(recipient.as_str());
        let found = self.rows.record::<RecoveryRecipient>(&key).await?;
        let (_, revision) = found.ok_or(Error::Absent("recovery recipient"))?;
        if self.recovery_recipients().await?.len() == 1 {
            return Err(Error::State("this is the last recovery recipient, without which there is no backup: enrol another first"));
        }
        Ok(batch.expecting(key.clone(), revision).delete(key))
    }

    /// Lists them, by name.
    ///
    /// # Errors
    /// [`Error::Integrity`]; the store's.
    pub async fn list_recovery_recipients(&self, permit: &Permit<()>) -> Result<Unreleased<Vec<RecipientInfo>>, Error> {
        let _ = permit;
        self.recovery_recipients().await.map(Unreleased::new)
    }

    pub(super) async fn recovery_recipients(&self) -> Result<Vec<RecipientInfo>, Error> {
        let rows = self.rows.records::<RecoveryRecipient>(&row::recipients_prefix()).await?;
        let mut all = rows.iter().map(|(_, stored, _)| RecipientInfo::try_from(stored)).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| (&a.name, &a.recipient).cmp(&(&b.name, &b.recipient)));
        Ok(all)
    }
}
