//! `BackupService`: one task a backup, which reads the vault's rows and hands the archive to the connection as it is read. It ends
//! when the vault is sealed, the server ends, the caller has gone, may not any more, or does not read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::door::{Door, TURN, caller};
use super::field::{Fault, reason};
use super::status::{About, ending, of_refusal, too_slow};
use super::{Services, show};
use crate::api::backup_service_server::BackupService;
use crate::api::create_backup_response::Event;
use crate::api::{self, Method};
use crate::backup::Steps;
use crate::gate::{Call, Permit, Refusal, Streaming, WholeVault};
use crate::identity::Credit;
use crate::vault::{BackupDone, BackupRun, Error};

/// Backups at once.
const AT_ONCE: usize = 1;
/// Bytes of a piece on the wire.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for the connection.
const QUEUE: usize = 16;
/// For how long a caller may read nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a backup is kept when nobody says otherwise.
const DEFAULT_KEEP: Duration = Duration::from_secs(90 * 24 * 3600);

pub(super) struct Backups {
    door: Door,
    services: Services,
    places: Arc<Semaphore>,
}

/// What goes out.
type Out = Sender<Result<api::CreateBackupResponse, Status>>;

/// A backup under way.
struct Session {
    services: Services,
    about: About,
    streaming: Streaming,
    run: BackupRun,
    out: Out,
    /// Earns what its caller sends upon being told something.
    credit: Arc<Credit>,
    _place: OwnedSemaphorePermit,
}

/// Why a backup ends before it is whole.
enum End {
    Gone,
    ServerEnds,
    TooSlow,
    Refused(Refusal<Error>),
}

impl Backups {
    pub(super) fn new(door: Door, services: Services) -> Self {
        Self { door, services, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn begin(
        &self,
        call: Call,
        keep: Duration,
        credit: Arc<Credit>,
    ) -> Result<ReceiverStream<Result<api::CreateBackupResponse, Status>>, Status> {
        let about = About::of(&call);
        let vault = self.services.vault.clone();
        let operation = |permit: Permit<()>| async move {
            let place =
                timeout(TURN, self.places.clone().acquire_owned()).await.ok().and_then(Result::ok).ok_or(Error::TooMany("backups"))?;
            Ok(vault.begin_backup(permit, keep, Steps::default()).await?.map(|run| (run, place)))
        };
        let begun = self.services.gate.stream(call, WholeVault::VAULT, operation).await;
        let (streaming, (run, place)) = begun.map_err(|refusal| of_refusal(&about, refusal))?;
        let (out, stream) = mpsc::channel(QUEUE);
        let session = Session { services: self.services.clone(), about, streaming, run, out, credit, _place: place };
        tokio::spawn(session.run());
        Ok(ReceiverStream::new(stream))
    }
}

impl Session {
    async fn run(mut self) {
        let (out, mut ending) = (self.out.clone(), self.services.ending.clone());
        let made = tokio::select! {
            biased;
            // If the sender is gone, so is the server.
            _ = ending.wait_for(|ending| *ending) => Err(End::ServerEnds),
            made = self.make() => made,
        };
        // On record first: who is told of the end may look for it there.
        let told = match made {
            Ok(done) => {
                let streaming = self.streaming.with("rows", done.rows).with("bytes", done.bytes).with("sha256", hex::encode(done.sha256));
                streaming.with("revision", done.revision).with("pause_us", done.pause.as_micros()).end("ok");
                Some(Ok(message(Event::Done(shown(&done)))))
            }
            Err(end) => {
                self.streaming.end(end.word());
                end.status(&self.about).map(Err)
            }
        };
        if let Some(told) = told {
            // One who reads nothing hears nothing.
            let _ = timeout(PATIENCE, out.send(told)).await;
        }
    }

    async fn make(&mut self) -> Result<BackupDone, End> {
        let expected_bytes = self.services.vault.store_status().size_on_disk_bytes;
        self.send(Event::Started(api::BackupStarted { expected_bytes })).await?;
        while let Some(piece) = self.run.next().await.map_err(|error| End::Refused(Refusal::Failed(error)))? {
            self.streaming.goes_on().map_err(End::Refused)?;
            for piece in piece.chunks(PIECE_BYTES) {
                self.send(Event::Piece(piece.to_vec())).await?;
            }
        }
        self.run.done().cloned().ok_or(End::Refused(Refusal::Interrupted))
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        match timeout(PATIENCE, self.out.send(Ok(message(event)))).await {
            Ok(Ok(())) => {
                self.credit.earn_receipt();
                Ok(())
            }
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::TooSlow),
        }
    }
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::ServerEnds => "server_ends",
            Self::TooSlow => "too_slow",
            Self::Refused(refusal) => refusal.word(),
        }
    }

    fn status(self, about: &About) -> Option<Status> {
        match self {
            Self::Gone => None,
            Self::ServerEnds => Some(ending()),
            Self::TooSlow => Some(too_slow()),
            Self::Refused(refusal) => Some(of_refusal(about, refusal)),
        }
    }
}

fn message(event: Event) -> api::CreateBackupResponse {
    api::CreateBackupResponse { event: Some(event) }
}

fn shown(done: &BackupDone) -> api::BackupDone {
    let pause = prost_types::Duration {
        seconds: done.pause.as_secs().cast_signed(),
        nanos: i32::try_from(done.pause.subsec_nanos()).expect("below a thousand million"),
    };
    api::BackupDone {
        backup_id: hex::encode(done.id),
        rows: done.rows,
        changes: done.changes,
        revision: done.revision,
        bytes: done.bytes,
        sha256: hex::encode(done.sha256),
        pause: Some(pause),
    }
}

fn keep(wire: Option<&prost_types::Duration>) -> Result<Duration, Fault> {
    let Some(wire) = wire else { return Ok(DEFAULT_KEEP) };
    let seconds = u64::try_from(wire.seconds).ok().filter(|seconds| (1..=3_650 * 24 * 3600).contains(seconds) && wire.nanos == 0);
    seconds.map(Duration::from_secs).ok_or(Fault { field: "keep", why: "must be whole seconds, 1 second to 3650 days" })
}

#[tonic::async_trait]
impl BackupService for Backups {
    type CreateBackupStream = ReceiverStream<Result<api::CreateBackupResponse, Status>>;

    async fn create_backup(&self, request: Request<api::CreateBackupRequest>) -> Result<Response<Self::CreateBackupStream>, Status> {
        let credit = caller(&request)?.credit;
        let (call, keep) = self
            .door
            .understand(Method::CreateBackup, request, |message, call| {
                reason(call, &message.reason)?;
                keep(message.keep.as_ref())
            })
            .await?;
        self.begin(call, keep, credit).await.map(Response::new)
    }

    async fn list_backups(&self, request: Request<api::ListBackupsRequest>) -> Result<Response<api::ListBackupsResponse>, Status> {
        let (call, (items, token)) = self
            .door
            .understand(Method::ListBackups, request, |message, _| Ok((self.door.page(message.page_size)?, message.page_token)))
            .await?;
        let listed = self
            .door
            .run(call, WholeVault::VAULT, move |vault, permit| async move { vault.open()?.list_backups(&permit, items, &token).await });
        let page = listed.await?;
        let backups = page.items.into_iter().map(show::backup).collect();
        Ok(Response::new(api::ListBackupsResponse { backups, next_page_token: page.next_page_token }))
    }

    async fn list_recovery_recipients(
        &self,
        request: Request<api::ListRecoveryRecipientsRequest>,
    ) -> Result<Response<api::ListRecoveryRecipientsResponse>, Status> {
        let (call, ()) = self.door.understand(Method::ListRecoveryRecipients, request, |_, _| Ok(())).await?;
        let listed =
            self.door.run(call, WholeVault::VAULT, |vault, permit| async move { vault.open()?.list_recovery_recipients(&permit).await });
        let recipients = listed.await?.into_iter().map(show::recovery_recipient).collect();
        Ok(Response::new(api::ListRecoveryRecipientsResponse { recipients }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_backup_is_kept_holds_at_the_edge() {
        let kept = |seconds, nanos| keep(Some(&prost_types::Duration { seconds, nanos })).map(|keep| keep.as_secs());
        assert_eq!(keep(None), Ok(DEFAULT_KEEP));
        assert_eq!((kept(1, 0), kept(315_360_000, 0)), (Ok(1), Ok(315_360_000)));
        for (seconds, nanos) in [(0, 0), (-1, 0), (315_360_001, 0), (i64::MAX, 0), (1, 1)] {
            assert!(kept(seconds, nanos).is_err(), "{seconds}.{nanos}");
        }
    }
}
