//! Changes as they happen, in place of asking again and again.

use std::time::Duration;

use serde::Serialize;
use tonic::Streaming;

use super::convert::as_text;
use super::{Client, ClientError, Method, SecretInfo, convert, retry};
use crate::api;
use crate::api::watch_secrets_response::Event;
use crate::model::SecretName;

/// Heartbeats that may stay away before a watch counts as dead.
const MISSED_HEARTBEATS: u32 = 3;
/// The longest interval of heartbeats that a server is believed.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3600);

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    prefix: String,
    after: u64,
    expiring_within: Option<Duration>,
}

/// What has happened to a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// It has a new value, and so a new version.
    Updated,
    /// Its labels or its expiry have changed.
    MetadataUpdated,
    /// It was disabled.
    Disabled,
    /// It was enabled again.
    Enabled,
    /// It was destroyed.
    Destroyed,
    /// It was restored.
    Restored,
    /// It was purged: nothing of it is left.
    Purged,
    /// Its value will soon expire.
    Expiring,
}

/// A change. Changes of one secret that follow each other quickly may come as the last of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretChange {
    /// What the last change was.
    pub kind: ChangeKind,
    /// The secret's name.
    #[serde(serialize_with = "as_text")]
    pub name: SecretName,
    /// Everything up to this revision was told.
    pub revision: u64,
    /// The secret as it is now; `None` if it was purged.
    pub secret: Option<SecretInfo>,
}

/// A watch under way. It makes its connection again when that breaks, as connections do when they are an hour old, and goes
/// on where it was.
pub struct SecretWatch {
    client: Client,
    asked: Watch,
    stream: Streaming<api::WatchSecretsResponse>,
    patience: Duration,
}

impl Watch {
    /// Below `namespace` or `namespace/path`, from now on.
    #[must_use]
    pub fn below(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), after: 0, expiring_within: None }
    }

    /// From that revision of an earlier watch on.
    #[must_use]
    pub fn after(self, revision: u64) -> Self {
        Self { after: revision, ..self }
    }

    /// How long before its expiry a value is told of, in whole seconds, at most 365 days: 7 days if nothing is said;
    /// zero for not at all.
    #[must_use]
    pub fn expiring_within(self, window: Duration) -> Self {
        Self { expiring_within: Some(window), ..self }
    }

    fn request(&self) -> api::WatchSecretsRequest {
        let seconds = |window: Duration| i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        let expiring_within = self.expiring_within.map(|window| prost_types::Duration { seconds: seconds(window), nanos: 0 });
        api::WatchSecretsRequest { prefix: self.prefix.clone(), after_revision: self.after, expiring_within }
    }
}

impl Client {
    /// Begins to watch. Who lists the secrets after this has returned, and then goes by the changes, misses none.
    ///
    /// # Errors
    /// Refused with `OutOfRange` where the changes after the given revision are not held any more: list again, and watch
    /// from now. See [`ClientError`].
    pub async fn watch_secrets(&self, watch: Watch) -> Result<SecretWatch, ClientError> {
        let mut asked = watch;
        let (stream, patience) = self.begin(&mut asked).await?;
        Ok(SecretWatch { client: self.clone(), asked, stream, patience })
    }

    async fn begin(&self, watch: &mut Watch) -> Result<(Streaming<api::WatchSecretsResponse>, Duration), ClientError> {
        let mut stream = self.stream(watch.request()).await?;
        let first = tokio::time::timeout(self.deadline, stream.message()).await;
        let first = first.map_err(|_| self.timed_out(Method::WatchSecrets))?;
        let first = first.map_err(|status| self.error(Method::WatchSecrets, &status))?;
        let Some(api::WatchSecretsResponse { revision, event: Some(Event::Started(started)) }) = first else {
            return Err(ClientError::Answer("a watch that does not begin with its start"));
        };
        watch.after = revision;
        let heartbeat = started.heartbeat_interval.and_then(|interval| Duration::try_from(interval).ok());
        let heartbeat = heartbeat.ok_or(ClientError::Answer("a watch without heartbeats"))?;
        Ok((stream, heartbeat.min(LONGEST_HEARTBEAT) * MISSED_HEARTBEATS))
    }
}

impl SecretWatch {
    /// Everything up to this revision was told: [`Watch::after`] goes on from here.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.asked.after
    }

    /// The next change; waits until there is one. Where the connection breaks, or the server ends and comes back, it goes on
    /// by itself, as often as the client's retries allow in a row; what will soon expire is then told once more. To be
    /// called again after an error only to hear the same.
    ///
    /// # Errors
    /// Refused with `OutOfRange` where so much has changed that it is not held any more: list again, and watch from now.
    /// With `Unavailable` while the vault is sealed; with `ResourceExhausted` after reading too slowly; with `NotFound` or
    /// `PermissionDenied` when the caller may see nothing there any more.
    pub async fn next(&mut self) -> Result<SecretChange, ClientError> {
        let mut retried = 0;
        loop {
            let error = match self.message().await {
                Ok(message) => {
                    retried = 0;
                    self.asked.after = message.revision;
                    match message.event {
                        Some(Event::Change(change)) => return told(change, message.revision),
                        // A later server may have more to say.
                        Some(Event::Started(_) | Event::Heartbeat(_)) | None => continue,
                    }
                }
                Err(error) => error,
            };
            self.begin_again(error, &mut retried).await?;
        }
    }

    async fn message(&mut self) -> Result<api::WatchSecretsResponse, ClientError> {
        let broken = |problem: &str| ClientError::Unreachable { address: self.client.address.to_string(), problem: problem.to_owned() };
        match tokio::time::timeout(self.patience, self.stream.message()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(broken("the watch ended without a word")),
            Ok(Err(status)) => Err(self.client.error(Method::WatchSecrets, &status)),
            Err(_) => Err(broken("the watch gave no sign of life")),
        }
    }

    /// After an error that passes; any other ends it.
    async fn begin_again(&mut self, mut error: ClientError, retried: &mut u32) -> Result<(), ClientError> {
        loop {
            if !error.is_passing() {
                return Err(error);
            }
            let random = u32::from_be_bytes(retry::random()?);
            let Some(pause) = retry::pause(*retried, self.client.retries, error.retry_after(), Duration::MAX, random) else {
                return Err(error);
            };
            *retried += 1;
            tokio::time::sleep(pause).await;
            match self.client.begin(&mut self.asked).await {
                Ok((stream, patience)) => {
                    (self.stream, self.patience) = (stream, patience);
                    return Ok(());
                }
                Err(again) => error = again,
            }
        }
    }
}

impl ChangeKind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::MetadataUpdated => "metadata_updated",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Destroyed => "destroyed",
            Self::Restored => "restored",
            Self::Purged => "purged",
            Self::Expiring => "expiring",
        }
    }
}

fn told(wire: api::SecretChange, revision: u64) -> Result<SecretChange, ClientError> {
    let kind = match wire.kind() {
        api::SecretChangeKind::Created => ChangeKind::Created,
        api::SecretChangeKind::Updated => ChangeKind::Updated,
        api::SecretChangeKind::MetadataUpdated => ChangeKind::MetadataUpdated,
        api::SecretChangeKind::Disabled => ChangeKind::Disabled,
        api::SecretChangeKind::Enabled => ChangeKind::Enabled,
        api::SecretChangeKind::Destroyed => ChangeKind::Destroyed,
        api::SecretChangeKind::Restored => ChangeKind::Restored,
        api::SecretChangeKind::Purged => ChangeKind::Purged,
        api::SecretChangeKind::Expiring => ChangeKind::Expiring,
        api::SecretChangeKind::Unspecified => return Err(ClientError::Answer("an unknown kind of change")),
    };
    let name = convert::parsed(&wire.name, "a secret's name")?;
    Ok(SecretChange { kind, name, revision, secret: wire.secret.map(SecretInfo::try_from).transpose()? })
}
