//! An answer that costs something, made once for all who ask within a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

/// The newest answer, for so long.
pub(super) struct Shared {
    good_for: Duration,
    newest: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Shared {
    pub(super) fn new(good_for: Duration) -> Self {
        Self { good_for, newest: Arc::default() }
    }

    /// The newest answer if it is still good, else a new one. It is made where it may block, and never twice at once: who
    /// asks meanwhile waits for it, and if whoever began it goes away, it is finished all the same, so that a disk that hangs
    /// holds one thread and not one for each who asked.
    ///
    /// # Errors
    /// Making it failed: it panicked, or the runtime is ending.
    pub(super) async fn get(&self, make: impl FnOnce() -> String + Send + 'static) -> Result<Bytes, JoinError> {
        let mut newest = self.newest.clone().lock_owned().await;
        if let Some((made, answer)) = &*newest
            && made.elapsed() < self.good_for
        {
            return Ok(answer.clone());
        }
        spawn_blocking(move || {
            let answer = Bytes::from(make());
            *newest = Some((Instant::now(), answer.clone()));
            answer
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_made_once_for_all_who_ask_at_once_and_anew_when_it_is_old() {
        for (good_for, expected) in [(LONG, 1), (Duration::ZERO, 100)] {
            let (shared, made) = (Arc::new(Shared::new(good_for)), Arc::new(AtomicUsize::new(0)));
            let asking = (0..100).map(|_| {
                let (shared, made) = (shared.clone(), made.clone());
                tokio::spawn(async move { shared.get(move || made.fetch_add(1, Ordering::Relaxed).to_string()).await })
            });
            for asked in asking.collect::<Vec<_>>() {
                let answer = asked.await.expect("no panic").expect("made");
                assert!(good_for != LONG || *answer == *b"0");
            }
            assert_eq!(made.load(Ordering::Relaxed), expected, "{good_for:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_goes_away_meanwhile_makes_nobody_begin_again() {
        let shared = Arc::new(Shared::new(LONG));
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let own = shared.clone();
        let first = tokio::spawn(async move {
            let make = move || {
                begun.send(()).expect("the test waits");
                may_go_on.recv().expect("the test says so");
                "first".to_owned()
            };
            own.get(make).await.map(drop)
        });
        tokio::task::spawn_blocking(move || has_begun.recv()).await.expect("no panic").expect("begun");
        first.abort();
        assert!(first.await.expect_err("it was ended").is_cancelled());
        let second = {
            let shared = shared.clone();
            tokio::spawn(async move { shared.get(|| "second".to_owned()).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!second.is_finished(), "it waits for what was begun");
        go_on.send(()).expect("it waits");
        assert_eq!(second.await.expect("no panic").expect("made"), "first");
    }

    #[tokio::test]
    async fn after_a_panic_it_is_made_anew() {
        let shared = Shared::new(LONG);
        assert!(shared.get(|| panic!("a bug")).await.expect_err("it failed").is_panic());
        assert_eq!(shared.get(|| "anew".to_owned()).await.expect("made"), "anew");
    }
}
