//! The parts, put together in the order in which they need each other.

use std::sync::Arc;

use super::ServerError;
use crate::access::CurrentPolicy;
use crate::audit::{AuditError, AuditLog, AuditOptions, Draft, Entry, Event, Importance, Reader, Recovered};
use crate::config::{self, Config};
use crate::crypto::SystemRandom;
use crate::gate::Gate;
use crate::identity::{HighestLists, LiveTls};
use crate::model::{Clock, FlooredClock, SystemClock};
use crate::seal::TokenKey;
use crate::storage::{Condition, Mode, SledOptions, SledStore, Store};
use crate::vault::{History, Pins, Tokens, Vault};

/// The detail that says how often the policy has changed.
const POLICY_GENERATION: &str = "policy_generation";
/// The entry that says what is in force, and its detail with the highest numbers of revocation lists.
const IN_FORCE: &str = "in_force";
const REVOCATION_LISTS: &str = "revocation_lists";

/// What a server works with.
pub(super) struct Parts {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Arc<Vault>,
    pub(super) gate: Arc<Gate>,
    /// Which revocation lists were in force before this start.
    pub(super) highest_lists: HighestLists,
}

impl Parts {
    pub(super) async fn open(config: &Config) -> Result<Self, ServerError> {
        let pins = config.pins()?;
        let clock = Arc::new(FlooredClock::new(SystemClock));
        let store = open_store(config, Mode::OpenExisting)?;
        let (audit, recovered) = open_audit(config, clock.clone())?;
        if let Some(last) = recovered.last_time {
            clock.raise_floor(last);
        }
        let (history, highest_lists) = history(config, recovered)?;
        let policy = Arc::new(CurrentPolicy::default());
        let pins = Pins { vault_id: pins.vault_id, audit_public_key: pins.audit_public_key };
        let random = Arc::new(SystemRandom::new());
        let token = |hsm: &config::Hsm| (hsm.name.clone(), Arc::new(hsm.token.clone()) as Arc<dyn TokenKey>);
        let tokens = Tokens(config.hsms.iter().map(token).collect());
        let vault = Vault::new(store.clone(), random, clock.clone(), policy.clone(), pins, history, tokens).await?;
        let gate = Gate::new(policy, config.custodians.clone(), audit.clone(), clock.clone());
        note(&audit, "start").await?;
        Ok(Self { clock, audit, store, vault, gate, highest_lists })
    }

    /// Why the store failed for good, if it did.
    pub(super) fn store_failure(&self) -> Option<String> {
        match &*self.store.conditions().borrow() {
            Condition::Fatal { why, .. } => Some(why.clone()),
            _ => None,
        }
    }

    /// Seals, writes the last entry, and closes the files. What cannot be written any more is only logged: nothing depends
    /// on it.
    pub(super) async fn close(&self) {
        self.vault.shut().await;
        self.gate.summarise_all().await;
        if let Err(error) = note(&self.audit, "stop").await {
            tracing::warn!(%error, "the end is not on the record");
        }
        self.store.close().await;
        let audit = self.audit.clone();
        match tokio::task::spawn_blocking(move || audit.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the audit log did not close cleanly"),
            Err(error) => tracing::warn!(%error, "the audit log did not close"),
        }
    }
}

pub(super) fn open_store(config: &Config, mode: Mode) -> Result<Arc<dyn Store>, ServerError> {
    let options = SledOptions { cache_bytes: config.store.cache_bytes, reserve_bytes: config.store.reserve_bytes };
    Ok(Arc::new(SledStore::open(&config.data_folder, &options, mode)?))
}

pub(super) fn open_audit(config: &Config, clock: Arc<dyn Clock>) -> Result<(Arc<AuditLog>, Recovered), AuditError> {
    let mut options = AuditOptions::new(config.node.clone());
    options.segment_bytes = config.audit.segment_bytes;
    options.reserve_bytes = config.audit.reserve_bytes;
    AuditLog::open(&config.audit_folder, options, clock)
}

/// An entry about the server itself.
pub(super) async fn note(audit: &AuditLog, what: &'static str) -> Result<(), AuditError> {
    let mut draft = Draft::new(Event::System, what).with("server_version", env!("CARGO_PKG_VERSION"));
    draft.importance = Importance::Always;
    audit.append(draft).await.map(|_| ())
}

/// Says in the newest segment which policy and which revocation lists are in force: older segments may be moved away, and
/// this must not go with them. Once more if the policy changed meanwhile: the newest word must be the highest.
pub(super) async fn note_in_force(audit: &AuditLog, vault: &Vault, live: &LiveTls) -> Result<(), AuditError> {
    let mut noted = None;
    while noted.is_none_or(|noted| noted < vault.policy_generation()) {
        let generation = vault.policy_generation();
        let mut draft = Draft::new(Event::System, IN_FORCE).with(REVOCATION_LISTS, live.highest_lists());
        if generation > 0 {
            draft = draft.with(POLICY_GENERATION, generation);
        }
        draft.outcome = Some("ok");
        draft.importance = Importance::Always;
        audit.append(draft).await?;
        noted = Some(generation);
    }
    Ok(())
}

/// The newest generation of the policy that a log speaks of, if it speaks of any.
pub(super) fn logged_generation(log: &Reader) -> Result<Option<u64>, AuditError> {
    let generation = |entry: &Entry| entry.detail.get(POLICY_GENERATION).and_then(|text| text.parse().ok());
    let says_generation = |entry: &Entry| entry.outcome.as_deref() == Some("ok") && generation(entry).is_some();
    Ok(log.last_matching(says_generation)?.as_ref().and_then(generation))
}

/// What the log says of the time before this start. Each segment notes what is in force, so this never reads far.
fn history(config: &Config, recovered: Recovered) -> Result<(History, HighestLists), ServerError> {
    let log = Reader::open(&config.audit_folder)?;
    let policy_generation = logged_generation(&log)?;
    if policy_generation.is_none() && log.begins_at().is_some_and(|first| first > 1) {
        return Err(ServerError::LogTooShort(config.audit_folder.clone()));
    }
    if !recovered.open_intents.is_empty() {
        tracing::info!(intents = recovered.open_intents.len(), "changes were in doubt; they are settled once the vault is open");
    }
    let says_lists = |entry: &Entry| entry.event == Event::System && entry.method == IN_FORCE;
    let lists = log.last_matching(says_lists)?.and_then(|entry| HighestLists::parse(entry.detail.get(REVOCATION_LISTS)?));
    let history = History { policy_generation: policy_generation.unwrap_or(0), open_intents: recovered.open_intents };
    Ok((history, lists.unwrap_or_default()))
}
