//! Rewraps: every data key of a namespace under its active key version, in the background.

use std::time::Duration;

use serde::{Serialize, Serializer};
use tonic::Streaming;

use super::convert::{self, as_text, as_text_or_null};
use super::{Client, ClientError, Listed, Method, Page};
use crate::api;
use crate::model::{NamespaceName, Timestamp};

/// How long a watch may say nothing: servers speak up every minute at the latest, unless they are configured otherwise.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a rewrap is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RewrapOrder {
    /// Whether payloads are encrypted anew, too, under new data keys.
    pub reencrypt: bool,
    /// Rows a second, at most 1,000,000; 0 for 20,000.
    pub rate_per_s: u32,
}

/// How far a rewrap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RewrapState {
    /// It goes on, whenever the vault is open and the store takes writes.
    Running,
    /// It waits until it is resumed.
    Paused,
    /// Every row was looked at.
    Done,
}

/// The newest rewrap of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RewrapInfo {
    /// The namespace.
    #[serde(serialize_with = "as_text")]
    pub namespace: NamespaceName,
    /// The key version that all rows are put under.
    pub target_version: u32,
    /// Whether payloads are encrypted anew.
    pub reencrypt: bool,
    /// Rows a second, at most.
    pub rate_per_s: u32,
    /// How far it is.
    pub state: RewrapState,
    /// Rows that there were when it began; 0 while they are counted.
    pub total: u64,
    /// Rows that it has looked at.
    pub seen: u64,
    /// Rows that it has put under the target.
    pub rewrapped: u64,
    /// Rows that could not be opened: the server's log says which.
    pub damaged: u64,
    /// When it was ordered.
    #[serde(serialize_with = "as_text")]
    pub start_time: Timestamp,
    /// Who ordered it.
    pub started_by: String,
    /// When it ended.
    #[serde(serialize_with = "as_text_or_null")]
    pub end_time: Option<Timestamp>,
    /// Rows a second, lately.
    pub rows_per_s: u32,
    /// How long it will take at this pace, where that can be told. In JSON: `time_left_s`.
    #[serde(rename = "time_left_s", serialize_with = "as_seconds")]
    pub time_left: Option<Duration>,
}

/// A rewrap that is watched.
pub struct RewrapWatch {
    client: Client,
    stream: Streaming<api::WatchRewrapResponse>,
}

impl RewrapState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
        }
    }
}

impl Client {
    /// Puts every data key of a namespace under its active key version. Safe to repeat: one that is under way goes on. Never
    /// sent twice by itself.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start_rewrap(&self, namespace: &NamespaceName, order: RewrapOrder, reason: &str) -> Result<RewrapInfo, ClientError> {
        let (namespace, reason) = (namespace.to_string(), convert::remark("reason", reason.to_owned())?);
        let RewrapOrder { reencrypt, rate_per_s } = order;
        let answer = self.call(api::StartRewrapRequest { namespace, reencrypt, rate_per_s, reason }).await?;
        convert::required(answer.rewrap, "no rewrap")?.try_into()
    }

    /// Has a rewrap wait until it is resumed. One that has ended is returned as it is.
    ///
    /// # Errors
    /// Refused with `NotFound` where there was none; see [`ClientError`].
    pub async fn pause_rewrap(&self, namespace: &NamespaceName, reason: &str) -> Result<RewrapInfo, ClientError> {
        let (namespace, reason) = (namespace.to_string(), convert::remark("reason", reason.to_owned())?);
        let answer = self.call(api::PauseRewrapRequest { namespace, reason }).await?;
        convert::required(answer.rewrap, "no rewrap")?.try_into()
    }

    /// Has a paused rewrap go on where it was, at another rate if one is given. One that has ended is returned as it is.
    ///
    /// # Errors
    /// Refused with `NotFound` where there was none; see [`ClientError`].
    pub async fn resume_rewrap(&self, namespace: &NamespaceName, rate_per_s: Option<u32>, reason: &str) -> Result<RewrapInfo, ClientError> {
        let (namespace, reason) = (namespace.to_string(), convert::remark("reason", reason.to_owned())?);
        let answer = self.call(api::ResumeRewrapRequest { namespace, rate_per_s: rate_per_s.unwrap_or_default(), reason }).await?;
        convert::required(answer.rewrap, "no rewrap")?.try_into()
    }

    /// One page of the newest rewraps of a namespace, or of every namespace that the caller may rotate.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_rewraps(&self, namespace: Option<&NamespaceName>, page: Page) -> Result<Listed<RewrapInfo>, ClientError> {
        let namespace = namespace.map(ToString::to_string).unwrap_or_default();
        let answer = self.call(api::ListRewrapsRequest { namespace, page_size: page.size, page_token: page.token }).await?;
        Listed::of(answer.rewraps, answer.next_page_token, RewrapInfo::try_from)
    }

    /// Begins to watch a namespace's rewrap.
    ///
    /// # Errors
    /// Refused with `NotFound` where there was none; see [`ClientError`].
    pub async fn watch_rewrap(&self, namespace: &NamespaceName) -> Result<RewrapWatch, ClientError> {
        let stream = self.stream(api::WatchRewrapRequest { namespace: namespace.to_string() }).await?;
        Ok(RewrapWatch { client: self.clone(), stream })
    }
}

impl RewrapWatch {
    /// How far it is: at once, then about once a second. `None` after the rewrap has ended.
    ///
    /// # Errors
    /// The connection broke, the vault was sealed, or the caller may not know any more: begin again. See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<RewrapInfo>, ClientError> {
        let message = tokio::time::timeout(PATIENCE, self.stream.message()).await;
        let message = message.map_err(|_| self.client.timed_out(Method::WatchRewrap))?;
        let message = message.map_err(|status| self.client.error(Method::WatchRewrap, &status))?;
        message.map(|message| convert::required(message.rewrap, "no rewrap")?.try_into()).transpose()
    }
}

impl TryFrom<api::Rewrap> for RewrapInfo {
    type Error = ClientError;

    fn try_from(wire: api::Rewrap) -> Result<Self, ClientError> {
        let state = match wire.state() {
            api::RewrapState::Running => RewrapState::Running,
            api::RewrapState::Paused => RewrapState::Paused,
            api::RewrapState::Done => RewrapState::Done,
            api::RewrapState::Unspecified => return Err(ClientError::Answer("an unknown state of a rewrap")),
        };
        Ok(Self {
            namespace: convert::parsed(&wire.namespace, "a namespace's name")?,
            target_version: wire.target_version,
            reencrypt: wire.reencrypt,
            rate_per_s: wire.rate_per_s,
            state,
            total: wire.total,
            seen: wire.seen,
            rewrapped: wire.rewrapped,
            damaged: wire.damaged,
            start_time: convert::required_time(wire.start_time)?,
            started_by: wire.started_by,
            end_time: convert::time(wire.end_time)?,
            rows_per_s: wire.rows_per_s,
            time_left: wire.time_left.and_then(|left| Duration::try_from(left).ok()),
        })
    }
}

fn as_seconds<S: Serializer>(left: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    left.map(|left| left.as_secs()).serialize(serializer)
}
