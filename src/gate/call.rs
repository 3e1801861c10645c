//! What comes to the gate: who calls which RPC, from where, and what they say of it.

use crate::api::Method;
use crate::identity::Peer;
use crate::model::{Text, limits};

/// What a caller may say of a call for nothing, in bytes.
const FREE_WORDS_BYTES: usize = 256;
/// What is worth a call beyond that, in bytes.
const PAID_WORDS_BYTES: usize = 512;

/// One call, before anything is decided. Who calls is what the connection proved; the rest is the caller's own word.
#[derive(Debug, Clone)]
pub struct Call {
    /// The RPC.
    pub method: Method,
    /// What the connection proved.
    pub peer: Peer,
    /// Why, in the caller's words.
    pub reason: Option<Text<{ limits::REASON_BYTES }>>,
    /// The caller's ticket.
    pub ticket: Option<Text<{ limits::REASON_BYTES }>>,
    /// The caller's id of the request.
    pub request_id: Option<Text<{ limits::REQUEST_ID_BYTES }>>,
    /// An id that the request has on its way, e.g. a proxy's; only for finding it again.
    pub correlation: Option<Text<{ limits::REQUEST_ID_BYTES }>>,
    /// More for the audit entry: names that are no secret's, e.g. of a role.
    pub detail: Vec<(&'static str, String)>,
}

impl Call {
    /// A call that says nothing of itself.
    #[must_use]
    pub const fn new(method: Method, peer: Peer) -> Self {
        Self { method, peer, reason: None, ticket: None, request_id: None, correlation: None, detail: Vec::new() }
    }

    /// The same with one more name for the audit entry.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.detail.push((key, value.to_string()));
        self
    }

    /// How many calls more its reason and ticket are worth: they stand in its entries, and the log's volume has an end.
    #[must_use]
    pub fn worth_of_words(&self) -> u32 {
        let bytes = [&self.reason, &self.ticket].into_iter().flatten().map(|text| text.as_str().len()).sum::<usize>();
        u32::try_from(bytes.saturating_sub(FREE_WORDS_BYTES).div_ceil(PAID_WORDS_BYTES)).unwrap_or(u32::MAX)
    }
}
