//! Certificates and revocation lists that change while the server serves: read again when somebody asks, or when one of
//! their files is another one.
//!
//! The files are looked at once a second, and by what they lead to: so whoever writes in place, renames, or moves a link of
//! a folder above is noticed alike, on every file system. They are read once they have kept still for a second, since
//! certificate and key are two files and cannot be replaced in one step. What cannot be used leaves the old in force.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::parts::{Parts, note_in_force};
use super::tls;
use crate::audit::{AuditError, AuditLog, Draft, Event, Importance};
use crate::config::{Config, Revocation};
use crate::identity::LiveTls;
use crate::model::{Clock, with_causes};
use crate::vault::Vault;

const LOOK: Duration = Duration::from_secs(1);
/// After so long, files that could not be used are read again though they are the same: what was wrong may have passed (no
/// file descriptor left, a file system that did not answer).
const AGAIN: Duration = Duration::from_secs(60);

/// Reads the files again.
pub(super) struct Reload {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    live: Arc<LiveTls>,
    audit: Arc<AuditLog>,
    vault: Arc<Vault>,
    in_force: Marks,
}

/// Device, inode, length and times of each file; `None` for one that is not there.
type Marks = Vec<Option<[u64; 7]>>;

/// What the files look like before they are read for the first time.
pub(super) fn marks(config: &Config) -> Marks {
    files(config).iter().map(|file| std::fs::metadata(file).ok().map(|is| mark(&is))).collect()
}

fn mark(is: &std::fs::Metadata) -> [u64; 7] {
    let bits = |number: i64| number.cast_unsigned();
    [is.dev(), is.ino(), is.size(), bits(is.mtime()), bits(is.mtime_nsec()), bits(is.ctime()), bits(is.ctime_nsec())]
}

fn files(config: &Config) -> Vec<PathBuf> {
    let lists = |revocation: &Revocation| match revocation {
        Revocation::Lists(files) => files.clone(),
        Revocation::ShortLived { .. } | Revocation::None => Vec::new(),
    };
    let trusted = config.tls.trust.iter().flat_map(|trust| [trust.roots.clone(), lists(&trust.revocation)].concat());
    [config.tls.certificate.clone(), config.tls.key.clone()].into_iter().chain(trusted).collect()
}

impl Reload {
    /// `in_force` are the marks of the files that `live` was read from.
    pub(super) fn new(config: Arc<Config>, parts: &Parts, live: Arc<LiveTls>, in_force: Marks) -> Self {
        let (clock, audit, vault) = (parts.clock.clone(), parts.audit.clone(), parts.vault.clone());
        Self { config, clock, live, audit, vault, in_force }
    }

    /// Goes on for ever: at each `asked`, and when the files have changed.
    pub(super) async fn run(mut self, asked: Arc<Notify>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut changed, mut forced, mut again) = (false, false, None);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = asked.notified() => forced = true,
            }
            let config = self.config.clone();
            let Some(found) = apart(move || marks(&config)).await else { continue };
            let moving = found != self.in_force;
            self.in_force = found;
            if forced || (changed && !moving) || again.is_some_and(|again| again <= Instant::now()) {
                (changed, forced) = (false, false);
                again = (!self.read_again().await).then(|| Instant::now() + AGAIN);
            } else {
                changed |= moving;
            }
        }
    }

    /// Whether what was read is in force.
    async fn read_again(&self) -> bool {
        let (config, clock, live) = (self.config.clone(), self.clock.clone(), self.live.clone());
        let read = move || tls::load_tls(&config, clock).and_then(|tls| live.replace(tls));
        let refused = match apart(read).await {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(with_causes(&error)),
            None => Some("the files could not be read".to_owned()),
        };
        match &refused {
            None => tracing::info!("certificates and revocation lists were read again and are in force"),
            Some(why) => {
                tracing::error!(why, "certificates and revocation lists were read again and cannot be used; the old ones stay in force")
            }
        }
        if let Some(why) = &refused {
            self.live.complain(why.clone());
        }
        let in_force = refused.is_none();
        // In force already: protection does not wait for the log, in which the numbers of the lists are noted again later.
        if let Err(error) = self.note(refused).await {
            tracing::error!(%error, "a change of certificates is not on the record");
        }
        in_force
    }

    async fn note(&self, refused: Option<String>) -> Result<(), AuditError> {
        let mut draft = Draft::new(Event::System, "reload");
        draft.importance = Importance::Always;
        draft.outcome = Some(if refused.is_none() { "ok" } else { "refused" });
        if let Some(why) = refused {
            draft = draft.with("why", why);
        }
        self.audit.append(draft).await?;
        note_in_force(&self.audit, &self.vault, &self.live).await
    }
}

/// Does it on a thread of its own: what keeps the revoked out waits for no place among the work that callers have asked for.
/// `None` if it did not come to an end.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let work = move || drop(done.send(work()));
    std::thread::Builder::new().name("reload".to_owned()).spawn(work).ok()?;
    result.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_nobody_elses_work() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().expect("a runtime");
        let (end, ended) = std::sync::mpsc::channel::<()>();
        runtime.spawn_blocking(move || ended.recv());
        let found = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), apart(|| 7)).await });
        assert_eq!(found.ok().flatten(), Some(7));
        drop(end);
        assert_eq!(runtime.block_on(apart(|| -> u8 { std::panic::resume_unwind(Box::new(())) })), None);
    }
}
