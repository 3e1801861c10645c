//! Answers in the words of the wire.

use std::time::Duration;

use prost_types::{Duration as WireDuration, Timestamp as WireTimestamp};

use crate::access::{self, Scope};
use crate::crypto::KeyState;
use crate::model::{Action, Environment, SecretKind, Timestamp};
use crate::vault::{
    ALGORITHM, BackupInfo, BindingInfo, KeyInfo, NamespaceInfo, RecipientInfo, RewrapInfo, RewrapStatus, RoleInfo, SecretInfo, ShownState,
    TokenDetails, VersionInfo,
};
use crate::{api, audit};

pub(super) fn time(time: Timestamp) -> WireTimestamp {
    let milliseconds = time.unix_ms();
    let seconds = i64::try_from(milliseconds / 1_000).expect("before the year 10000");
    let nanos = i32::try_from(milliseconds % 1_000 * 1_000_000).expect("below a second");
    WireTimestamp { seconds, nanos }
}

pub(super) fn secret(info: SecretInfo) -> api::Secret {
    let kind = match info.kind {
        SecretKind::Opaque => api::SecretKind::Opaque,
        SecretKind::AccessToken => api::SecretKind::AccessToken,
    };
    let state = match info.state {
        ShownState::Enabled => api::SecretState::Enabled,
        ShownState::Disabled => api::SecretState::Disabled,
        ShownState::Destroyed => api::SecretState::Destroyed,
    };
    api::Secret {
        name: info.name.to_string(),
        secret_id: info.id.to_string(),
        kind: kind.into(),
        state: state.into(),
        version: info.version,
        revision: info.revision,
        create_time: Some(time(info.created)),
        update_time: Some(time(info.updated)),
        updated_by: info.updated_by,
        expire_time: info.expires.map(time),
        expired: info.expired,
        purge_time: info.purge.map(time),
        labels: info.labels,
        access_token: info.token.as_ref().map(token_details),
        kek_version: info.kek_version,
    }
}

fn token_details(token: &TokenDetails) -> api::AccessTokenDetails {
    api::AccessTokenDetails {
        provider: token.provider.to_string(),
        subject: token.subject.to_string(),
        scopes: token.scopes.iter().map(ToString::to_string).collect(),
        token_type: token.token_type.as_ref().map_or_else(String::new, ToString::to_string),
    }
}

pub(super) fn version(info: VersionInfo) -> api::SecretVersion {
    api::SecretVersion {
        version: info.version,
        latest: info.latest,
        create_time: Some(time(info.created)),
        created_by: info.created_by,
        expire_time: info.expires.map(time),
        kek_version: info.kek_version,
    }
}

pub(super) fn namespace(info: NamespaceInfo) -> api::Namespace {
    let environment = match info.environment {
        Environment::Stage => api::Environment::Stage,
        Environment::Production => api::Environment::Production,
    };
    api::Namespace {
        name: info.name.to_string(),
        namespace_id: info.id.to_string(),
        environment: environment.into(),
        limits: Some(api::NamespaceLimits {
            payload_max_bytes: info.limits.payload_max_bytes,
            versions_kept: info.limits.versions_kept,
            recovery_window: Some(whole_seconds(info.limits.recovery_window)),
            require_post_quantum: info.limits.require_post_quantum,
            cryptoperiod: Some(whole_seconds(info.limits.cryptoperiod)),
            auto_rotate: info.limits.auto_rotate,
        }),
        create_time: Some(time(info.created)),
        created_by: info.created_by,
    }
}

pub(super) fn key(info: KeyInfo) -> api::Key {
    let state = match info.state {
        KeyState::Active => api::KeyState::Active,
        KeyState::DecryptOnly => api::KeyState::DecryptOnly,
        KeyState::Disabled => api::KeyState::Disabled,
        KeyState::Scheduled(_) => api::KeyState::Scheduled,
        KeyState::Destroyed => api::KeyState::Destroyed,
    };
    api::Key {
        namespace: info.namespace.to_string(),
        version: info.version,
        state: state.into(),
        algorithm: ALGORITHM.to_owned(),
        create_time: Some(time(info.created)),
        destroy_time: match info.state {
            KeyState::Scheduled(due) => Some(time(due)),
            KeyState::Active | KeyState::DecryptOnly | KeyState::Disabled | KeyState::Destroyed => None,
        },
        rows: info.rows.map(|(rows, _)| rows),
        rows_time: info.rows.map(|(_, counted)| time(counted)),
        rewrap_time: info.rewrapped.map(time),
        cryptoperiod: Some(whole_seconds(info.cryptoperiod)),
        over_age: info.over_age,
    }
}

fn whole_seconds(duration: Duration) -> WireDuration {
    WireDuration { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

pub(super) fn rewrap(info: RewrapInfo) -> api::Rewrap {
    let state = match info.status {
        RewrapStatus::Running => api::RewrapState::Running,
        RewrapStatus::Paused => api::RewrapState::Paused,
        RewrapStatus::Done => api::RewrapState::Done,
    };
    api::Rewrap {
        namespace: info.namespace.to_string(),
        target_version: info.target_version,
        reencrypt: info.reencrypt,
        rate_per_s: info.rate_per_s,
        state: state.into(),
        total: info.total,
        seen: info.seen,
        rewrapped: info.rewrapped,
        damaged: info.damaged,
        start_time: Some(time(info.started)),
        started_by: info.started_by,
        end_time: info.finished.map(time),
        rows_per_s: info.rows_per_s,
        time_left: info.time_left.map(whole_seconds),
    }
}

const fn action(action: Action) -> api::Action {
    match action {
        Action::Describe => api::Action::Describe,
        Action::Reveal => api::Action::Reveal,
        Action::Use => api::Action::Use,
        Action::Create => api::Action::Create,
        Action::Update => api::Action::Update,
        Action::Destroy => api::Action::Destroy,
        Action::Verify => api::Action::Verify,
        Action::Rotate => api::Action::Rotate,
        Action::Administer => api::Action::Administer,
        Action::Approve => api::Action::Approve,
        Action::Audit => api::Action::Audit,
        Action::Operate => api::Action::Operate,
    }
}

/// The action of a number on the wire.
pub(super) fn action_named(number: i32) -> Option<Action> {
    Action::ALL.iter().copied().find(|known| i32::from(action(*known)) == number)
}

pub(super) fn role(info: RoleInfo) -> api::Role {
    let grant = |grant: &access::Grant| api::Grant {
        actions: grant.actions.iter().map(|one| action(one).into()).collect(),
        path_pattern: grant.pattern.to_string(),
    };
    let (updated_by, update_time) = info.role.changed.map_or((String::new(), None), |(who, when)| (who.to_string(), Some(time(when))));
    api::Role {
        name: info.role.name.to_string(),
        description: info.role.description.as_ref().map_or_else(String::new, ToString::to_string),
        grants: info.role.grants.iter().map(grant).collect(),
        built_in: info.role.built_in,
        revision: info.revision,
        update_time,
        updated_by,
    }
}

pub(super) fn binding(info: BindingInfo) -> api::Binding {
    let namespace_id = match info.binding.scope {
        Scope::Vault => String::new(),
        Scope::Namespace(id) => id.to_string(),
    };
    api::Binding {
        binding_id: info.binding.id.to_string(),
        role: info.binding.role.to_string(),
        principal: info.binding.principal.to_string(),
        namespace: info.namespace.map_or_else(String::new, |name| name.to_string()),
        namespace_id,
        start_time: Some(time(info.binding.start)),
        end_time: info.binding.end.map(time),
        reason: info.binding.reason.as_ref().map_or_else(String::new, ToString::to_string),
        created_by: info.binding.created_by.to_string(),
        create_time: Some(time(info.binding.created)),
        revision: info.revision,
        suspended: info.binding.suspended.as_ref().map_or_else(String::new, ToString::to_string),
    }
}

pub(super) fn backup(info: BackupInfo) -> api::Backup {
    api::Backup {
        backup_id: hex::encode(info.id),
        create_time: Some(time(info.created)),
        expire_time: Some(time(info.expires)),
        created_by: info.created_by,
        policy_generation: info.policy_generation,
        revision: info.revision,
        recipients: info.recipients,
    }
}

pub(super) fn recovery_recipient(info: RecipientInfo) -> api::RecoveryRecipient {
    let enroll_time = Some(time(info.enrolled));
    api::RecoveryRecipient { name: info.name, recipient: info.recipient.to_string(), enrolled_by: info.enrolled_by, enroll_time }
}

pub(super) fn entry(entry: audit::Entry) -> api::AuditEntry {
    api::AuditEntry {
        time: Some(time(entry.time)),
        sequence: entry.sequence,
        node: entry.node,
        event: event_word(entry.event).to_owned(),
        method: entry.method,
        principal: entry.principal.unwrap_or_default(),
        class: entry.class.map_or_else(String::new, |class| class.word().to_owned()),
        certificate: entry.certificate.unwrap_or_default(),
        peer: entry.peer.unwrap_or_default(),
        tls_group: entry.tls_group.unwrap_or_default(),
        action: entry.action.map_or_else(String::new, |action| action.word().to_owned()),
        resource: entry.resource.unwrap_or_default(),
        decision: entry.decision.map_or_else(String::new, |decision| decision_word(decision).to_owned()),
        rule: entry.rule.unwrap_or_default(),
        reason: entry.reason.unwrap_or_default(),
        ticket: entry.ticket.unwrap_or_default(),
        request_id: entry.request_id.unwrap_or_default(),
        intent: entry.intent.unwrap_or_default(),
        outcome: entry.outcome.unwrap_or_default(),
        version: entry.version.unwrap_or_default(),
        detail: entry.detail,
    }
}

/// All events with their words.
pub(super) const EVENTS: [audit::Event; 6] =
    [audit::Event::Read, audit::Event::Intent, audit::Event::Outcome, audit::Event::Denied, audit::Event::Summary, audit::Event::System];

pub(super) const fn event_word(event: audit::Event) -> &'static str {
    match event {
        audit::Event::Read => "read",
        audit::Event::Intent => "intent",
        audit::Event::Outcome => "outcome",
        audit::Event::Denied => "denied",
        audit::Event::Summary => "summary",
        audit::Event::System => "system",
    }
}

pub(super) const fn decision_word(decision: audit::Decision) -> &'static str {
    match decision {
        audit::Decision::Allow => "allow",
        audit::Decision::Deny => "deny",
    }
}
