//! Places for connections. There are few, and each is anybody's who connects: so whoever has sat the longest gives way.

use std::collections::VecDeque;
use std::future::Future;

use tokio::task::JoinHandle;

/// Connections under way, the oldest first.
pub(super) struct Places {
    most: usize,
    held: VecDeque<JoinHandle<()>>,
}

impl Places {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, held: VecDeque::new() }
    }

    /// Begins with a connection. If all places are taken, the oldest connection ends, whatever it was about: an answer takes
    /// milliseconds, so that one is idle.
    pub(super) fn take(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.held.retain(|held| !held.is_finished());
        while self.held.len() >= self.most
            && let Some(oldest) = self.held.pop_front()
        {
            oldest.abort();
        }
        self.held.push_back(tokio::spawn(connection));
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    /// Told by the count of references: a connection that has ended has let go of its own.
    async fn is_held(connection: &Arc<()>, expected: bool) -> bool {
        for _ in 0..1_000 {
            if (Arc::strong_count(connection) > 1) == expected {
                return expected;
            }
            tokio::task::yield_now().await;
        }
        !expected
    }

    #[tokio::test]
    async fn the_oldest_gives_way_and_who_has_ended_takes_no_place() {
        let mut places = Places::new(3);
        let mut sit = |connection: &Arc<()>| {
            let own = connection.clone();
            places.take(async move {
                let _own = own;
                pending().await
            });
        };
        let all: Vec<_> = (0..5).map(|_| Arc::new(())).collect();
        all.iter().for_each(&mut sit);
        for (number, connection) in all.iter().enumerate() {
            assert_eq!(is_held(connection, number >= 2).await, number >= 2, "{number}");
        }

        let mut places = Places::new(2);
        let idle = Arc::new(());
        let own = idle.clone();
        places.take(async move {
            let _own = own;
            pending().await
        });
        for _ in 0..10 {
            let quick = Arc::new(());
            let own = quick.clone();
            places.take(async move { drop(own) });
            assert!(!is_held(&quick, false).await);
        }
        assert!(is_held(&idle, true).await, "there was always a free place beside it");
    }
}
