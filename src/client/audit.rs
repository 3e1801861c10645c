//! The record of every call.

use std::collections::BTreeMap;

use serde::Serialize;

use super::convert::{self, as_text};
use super::{Client, ClientError, Listed, Page};
use crate::api;
use crate::model::Timestamp;

macro_rules! entry {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)+) => {
        /// One line of the audit log. Fields that do not apply are empty or 0.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        pub struct AuditEntry {
            /// When it was written.
            #[serde(serialize_with = "as_text")]
            pub time: Timestamp,
            $($(#[$doc])* pub $field: $kind,)+
            /// More, e.g. the policy's generation and hash.
            pub detail: BTreeMap<String, String>,
        }

        impl TryFrom<api::AuditEntry> for AuditEntry {
            type Error = ClientError;

            fn try_from(wire: api::AuditEntry) -> Result<Self, ClientError> {
                Ok(Self { time: convert::required_time(wire.time)?, $($field: wire.$field,)+ detail: wire.detail.into_iter().collect() })
            }
        }
    };
}

entry! {
    /// Its number, from 1, without gaps.
    sequence: u64,
    /// The node that wrote it.
    node: String,
    /// `read`, `intent`, `outcome`, `denied`, `summary` or `system`.
    event: String,
    /// The RPC.
    method: String,
    /// Who called: a SPIFFE ID.
    principal: String,
    /// `workload` or `operator`.
    class: String,
    /// The serial number of the caller's certificate, in hex.
    certificate: String,
    /// Where the call came from: address and port.
    peer: String,
    /// The key exchange of the connection.
    tls_group: String,
    /// The action that it needed.
    action: String,
    /// What it concerned: a secret's name, a namespace, or `vault`.
    resource: String,
    /// `allow` or `deny`.
    decision: String,
    /// The rule that decided.
    rule: String,
    /// The reason that the caller gave.
    reason: String,
    /// The ticket that the caller gave.
    ticket: String,
    /// The request id that the caller gave.
    request_id: String,
    /// For an outcome: the number of its intent.
    intent: u64,
    /// `ok`, or the code of the error.
    outcome: String,
    /// The version of the secret or key that it concerned.
    version: u64,
}

/// Which entries to list. What is empty or absent does not narrow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Those written at this time or later.
    pub start_time: Option<Timestamp>,
    /// Those written before this time.
    pub end_time: Option<Timestamp>,
    /// Those of this caller.
    pub principal: String,
    /// Those of this action, e.g. `reveal`.
    pub action: String,
    /// Those about this namespace, or about secrets whose name begins with these whole segments.
    pub resource_prefix: String,
    /// Those of this RPC, e.g. `RevealSecret`.
    pub method: String,
    /// `allow` or `deny`.
    pub decision: String,
    /// Those with this outcome.
    pub outcome: String,
    /// Those with this event, e.g. `denied`.
    pub event: String,
    /// Whether the oldest come first.
    pub oldest_first: bool,
}

impl Client {
    /// One page of entries. The call is itself on the record.
    ///
    /// # Errors
    /// Refused where the caller lacks `audit`; see [`ClientError`].
    pub async fn list_audit_entries(&self, filter: &AuditFilter, page: Page) -> Result<Listed<AuditEntry>, ClientError> {
        let filter = filter.clone();
        let request = api::ListAuditEntriesRequest {
            start_time: filter.start_time.map(convert::wire_time),
            end_time: filter.end_time.map(convert::wire_time),
            principal: filter.principal,
            action: filter.action,
            resource_prefix: filter.resource_prefix,
            method: filter.method,
            decision: filter.decision,
            outcome: filter.outcome,
            event: filter.event,
            oldest_first: filter.oldest_first,
            page_size: page.size,
            page_token: page.token,
        };
        let answer = self.call(request).await?;
        Listed::of(answer.entries, answer.next_page_token, AuditEntry::try_from)
    }
}
