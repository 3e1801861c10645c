//! What rows hold when they are open: the messages of `proto/strongroom/store/v1`, and how they turn into words.

use std::time::Duration;

use crate::access;
use crate::model::{ActionSet, BindingId, Environment, NamespaceId, SecretKind, SpiffeId, Text, Timestamp, limits};

use super::Error;

#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated; the protos' comments are carried over")]
mod generated {
    tonic::include_proto!("strongroom.store.v1");
}

pub(super) use generated::{
    Backup, Binding, EnrolledRecipient, Grant, HeldKeys, KeyStatement, KeyringRow, Kind, Namespace, NewPassphraseSlot, NewQuorumSlot,
    NewTokenSlot, PolicyHead, Proposal, ProposalEnd, ProposedChange, PurgeJob, RecoveryRecipient, RewrapJob, RewrapState, Role,
    RootKeyReplacement, SecretMeta, SlotProof, State, TokenDetails, Vote, proposed_change,
};

/// A time of a row; 0 is none.
pub(super) fn optional_time(milliseconds: u64) -> Result<Option<Timestamp>, Error> {
    if milliseconds == 0 { Ok(None) } else { time(milliseconds).map(Some) }
}

/// A time of a row.
pub(super) fn time(milliseconds: u64) -> Result<Timestamp, Error> {
    Timestamp::from_unix_ms(milliseconds).map_err(|_| Error::Integrity("a time of a row"))
}

/// Who a row says did something.
pub(super) fn principal(text: &str) -> Result<SpiffeId, Error> {
    text.parse().map_err(damaged)
}

fn damaged<E>(_: E) -> Error {
    Error::Integrity("a row's record")
}

fn id_bytes(bytes: &[u8]) -> Result<[u8; 16], Error> {
    bytes.try_into().map_err(damaged)
}

impl SecretMeta {
    /// The kind in words of the model.
    pub(super) fn secret_kind(&self) -> Result<SecretKind, Error> {
        match self.kind() {
            Kind::Opaque => Ok(SecretKind::Opaque),
            Kind::AccessToken => Ok(SecretKind::AccessToken),
            Kind::Unspecified => Err(Error::Integrity("a secret's kind")),
        }
    }

    /// When this version stops being revealed.
    pub(super) fn expires(&self) -> Result<Option<Timestamp>, Error> {
        optional_time(self.expires_ms)
    }

    /// Whether that time has come.
    pub(super) const fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_ms != 0 && self.expires_ms <= now.unix_ms()
    }
}

impl RewrapJob {
    /// Whose it is.
    pub(super) fn namespace(&self) -> Result<NamespaceId, Error> {
        id_bytes(&self.namespace_id).map(NamespaceId::from_bytes)
    }
}

impl Namespace {
    pub(super) fn namespace_id(&self) -> Result<NamespaceId, Error> {
        id_bytes(&self.id).map(NamespaceId::from_bytes)
    }

    pub(super) const fn environment(&self) -> Environment {
        if self.production { Environment::Production } else { Environment::Stage }
    }

    pub(super) const fn recovery_window(&self) -> Duration {
        Duration::from_millis(self.recovery_window_ms)
    }

    /// A namespace that was made before there was such a limit has the default.
    pub(super) const fn cryptoperiod(&self) -> Duration {
        match self.cryptoperiod_ms {
            0 => Duration::from_secs(limits::DEFAULT_CRYPTOPERIOD_S),
            milliseconds => Duration::from_millis(milliseconds),
        }
    }
}

impl TryFrom<&Role> for access::Role {
    type Error = Error;

    fn try_from(role: &Role) -> Result<Self, Error> {
        let grant = |grant: &Grant| -> Result<access::Grant, Error> {
            let bits = u16::try_from(grant.action_bits).map_err(damaged)?;
            let actions = ActionSet::from_bits(bits).map_err(damaged)?;
            Ok(access::Grant { actions, pattern: grant.path_pattern.parse().map_err(damaged)? })
        };
        Ok(Self {
            name: role.name.parse().map_err(damaged)?,
            description: Text::parse_optional(&role.description).map_err(damaged)?,
            grants: role.grants.iter().map(grant).collect::<Result<_, _>>()?,
            built_in: false,
            changed: Some((role.changed_by.parse().map_err(damaged)?, time(role.changed_ms)?)),
        })
    }
}

impl Role {
    pub(super) fn of(role: &access::Role, method: &str, request_id: Option<&str>) -> Self {
        let grant = |grant: &access::Grant| Grant { action_bits: grant.actions.bits().into(), path_pattern: grant.pattern.to_string() };
        Self {
            name: role.name.to_string(),
            description: text(role.description.as_ref()),
            grants: role.grants.iter().map(grant).collect(),
            changed_ms: role.changed.as_ref().map_or(0, |(_, time)| time.unix_ms()),
            changed_by: role.changed.as_ref().map_or_else(String::new, |(who, _)| who.to_string()),
            request_id: request_id.unwrap_or_default().to_owned(),
            method: method.to_owned(),
        }
    }
}

impl TryFrom<&Binding> for access::Binding {
    type Error = Error;

    fn try_from(binding: &Binding) -> Result<Self, Error> {
        let scope = match binding.namespace_id.as_slice() {
            [] => access::Scope::Vault,
            id => access::Scope::Namespace(NamespaceId::from_bytes(id_bytes(id)?)),
        };
        Ok(Self {
            id: BindingId::from_bytes(id_bytes(&binding.id)?),
            role: binding.role.parse().map_err(damaged)?,
            principal: binding.principal.parse().map_err(damaged)?,
            scope,
            start: time(binding.start_ms)?,
            end: optional_time(binding.end_ms)?,
            reason: Text::parse_optional(&binding.reason).map_err(damaged)?,
            created_by: binding.created_by.parse().map_err(damaged)?,
            created: time(binding.created_ms)?,
            suspended: Text::parse_optional(&binding.suspended).map_err(damaged)?,
        })
    }
}

impl Binding {
    pub(super) fn of(binding: &access::Binding, request_id: Option<&str>) -> Self {
        Self {
            id: binding.id.as_bytes().to_vec(),
            role: binding.role.to_string(),
            principal: binding.principal.to_string(),
            namespace_id: match binding.scope {
                access::Scope::Vault => Vec::new(),
                access::Scope::Namespace(id) => id.as_bytes().to_vec(),
            },
            start_ms: binding.start.unix_ms(),
            end_ms: binding.end.map_or(0, Timestamp::unix_ms),
            reason: text(binding.reason.as_ref()),
            created_by: binding.created_by.to_string(),
            created_ms: binding.created.unix_ms(),
            request_id: request_id.unwrap_or_default().to_owned(),
            suspended: text(binding.suspended.as_ref()),
        }
    }
}

fn text(text: Option<&Text<{ limits::REASON_BYTES }>>) -> String {
    text.map_or_else(String::new, ToString::to_string)
}
