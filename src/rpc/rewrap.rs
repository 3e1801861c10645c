//! `WatchRewrap`: one task a watch, which tells how far a rewrap is, at most once a second, and ends with it. Each time the policy
//! of that moment decides whether the caller may still know.

use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio::sync::watch::Receiver;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::show;
use super::status::{About, ending, of_refusal};
use super::watch::{End, PATIENCE, Places, Watches, outer_end};
use crate::api;
use crate::gate::{Call, InNamespace, Permit, Refusal, Watching};
use crate::identity::Caller;
use crate::model::NamespaceId;
use crate::vault::{Error, RewrapStatus, RewrapWatch};

/// Messages that wait for the connection.
const QUEUE: usize = 2;
/// Between two of them.
const PACE: Duration = Duration::from_secs(1);

/// What goes out.
pub(super) type Stream = ReceiverStream<Result<api::WatchRewrapResponse, Status>>;
type Message = Result<api::WatchRewrapResponse, Status>;

/// One of them.
struct Session {
    shared: Watches,
    about: About,
    watching: Watching<InNamespace>,
    watch: RewrapWatch,
    out: Sender<Message>,
    caller: Caller,
    _places: Places,
}

/// Begins one, and leaves it to a task of its own.
pub(super) async fn begin(shared: &Watches, call: Call, caller: Caller, namespace: InNamespace) -> Result<Stream, Status> {
    let mut openings = shared.vault.openings();
    openings.mark_unchanged();
    let operation = |permit: Permit<NamespaceId>| {
        let places = shared.places.clone().try_acquire_owned().ok().zip(caller.standing.watch()).ok_or(Error::TooMany("watches"));
        let vault = shared.vault.clone();
        async move {
            let places = places?;
            Ok(vault.open()?.watch_rewrap(&permit)?.map(|watch| (watch, places)))
        }
    };
    let about = About::of(&call);
    let begun = shared.gate.watch(call, namespace, operation).await;
    let (watching, (watch, places)) = begun.map_err(|refusal| of_refusal(&about, refusal))?;
    let (out, stream) = mpsc::channel(QUEUE + 1);
    // Whatever fills the queue, there is room to say why it ends.
    let last = out.clone().reserve_owned().await.map_err(|_| ending())?;
    let session = Session { shared: shared.clone(), about, watching, watch, out, caller, _places: places };
    tokio::spawn(session.run(openings, last));
    Ok(ReceiverStream::new(stream))
}

impl Session {
    async fn run(mut self, openings: Receiver<bool>, last: OwnedPermit<Message>) {
        let (out, ending) = (self.out.clone(), self.shared.ending.clone());
        let end = tokio::select! {
            biased;
            end = outer_end(&out, ending, openings) => Some(end),
            told = self.tell() => told.err(),
        };
        // On record first: who is told of the end may look for it there.
        self.watching.end(end.as_ref().map_or("done", End::word));
        if let Some(status) = end.and_then(|end| end.status(&self.about)) {
            last.send(Err(status));
        }
    }

    /// Until the rewrap has ended.
    async fn tell(&mut self) -> Result<(), End> {
        let refused = |error| End::Refused(Refusal::Failed(error));
        loop {
            let permit = self.watching.permit().map_err(End::Refused)?;
            let open = self.shared.vault.open().map_err(refused)?;
            let told = open.watched_rewrap(&permit, &mut self.watch).map_err(refused)?;
            drop(open);
            let info = self.watching.release_one(told);
            let has_ended = info.status == RewrapStatus::Done;
            self.send(api::WatchRewrapResponse { rewrap: Some(show::rewrap(info)) }).await?;
            if has_ended {
                return Ok(());
            }
            sleep(PACE).await;
            // Where nothing changes it says so, and looks whether the caller may still know.
            if let Ok(changed) = timeout(self.shared.heartbeat, self.watch.changed()).await {
                changed.map_err(refused)?;
            }
        }
    }

    async fn send(&self, message: api::WatchRewrapResponse) -> Result<(), End> {
        match timeout(self.shared.heartbeat * PATIENCE, self.out.send(Ok(message))).await {
            Ok(Ok(())) => {
                self.caller.credit.earn_receipt();
                Ok(())
            }
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::TooSlow),
        }
    }
}
