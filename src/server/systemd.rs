//! What systemd hands over and wants to hear: the socket that it opened, that the server is ready, whether the vault is open,
//! and a sign of life. Where there is no systemd, none of it happens.

use std::net::SocketAddr;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{ServerError, work};

/// The listener that systemd opened for this process, if it opened one. To be called once, while there is one thread: what
/// it was told by is taken out of the environment.
///
/// # Errors
/// More than one socket was passed, or one that is not TCP.
pub fn passed_listener() -> Result<Option<std::net::TcpListener>, ServerError> {
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => Ok(None),
        1 => passed.take_tcp_listener(0).map_err(|error| ServerError::Passed(error.to_string())),
        more => Err(ServerError::Passed(format!("{more} sockets were passed"))),
    }
}

/// Takes what was passed, if it listens where the configuration says.
pub(super) fn adopt(passed: std::net::TcpListener, wanted: SocketAddr) -> Result<TcpListener, ServerError> {
    let failed = |source| ServerError::Listen { address: wanted, source };
    let found = passed.local_addr().map_err(failed)?;
    // Two places that name an address must name the same one: firewalls and people go by either.
    let any_port = wanted.port() == 0;
    if found.ip() != wanted.ip() || (found.port() != wanted.port() && !any_port) {
        return Err(ServerError::PassedElsewhere { found, wanted });
    }
    passed.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(passed).map_err(failed)
}

/// Says that the server serves, and from then on whether the vault is open, that the server ends, and as often as it is
/// asked for that the runtime still turns. Goes on while the runtime does.
pub(super) async fn tell(mut openings: watch::Receiver<bool>, ending: watch::Receiver<bool>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    say(&[NotifyState::Ready, condition(*openings.borrow_and_update())]);
    // Twice as often as must be, so that one that is late does no harm.
    let mut signs = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()).map(|patience| {
        let mut signs = interval((patience / 2).max(Duration::from_millis(1)));
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        signs
    });
    let mut ended = std::pin::pin!(work::ended(ending));
    let mut serving = true;
    loop {
        tokio::select! {
            () = next(signs.as_mut()) => say(&[NotifyState::Watchdog]),
            changed = openings.changed() => match changed {
                Ok(()) => say(&[condition(*openings.borrow_and_update())]),
                Err(_) => return,
            },
            () = &mut ended, if serving => {
                serving = false;
                say(&[NotifyState::Stopping]);
            }
        }
    }
}

async fn next(signs: Option<&mut tokio::time::Interval>) {
    match signs {
        Some(signs) => drop(signs.tick().await),
        None => std::future::pending().await,
    }
}

/// The line that `systemctl status` shows.
const fn condition(open: bool) -> NotifyState<'static> {
    NotifyState::Status(if open { "open" } else { "sealed: a custodian opens it with `strongroom unseal`" })
}

fn say(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
