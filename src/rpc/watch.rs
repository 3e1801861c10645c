//! `WatchSecrets`: one task a watch, which waits for changes, asks for a permit for each, and hands what may be told to the
//! connection. It ends when the vault is sealed, the server ends, the caller has gone, may see nothing more or does not read.
//!
//! ```text
//! changed ── permit (the policy of this moment) ── vault: what may be told ── a short queue ── connection
//! ```
//! The queue is the only memory that a slow caller takes: while it is full the watch waits, and falls behind the store's own
//! bounded memory of changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use prost_types::Duration as WireDuration;
use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio::sync::watch::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::field::{Fault, prefix};
use super::status::{About, ending, of_refusal, too_slow};
use super::{Services, show};
use crate::api;
use crate::api::SecretChangeKind as WireKind;
use crate::api::watch_secrets_response::Event;
use crate::gate::{Below, BelowAt, Call, Gate, Permit, Refusal, Watching};
use crate::identity::{Caller, Credit};
use crate::model::{Clock, limits};
use crate::vault::{ChangeKind, Error, SecretChange, Vault, Watch, WatchFrom};

/// Messages that wait for the connection, of at most some 16 KiB each.
const QUEUE: usize = 8;
/// After each page of a look through all rows, so that it takes a small part of a processor, however many watch.
const SWEEP_PAUSE: Duration = Duration::from_millis(5);
/// After a look, at least so many times as long as it took until the next, and never less than a second: where values expire
/// all the time, a watch would look all the time.
const SWEEP_REST: u32 = 4;
/// Heartbeats that a caller may leave unread before the watch ends.
pub(super) const PATIENCE: u32 = 2;

/// What goes out.
pub(super) type Stream = ReceiverStream<Result<api::WatchSecretsResponse, Status>>;

/// What all watches need.
#[derive(Clone)]
pub(super) struct Watches {
    pub(super) gate: Arc<Gate>,
    pub(super) vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    pub(super) places: Arc<Semaphore>,
    /// One at a time looks through all rows for what will soon expire.
    sweeping: Arc<Semaphore>,
    pub(super) heartbeat: Duration,
    pub(super) ending: Receiver<bool>,
}

/// One of them.
struct Session {
    shared: Watches,
    about: About,
    watching: Watching,
    watch: Watch,
    out: Sender<Result<api::WatchSecretsResponse, Status>>,
    /// When the look under way began.
    sweep_began: Option<Instant>,
    /// Before then it does not look again.
    rests_until: Instant,
    /// Earns what its caller sends upon being told something.
    credit: Arc<Credit>,
    _places: Places,
}

/// A watch's places: among all, and among its principal's.
pub(super) type Places = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Why a watch ends.
pub(super) enum End {
    Gone,
    ServerEnds,
    TooSlow,
    Refused(Refusal<Error>),
}

/// What woke a watch.
enum Wake {
    Changed(Result<(), Error>),
    Due,
    Beat,
}

/// What a request asks for.
pub(super) fn parse(message: &api::WatchSecretsRequest) -> Result<(Below, WatchFrom), Fault> {
    let (namespace, prefix) = prefix(&message.prefix, "prefix")?;
    let after = (message.after_revision > 0).then_some(message.after_revision);
    let expiring_within = message.expiring_within.as_ref().map_or(Ok(limits::DEFAULT_EXPIRING_WITHIN_S), whole_seconds)?;
    let expiring_within = (expiring_within > 0).then(|| Duration::from_secs(expiring_within));
    Ok((Below { namespace, prefix }, WatchFrom { after, expiring_within }))
}

fn whole_seconds(wire: &WireDuration) -> Result<u64, Fault> {
    let seconds = u64::try_from(wire.seconds).ok().filter(|seconds| *seconds <= limits::EXPIRING_WITHIN_S && wire.nanos == 0);
    seconds.ok_or(Fault { field: "expiring_within", why: "must be whole seconds, 0 to 365 days" })
}

impl Watches {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            gate: services.gate.clone(),
            vault: services.vault.clone(),
            clock: services.clock.clone(),
            places: Arc::new(Semaphore::new(services.watches_max)),
            sweeping: Arc::new(Semaphore::new(1)),
            heartbeat: services.watch_heartbeat,
            ending: services.ending.clone(),
        }
    }

    /// Begins one, and leaves it to a task of its own.
    pub(super) async fn begin(&self, call: Call, caller: Caller, below: Below, from: WatchFrom) -> Result<Stream, Status> {
        let mut openings = self.vault.openings();
        openings.mark_unchanged();
        let operation = |permit: Permit<BelowAt>| async move {
            let places = self.places.clone().try_acquire_owned().ok().zip(caller.standing.watch()).ok_or(Error::TooMany("watches"))?;
            Ok(self.vault.open()?.watch(permit, from).await?.map(|watch| (watch, places)))
        };
        let about = About::of(&call);
        let begun = self.gate.watch(call, below, operation).await;
        let (watching, (watch, places)) = begun.map_err(|refusal| of_refusal(&about, refusal))?;
        let (out, stream) = mpsc::channel(QUEUE + 1);
        // Whatever fills the queue, there is room to say why it ends.
        let last = out.clone().reserve_owned().await.map_err(|_| ending())?;
        let (sweep_began, rests_until) = (None, Instant::now());
        let (shared, credit) = (self.clone(), caller.credit);
        let session = Session { shared, about, watching, watch, out, sweep_began, rests_until, credit, _places: places };
        tokio::spawn(session.run(openings, last));
        Ok(ReceiverStream::new(stream))
    }
}

impl Session {
    async fn run(mut self, openings: Receiver<bool>, last: OwnedPermit<Result<api::WatchSecretsResponse, Status>>) {
        let (out, ending) = (self.out.clone(), self.shared.ending.clone());
        let end = tokio::select! {
            biased;
            end = outer_end(&out, ending, openings) => end,
            told = self.tell() => match told {
                Ok(never) => match never {},
                Err(end) => end,
            },
        };
        // On record first: who is told of the end may look for it there.
        self.watching.end(end.word());
        if let Some(status) = end.status(&self.about) {
            last.send(Err(status));
        }
    }

    async fn tell(&mut self) -> Result<Infallible, End> {
        let mut beats = interval(self.shared.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let heartbeat_interval = WireDuration { seconds: self.shared.heartbeat.as_secs().cast_signed(), nanos: 0 };
        self.send(Event::Started(api::WatchStarted { heartbeat_interval: Some(heartbeat_interval) })).await?;
        beats.reset();
        loop {
            match self.wait(&mut beats).await {
                Wake::Changed(changed) => {
                    changed.map_err(|error| End::Refused(Refusal::Failed(error)))?;
                    while self.watch.has_changed() {
                        self.tell_next_change().await?;
                    }
                }
                Wake::Due => self.tell_what_expires().await?,
                Wake::Beat => {
                    // Who may see nothing any more is told so, even where nothing changes.
                    drop(self.permit()?);
                    self.send(Event::Heartbeat(api::WatchHeartbeat {})).await?;
                }
            }
        }
    }

    async fn wait(&mut self, beats: &mut Interval) -> Wake {
        let now = self.shared.clock.now();
        let due = self.watch.sweep_due().map(|due| (Instant::now() + due.since(now)).max(self.rests_until));
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = self.watch.changed() => Wake::Changed(changed),
            _ = beats.tick() => Wake::Beat,
            () = due => Wake::Due,
        }
    }

    async fn tell_next_change(&mut self) -> Result<(), End> {
        let permit = self.permit()?;
        let told = self.open()?.next_change(&permit, &mut self.watch).await;
        self.send_all(told).await
    }

    /// One page of it; the next is due at once.
    async fn tell_what_expires(&mut self) -> Result<(), End> {
        let sweeping = self.shared.sweeping.clone();
        let turn = sweeping.acquire().await;
        let began = *self.sweep_began.get_or_insert_with(Instant::now);
        let permit = self.permit()?;
        let told = self.open()?.next_expiring(&permit, &mut self.watch).await;
        sleep(SWEEP_PAUSE).await;
        drop(turn);
        if !self.watch.is_sweeping() {
            self.rests_until = Instant::now() + (began.elapsed() * SWEEP_REST).max(Duration::from_secs(1));
            self.sweep_began = None;
        }
        self.send_all(told).await
    }

    fn permit(&self) -> Result<Permit<BelowAt>, End> {
        self.watching.permit().map_err(End::Refused)
    }

    fn open(&self) -> Result<Arc<crate::vault::Open>, End> {
        self.shared.vault.open().map_err(|error| End::Refused(Refusal::Failed(error)))
    }

    async fn send_all(&mut self, told: Result<crate::gate::Unreleased<Vec<SecretChange>>, Error>) -> Result<(), End> {
        let told = told.map_err(|error| End::Refused(Refusal::Failed(error)))?;
        for change in self.watching.release(told) {
            self.send(Event::Change(shown(change))).await?;
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        let message = api::WatchSecretsResponse { revision: self.watch.revision(), event: Some(event) };
        match timeout(self.shared.heartbeat * PATIENCE, self.out.send(Ok(message))).await {
            Ok(Ok(())) => {
                self.credit.earn_receipt();
                Ok(())
            }
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::TooSlow),
        }
    }
}

/// What ends a watch from outside, whatever it is waiting for.
pub(super) async fn outer_end<T>(out: &Sender<T>, mut ending: Receiver<bool>, mut openings: Receiver<bool>) -> End {
    tokio::select! {
        () = out.closed() => End::Gone,
        // If the sender is gone, so is the server.
        _ = ending.wait_for(|ending| *ending) => End::ServerEnds,
        // Opened again or not: it was sealed.
        _ = openings.changed() => End::Refused(Refusal::Sealed),
    }
}

impl End {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::ServerEnds => "server_ends",
            Self::TooSlow => "too_slow",
            Self::Refused(refusal) => refusal.word(),
        }
    }

    pub(super) fn status(self, about: &About) -> Option<Status> {
        match self {
            Self::Gone => None,
            Self::ServerEnds => Some(ending()),
            Self::TooSlow => Some(too_slow()),
            Self::Refused(refusal) => Some(of_refusal(about, refusal)),
        }
    }
}

fn shown(change: SecretChange) -> api::SecretChange {
    let kind = match change.kind {
        ChangeKind::Created => WireKind::Created,
        ChangeKind::Updated => WireKind::Updated,
        ChangeKind::MetadataUpdated => WireKind::MetadataUpdated,
        ChangeKind::Disabled => WireKind::Disabled,
        ChangeKind::Enabled => WireKind::Enabled,
        ChangeKind::Destroyed => WireKind::Destroyed,
        ChangeKind::Restored => WireKind::Restored,
        ChangeKind::Purged => WireKind::Purged,
        ChangeKind::Expiring => WireKind::Expiring,
    };
    api::SecretChange { kind: kind.into(), name: change.name.to_string(), secret: change.secret.map(show::secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_to_look_ahead_holds_at_the_edge() {
        let within = |wire: Option<(i64, i32)>| {
            let expiring_within = wire.map(|(seconds, nanos)| WireDuration { seconds, nanos });
            let request = api::WatchSecretsRequest { prefix: "shop".to_owned(), after_revision: 0, expiring_within };
            parse(&request).map(|(_, from)| from.expiring_within.map(|window| window.as_secs()))
        };
        assert_eq!(within(None), Ok(Some(7 * 24 * 3600)));
        assert_eq!((within(Some((0, 0))), within(Some((1, 0)))), (Ok(None), Ok(Some(1))));
        assert_eq!(within(Some((365 * 24 * 3600, 0))), Ok(Some(365 * 24 * 3600)));
        for wire in [(365 * 24 * 3600 + 1, 0), (-1, 0), (i64::MAX, 0), (1, 1), (0, -1)] {
            assert!(within(Some(wire)).is_err_and(|fault| fault.field == "expiring_within"), "{wire:?}");
        }
    }
}
