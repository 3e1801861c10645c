//! Backups: made while the vault serves, and encrypted to people whose keys it never has.

use std::time::Duration;

use serde::Serialize;
use tonic::Streaming;

use super::convert::{self, as_text};
use super::{Client, ClientError, Listed, Method, Page};
use crate::api;
use crate::api::create_backup_response::Event;
use crate::model::Timestamp;

/// A server that says nothing for so long counts as dead.
const PATIENCE: Duration = Duration::from_secs(120);

/// A backup under way.
pub struct BackupStream {
    client: Client,
    stream: Streaming<api::CreateBackupResponse>,
    expected_bytes: u64,
    done: Option<BackupSummary>,
}

/// A backup that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupSummary {
    /// Its id: 32 hex digits.
    pub backup_id: String,
    /// Rows that were read in it.
    pub rows: u64,
    /// Rows that changed while it was made.
    pub changes: u64,
    /// The store's revision at which its rows stood.
    pub revision: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// For how long nothing could be stored, in microseconds.
    pub pause_us: u64,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupInfo {
    /// Its id: 32 hex digits.
    pub backup_id: String,
    /// When it was begun.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// Until when it is to be kept.
    #[serde(serialize_with = "as_text")]
    pub expire_time: Timestamp,
    /// The SPIFFE ID of who made it.
    pub created_by: String,
    /// The policy's generation in it.
    pub policy_generation: u64,
    /// The store's revision at which its rows stood.
    pub revision: u64,
    /// Whom it was encrypted to.
    pub recipients: Vec<String>,
}

/// Whom backups are encrypted to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoveryRecipientInfo {
    /// Who keeps the identity, in words.
    pub name: String,
    /// The recipient: `age1…`.
    pub recipient: String,
    /// The SPIFFE ID of who enrolled it; empty if it was named when the vault was made.
    pub enrolled_by: String,
    /// When it was enrolled.
    #[serde(serialize_with = "as_text")]
    pub enroll_time: Timestamp,
}

impl Client {
    /// Begins a backup that is to be kept for so long: 90 days if nothing is said. Never sent twice by itself.
    ///
    /// # Errors
    /// Refused with `FailedPrecondition` where nobody is enrolled whom it could be encrypted to; see [`ClientError`].
    pub async fn create_backup(&self, keep: Option<Duration>, reason: &str) -> Result<BackupStream, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let seconds = |keep: Duration| i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
        let keep = keep.map(|keep| prost_types::Duration { seconds: seconds(keep), nanos: 0 });
        let stream = self.stream(api::CreateBackupRequest { keep, reason }).await?;
        let mut backup = BackupStream { client: self.clone(), stream, expected_bytes: 0, done: None };
        match backup.event().await? {
            Some(Event::Started(started)) => backup.expected_bytes = started.expected_bytes,
            _ => return Err(ClientError::Answer("a backup that does not begin with its start")),
        }
        Ok(backup)
    }

    /// One page of the backups that were made, the newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_backups(&self, page: Page) -> Result<Listed<BackupInfo>, ClientError> {
        let answer = self.call(api::ListBackupsRequest { page_size: page.size, page_token: page.token }).await?;
        Listed::of(answer.backups, answer.next_page_token, BackupInfo::try_from)
    }

    /// Whom backups are encrypted to, by name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_recovery_recipients(&self) -> Result<Vec<RecoveryRecipientInfo>, ClientError> {
        let answer = self.call(api::ListRecoveryRecipientsRequest {}).await?;
        answer.recipients.into_iter().map(RecoveryRecipientInfo::try_from).collect()
    }
}

impl BackupStream {
    /// Some bytes more or less than the file will have.
    #[must_use]
    pub const fn expected_bytes(&self) -> u64 {
        self.expected_bytes
    }

    /// The next bytes of the file; none once it is whole.
    ///
    /// # Errors
    /// The stream ended before its end: what came so far is no backup.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        if self.done.is_some() {
            return Ok(None);
        }
        match self.event().await? {
            Some(Event::Piece(piece)) => Ok(Some(piece)),
            Some(Event::Done(done)) => {
                self.done = Some(done.into());
                Ok(None)
            }
            Some(Event::Started(_)) | None => Err(ClientError::Answer("a backup that ends before its end")),
        }
    }

    /// What was made, once it is whole.
    #[must_use]
    pub const fn done(&self) -> Option<&BackupSummary> {
        self.done.as_ref()
    }

    async fn event(&mut self) -> Result<Option<Event>, ClientError> {
        let message = tokio::time::timeout(PATIENCE, self.stream.message()).await;
        let message = message.map_err(|_| self.client.timed_out(Method::CreateBackup))?;
        let message = message.map_err(|status| self.client.error(Method::CreateBackup, &status))?;
        Ok(message.and_then(|message| message.event))
    }
}

impl From<api::BackupDone> for BackupSummary {
    fn from(wire: api::BackupDone) -> Self {
        let pause = wire.pause.and_then(|pause| Duration::try_from(pause).ok()).unwrap_or_default();
        Self {
            backup_id: wire.backup_id,
            rows: wire.rows,
            changes: wire.changes,
            revision: wire.revision,
            bytes: wire.bytes,
            sha256: wire.sha256,
            pause_us: u64::try_from(pause.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<api::Backup> for BackupInfo {
    type Error = ClientError;

    fn try_from(wire: api::Backup) -> Result<Self, ClientError> {
        Ok(Self {
            backup_id: wire.backup_id,
            create_time: convert::required_time(wire.create_time)?,
            expire_time: convert::required_time(wire.expire_time)?,
            created_by: wire.created_by,
            policy_generation: wire.policy_generation,
            revision: wire.revision,
            recipients: wire.recipients,
        })
    }
}

impl TryFrom<api::RecoveryRecipient> for RecoveryRecipientInfo {
    type Error = ClientError;

    fn try_from(wire: api::RecoveryRecipient) -> Result<Self, ClientError> {
        let enroll_time = convert::required_time(wire.enroll_time)?;
        Ok(Self { name: wire.name, recipient: wire.recipient, enrolled_by: wire.enrolled_by, enroll_time })
    }
}
