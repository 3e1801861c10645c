//! Evidence: a permit goes into an operation, an unreleased answer comes out. Neither can be made or opened elsewhere.

use crate::identity::Peer;
use crate::model::{Action, Principal, Text, Timestamp, limits};

use super::Call;

/// The proof that this principal may do this action there, now. Only the gate makes one; an operation consumes it and
/// takes no second path.
#[derive(Debug)]
pub struct Permit<G> {
    peer: Option<Peer>,
    action: Action,
    now: Timestamp,
    intent: Option<u64>,
    request_id: Option<Text<{ limits::REQUEST_ID_BYTES }>>,
    granted: G,
}

/// What an operation has to say. Its answer stays shut until the gate has recorded it.
#[must_use]
pub struct Unreleased<T> {
    answer: T,
    pub(super) version: Option<u64>,
    pub(super) detail: Vec<(&'static str, String)>,
}

impl<G> Permit<G> {
    pub(super) fn new(call: &Call, action: Action, now: Timestamp, granted: G) -> Self {
        Self { peer: Some(call.peer.clone()), action, now, intent: None, request_id: call.request_id.clone(), granted }
    }

    pub(super) const fn own(action: Action, now: Timestamp, granted: G) -> Self {
        Self { peer: None, action, now, intent: None, request_id: None, granted }
    }

    pub(super) fn with_intent(mut self, intent: Option<u64>) -> Self {
        self.intent = intent;
        self
    }

    /// Who it was made for; none for what the vault does by itself.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.peer.as_ref().map(|peer| peer.principal.as_ref())
    }

    /// The action.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The time at which it was decided: the operation's present.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The sequence number of a change's intent in the audit log; 0 for a read, or where the log could not take it.
    #[must_use]
    pub fn intent(&self) -> u64 {
        self.intent.unwrap_or(0)
    }

    /// The caller's id of the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().map(Text::as_str)
    }

    /// What it was made for.
    #[must_use]
    pub const fn granted(&self) -> &G {
        &self.granted
    }
}

impl<T> Unreleased<T> {
    /// An answer.
    pub const fn new(answer: T) -> Self {
        Self { answer, version: None, detail: Vec::new() }
    }

    /// The same, with the version that the audit entry is to name.
    pub fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// The same, with more for the audit entry: never a value or anything derived from one.
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.detail.push((key, value.to_string()));
        self
    }

    /// The same with another answer made of this one, still shut.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Unreleased<U> {
        Unreleased { answer: change(self.answer), version: self.version, detail: self.detail }
    }

    pub(super) fn release(self) -> T {
        self.answer
    }
}
