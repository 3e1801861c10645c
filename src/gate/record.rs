//! The entries that the gate writes, and what it counts instead.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::api::Method;
use crate::audit::{Decision, Draft, Entry, Event, Importance, Resource, TallyKey};
use crate::identity::Peer;
use crate::model::Action;

use super::{Call, Failure, Unreleased};

/// What all entries of one call have in common.
#[derive(Clone)]
pub(super) struct Record {
    draft: Draft,
}

impl Record {
    /// A call that a rule allows.
    pub(super) fn new(call: &Call, resource: Resource, action: Action, rule: Arc<str>) -> Self {
        let mut record = Self::unruled(call, resource, action);
        record.draft.decision = Some(Decision::Allow);
        record.draft.rule = Some(rule);
        record
    }

    /// A call that no rule allows.
    pub(super) fn unruled(call: &Call, resource: Resource, action: Action) -> Self {
        let mut draft = of_call(call);
        draft.action = Some(action);
        draft.resource = Some(resource);
        Self { draft }
    }

    /// What the vault does by itself.
    pub(super) fn own(work: &'static str, resource: Resource, action: Action) -> Self {
        let mut draft = Draft::new(Event::System, work);
        draft.action = Some(action);
        draft.resource = Some(resource);
        draft.rule = Some("the vault's own work".into());
        Self { draft }
    }

    /// A call that could not be understood.
    pub(super) fn invalid(call: &Call, field: &str) -> Draft {
        let mut draft = of_call(call).with("field", field);
        draft.outcome = Some("invalid_argument");
        refused(draft)
    }

    pub(super) fn denied(mut self, word: &'static str) -> Draft {
        self.draft.outcome = Some(word);
        refused(self.draft)
    }

    pub(super) fn read<T, E: Failure>(self, answer: &Result<Unreleased<T>, E>) -> Draft {
        let mut draft = self.draft;
        draft.event = Event::Read;
        with_answer(draft, answer)
    }

    pub(super) fn intent(&self) -> Draft {
        let mut draft = self.draft.clone();
        draft.event = Event::Intent;
        draft
    }

    /// The end of a watch whose begin has the number `begun`: what it told, and why no more.
    pub(super) fn ended(self, begun: u64, told: u64, why: &'static str) -> Draft {
        let mut draft = self.draft.with("events", told);
        draft.event = Event::Outcome;
        draft.importance = Importance::Always;
        draft.intent = Some(begun);
        draft.outcome = Some(why);
        draft
    }

    /// The end of a stream whose intent has the number `intent`.
    pub(super) fn streamed(self, intent: u64, outcome: &'static str, detail: &[(&'static str, String)]) -> Draft {
        let mut draft = detail.iter().fold(self.draft, |draft, (key, value)| draft.with(key, value));
        draft.event = Event::Outcome;
        draft.importance = Importance::Always;
        draft.intent = Some(intent);
        draft.outcome = Some(outcome);
        draft
    }

    pub(super) fn outcome<T, E: Failure>(self, answer: &Result<Unreleased<T>, E>, intent: Option<u64>) -> Draft {
        let mut draft = self.draft;
        draft.event = Event::Outcome;
        draft.importance = Importance::Always;
        draft.intent = intent;
        with_answer(draft, answer)
    }
}

fn of_call(call: &Call) -> Draft {
    let mut draft = Draft::new(Event::Denied, call.method.name()).by(&call.peer.principal);
    draft.certificate = Some(call.peer.serial.to_string());
    draft.peer = Some(call.peer.address);
    draft.tls_group = Some(call.peer.tls_group);
    draft.reason.clone_from(&call.reason);
    draft.ticket.clone_from(&call.ticket);
    draft.request_id.clone_from(&call.request_id);
    if !super::needs(call.method).must_be_on_record {
        draft.importance = Importance::Always;
    }
    let draft = match &call.correlation {
        Some(id) => draft.with("x_request_id", id),
        None => draft,
    };
    call.detail.iter().fold(draft, |draft, (key, value)| draft.with(key, value))
}

fn refused(mut draft: Draft) -> Draft {
    draft.event = Event::Denied;
    draft.decision = Some(Decision::Deny);
    draft.importance = Importance::Always;
    draft
}

fn with_answer<T, E: Failure>(mut draft: Draft, answer: &Result<Unreleased<T>, E>) -> Draft {
    match answer {
        Ok(unreleased) => {
            draft.outcome = Some("ok");
            draft.version = unreleased.version;
            unreleased.detail.iter().fold(draft, |draft, (key, value)| draft.with(key, value))
        }
        Err(error) => {
            draft.outcome = Some(error.word());
            error.detail().into_iter().fold(draft, |draft, (key, value)| draft.with(key, value))
        }
    }
}

/// A call that was refused before it was read.
pub(super) fn unread(peer: &Peer, method: Option<Method>, why: &'static str) -> Draft {
    let mut draft = Draft::new(Event::Denied, method.map_or("other", Method::name)).by(&peer.principal);
    draft.certificate = Some(peer.serial.to_string());
    draft.peer = Some(peer.address);
    draft.tls_group = Some(peer.tls_group);
    draft.outcome = Some(why);
    refused(draft)
}

/// How a change ended that a crash had left in doubt.
pub(super) fn settled(intent: &Entry, outcome: &'static str) -> Draft {
    let mut draft = Draft::new(Event::Outcome, "settle").with("settled", &intent.method);
    draft.intent = Some(intent.sequence);
    draft.outcome = Some(outcome);
    draft.rule = Some("found in the store after a restart".into());
    draft
}

/// A connection that never became a principal's.
pub(super) fn stranger(address: SocketAddr, why: &'static str) -> Draft {
    let mut draft = Draft::new(Event::Denied, "handshake").with("why", why);
    draft.peer = Some(address);
    draft.decision = Some(Decision::Deny);
    draft.outcome = Some("unauthenticated");
    // The reserve is for those who have proved who they are.
    draft.importance = Importance::Ordinary;
    draft
}

pub(super) fn stranger_key(address: SocketAddr, why: &'static str) -> TallyKey {
    TallyKey::stranger(address.ip(), why)
}

pub(super) fn caller_key(call: &Call) -> TallyKey {
    TallyKey::denied(&call.peer.principal.id, call.method.name())
}
