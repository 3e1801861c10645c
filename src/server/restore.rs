//! `restore` and `backup drill`: a vault out of a backup, on the host, without a network. A drill does it in memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::ServerError;
use super::init::check_administrators;
use super::parts::{logged_generation, open_audit, open_store};
use crate::access::CurrentPolicy;
use crate::audit::{AuditLog, Draft, Event, Filter, Importance, Order, Reader};
use crate::backup::{Archive, Identity, Step, Steps, Verified};
use crate::config::Config;
use crate::crypto::{Random, SystemRandom};
use crate::gate::{Gate, Refusal};
use crate::model::{Class, Clock, FlooredClock, SpiffeId, SystemClock, Timestamp};
use crate::seal::SlotKey;
use crate::storage::{MemoryStore, Mode, Store};
use crate::vault::{Bindings, Canary, Fates, Opened, Replayed, Restore, RestorePlan, Written};

/// What a vault is restored from.
#[derive(Debug)]
pub struct RestoreFrom {
    /// The backup's file.
    pub archive: PathBuf,
    /// What decrypts it.
    pub identity: Identity,
    /// What opens a slot that the vault had when the backup was made.
    pub slot: SlotKey,
    /// Whose bindings count at once, so that they can confirm the others.
    pub administrators: Vec<SpiffeId>,
    /// Whether one administrator is enough, as somebody said in so many words.
    pub single_administrator: bool,
    /// The audit log of the vault that was lost [default: the configured one, if it holds any entry].
    pub audit: Option<PathBuf>,
    /// Who is told of each step.
    pub steps: Steps,
}

/// What a restore did.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreReport {
    /// The vault, whose id stays.
    pub vault_id: String,
    /// When the backup was begun, in RFC 3339.
    pub backup_time: String,
    /// Whether it should have been thrown away by now.
    pub expired: bool,
    /// SHA-256 of the backup's file, in hex.
    pub sha256: String,
    /// Rows that were stored.
    pub rows: u64,
    /// Bytes of keys and values that were stored.
    pub bytes: u64,
    /// Rows that are void in the new epoch: what counts once, and what was asked for and not done.
    pub void_rows: u64,
    /// The number of the new system key.
    pub epoch: u64,
    /// The policy's new generation.
    pub policy_generation: u64,
    /// Bindings that count.
    pub bindings_kept: u64,
    /// Bindings that wait until an administrator confirms them.
    pub bindings_suspended: u64,
    /// Secrets that were destroyed once more, since the audit log says that they were destroyed after the backup; absent where
    /// there was no log to ask.
    pub destroyed_again: Option<u64>,
    /// Secrets that should have been, but whose key version is out of service: destroy them when it comes back.
    pub still_to_destroy: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What a drill tries.
#[derive(Debug)]
pub struct DrillOf {
    /// The backup's file.
    pub archive: PathBuf,
    /// What decrypts it.
    pub identity: Identity,
    /// What opens a slot that the vault had when the backup was made.
    pub slot: SlotKey,
}

/// What a drill found.
#[derive(Debug, Clone, Serialize)]
pub struct DrillReport {
    /// Whether it could be restored, and every key in service opens a value if there is one.
    pub good: bool,
    /// The vault.
    pub vault_id: String,
    /// When the backup was begun, in RFC 3339.
    pub backup_time: String,
    /// How old it is.
    pub age_s: u64,
    /// Until when it is to be kept, in RFC 3339.
    pub expire_time: String,
    /// Whether that has passed.
    pub expired: bool,
    /// Rows that were restored.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// For each key version of each namespace, whether a value opens.
    pub canaries: Vec<CanaryReport>,
    /// How long it took.
    pub seconds: f64,
    /// Bytes of the file that were restored a second, in MB (10^6 bytes).
    pub mb_per_s: f64,
}

/// One key version in a drill.
#[derive(Debug, Clone, Serialize)]
pub struct CanaryReport {
    /// The namespace.
    pub namespace: String,
    /// The key's version.
    pub version: u32,
    /// Values that lie under it.
    pub values: u64,
    /// `yes`, `no value`, `out of service`, or `no`.
    pub opened: &'static str,
}

impl From<Canary> for CanaryReport {
    fn from(canary: Canary) -> Self {
        let opened = match canary.opened {
            Opened::Yes => "yes",
            Opened::NoValue => "no value",
            Opened::OutOfService => "out of service",
            Opened::No => "no",
        };
        Self { namespace: canary.namespace.to_string(), version: canary.version, values: canary.values, opened }
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, ServerError> {
    Err(ServerError::Restore(why.into()))
}

/// Makes the vault of a backup in the configured data folder, which must be empty. Nothing is written before the whole backup was
/// read and found whole; and until the very end what is written is no vault.
///
/// # Errors
/// The configuration pins no vault, or another; the folder is not empty; the backup is not whole; what was given opens no
/// slot; nobody named could administer the vault.
pub async fn restore(config: &Config, from: RestoreFrom) -> Result<RestoreReport, ServerError> {
    let begin = Instant::now();
    let RestoreFrom { archive, identity, slot, administrators, single_administrator, audit: log, steps } = from;
    let pins = config.pins()?;
    check_administrators(config, &administrators, single_administrator).or_else(refused)?;
    check_empty(&config.data_folder)?;
    let log = find_log(config, log)?;
    let clock = Arc::new(FlooredClock::new(SystemClock));
    let plan = RestorePlan {
        vault: Some(pins.vault_id),
        bindings: Bindings::Suspended { administrators, workloads: workload_domains(config) },
        logged_generation: log.as_ref().map(logged_generation).transpose()?.flatten().unwrap_or(0),
        now: clock.now(),
    };
    let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
    let prepared = prepare(archive, identity, slot, plan, random.clone(), steps.clone()).await?;
    let fates = log.map(|log| fates(&log, prepared.verified())).transpose()?;
    steps.at(Step::MakeStore);
    let store = open_store(config, Mode::CreateAfter(prepared.begins_after()))?;
    let (audit, recovered) = open_audit(config, clock.clone())?;
    if let Some(last) = recovered.last_time {
        clock.raise_floor(last);
    }
    let written = prepared.write(store.clone(), random, steps.clone()).await;
    let done = match written {
        Ok(written) => finish(config, written, fates, &audit, clock, &steps).await,
        Err(error) => Err(error.into()),
    };
    steps.at(Step::CloseStore);
    store.close().await;
    steps.at(Step::NoteRestore);
    let noted = match &done {
        Ok(report) => note(&audit, "restored", report).await,
        Err(_) => Ok(()),
    };
    audit.close()?;
    let report = done?;
    noted?;
    Ok(RestoreReport { seconds: begin.elapsed().as_secs_f64(), ..report })
}

/// Destroys once more, puts it on record, and only then makes it a vault.
async fn finish(
    config: &Config,
    written: Written,
    fates: Option<Fates>,
    audit: &Arc<AuditLog>,
    clock: Arc<dyn Clock>,
    steps: &Steps,
) -> Result<RestoreReport, ServerError> {
    steps.at(Step::Replay);
    let policy = Arc::new(CurrentPolicy::default());
    let open = written.open(clock.clone(), policy.clone()).await?;
    let gate = Gate::new(policy, config.custodians.clone(), audit.clone(), clock.clone());
    let replayed = match fates {
        Some(fates) => Some(open.replay(&fates, &gate).await.map_err(|refusal| match refusal {
            Refusal::Failed(error) => error.into(),
            Refusal::Unaudited(error) => ServerError::Audit(error),
            _ => ServerError::Restore("what was destroyed after the backup could not be destroyed again".to_owned()),
        })?),
        None => None,
    };
    drop(open);
    let report = report(&written, replayed, clock.now());
    steps.at(Step::Announce);
    note(audit, "restore", &report).await?;
    written.finish(steps).await?;
    Ok(report)
}

/// Restores a backup into memory, and opens one value for each key version.
///
/// # Errors
/// The backup is not whole, what was given opens no slot, or a row does not open.
pub async fn drill(of: DrillOf) -> Result<DrillReport, ServerError> {
    let begin = Instant::now();
    let DrillOf { archive, identity, slot } = of;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let plan = RestorePlan { vault: None, bindings: Bindings::AsTheyAre, logged_generation: 0, now: clock.now() };
    let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
    let prepared = prepare(archive, identity, slot, plan, random.clone(), Steps::default()).await?;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::after(prepared.begins_after()));
    let written = prepared.write(store, random, Steps::default()).await?;
    let open = written.open(clock.clone(), Arc::new(CurrentPolicy::default())).await?;
    let canaries: Vec<_> = open.open_canaries().await?.into_iter().map(CanaryReport::from).collect();
    let (manifest, seconds, now) = (&written.verified.manifest, begin.elapsed().as_secs_f64(), clock.now());
    Ok(DrillReport {
        good: canaries.iter().all(|canary| canary.opened != "no"),
        vault_id: manifest.vault.to_string(),
        backup_time: manifest.created.to_string(),
        age_s: now.since(manifest.created).as_secs(),
        expire_time: manifest.expires.to_string(),
        expired: manifest.expires <= now,
        rows: written.rows.rows,
        bytes: written.rows.bytes,
        file_bytes: written.verified.bytes,
        canaries,
        seconds,
        mb_per_s: written.verified.bytes as f64 / 1e6 / seconds,
    })
}

async fn prepare(
    archive: PathBuf,
    identity: Identity,
    slot: SlotKey,
    plan: RestorePlan,
    random: Arc<dyn Random>,
    steps: Steps,
) -> Result<Restore, ServerError> {
    let work = move || {
        let archive = Archive::open(&archive, identity).map_err(crate::vault::Error::from)?;
        Restore::prepare(archive, slot, plan, random.as_ref(), &steps)
    };
    let prepared = tokio::task::spawn_blocking(work).await;
    prepared.or_else(|_| refused("the backup could not be read"))?.map_err(ServerError::from)
}

/// What a restore was cut off from stands in the way of the next: no row of it is to be taken for the vault's.
fn check_empty(folder: &Path) -> Result<(), ServerError> {
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return refused(format!("{}: {error}", folder.display())),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    refused(format!(
        "{} is not empty: a backup is restored into an empty folder alone. What a restore that did not end has left there is no \
         vault; move it away",
        folder.display()
    ))
}

/// The log to ask for what was destroyed later.
fn find_log(config: &Config, given: Option<PathBuf>) -> Result<Option<Reader>, ServerError> {
    let is_given = given.is_some();
    let folder = given.unwrap_or_else(|| config.audit_folder.clone());
    if !is_given && !folder.exists() {
        return Ok(None);
    }
    let log = Reader::open(&folder)?;
    match log.begins_at() {
        Some(_) => Ok(Some(log)),
        None if is_given => refused(format!("{} holds no audit log", folder.display())),
        None => Ok(None),
    }
}

/// What the log says was destroyed after the backup.
fn fates(log: &Reader, verified: &Verified) -> Result<Fates, ServerError> {
    let after = verified.trailer.audit_sequence;
    if log.begins_at().is_some_and(|first| first > after.saturating_add(1)) {
        return refused(format!(
            "the audit log begins after the backup was made (entry {after}), and does not tell all that was destroyed since: put \
             the older files back"
        ));
    }
    if log.last_matching(|_| true)?.is_none_or(|last| last.sequence < after) {
        return refused(format!(
            "the audit log ends before the backup was made (entry {after}), and tells nothing of what was destroyed since: put the newer \
             files there, or move the log away to restore without one"
        ));
    }
    let filter = Filter { after_sequence: Some(after), event: Some(Event::Outcome), ..Filter::default() };
    let entries = log.entries(filter, Order::OldestFirst).collect::<Result<Vec<_>, _>>()?;
    Ok(Fates::from_entries(entries))
}

fn workload_domains(config: &Config) -> Vec<String> {
    let workloads = config.tls.trust.iter().filter(|trust| trust.class == Class::Workload);
    workloads.map(|trust| trust.domain.to_string()).collect()
}

fn report(written: &Written, replayed: Option<Replayed>, now: Timestamp) -> RestoreReport {
    let Written { rows, verified, .. } = written;
    RestoreReport {
        vault_id: verified.manifest.vault.to_string(),
        backup_time: verified.manifest.created.to_string(),
        expired: verified.manifest.expires <= now,
        sha256: hex::encode(verified.sha256),
        rows: rows.rows,
        bytes: rows.bytes,
        void_rows: rows.void,
        epoch: written.epoch,
        policy_generation: rows.policy_generation,
        bindings_kept: rows.kept,
        bindings_suspended: rows.suspended,
        destroyed_again: replayed.map(|replayed| replayed.again),
        still_to_destroy: replayed.map_or(0, |replayed| replayed.out_of_service),
        seconds: 0.0,
    }
}

async fn note(audit: &AuditLog, what: &'static str, report: &RestoreReport) -> Result<(), ServerError> {
    let mut draft = Draft::new(Event::System, what)
        .with("vault", &report.vault_id)
        .with("backup_time", &report.backup_time)
        .with("sha256", &report.sha256)
        .with("rows", report.rows)
        .with("void_rows", report.void_rows)
        .with("epoch", report.epoch)
        .with("policy_generation", report.policy_generation)
        .with("bindings_suspended", report.bindings_suspended);
    if let Some(count) = report.destroyed_again {
        draft = draft.with("destroyed_again", count).with("still_to_destroy", report.still_to_destroy);
    }
    draft.outcome = Some("ok");
    draft.importance = Importance::Always;
    audit.append(draft).await?;
    Ok(())
}
