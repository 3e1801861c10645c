//! How many rows lie under which key version. They are counted by looking at all of them, when the vault was opened, once a day,
//! and before and after a rewrap: writes keep no count, which would cost each of them something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::model::{NamespaceId, Timestamp};
use crate::storage::{Key, PageSize};

use super::super::row::{self, Head};
use super::super::{Error, Open};

/// How old a count may become.
const COUNTED_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How often it is looked whether there is something to count.
const LOOKED_EVERY: Duration = Duration::from_secs(10);
/// After each page, so that counting takes a small part of a processor and of the store's cache.
const PAUSE: Duration = Duration::from_millis(20);

/// No version has this number.
const UNREADABLE: u32 = 0;

/// The rows of a namespace, by the key version that they are under.
#[derive(Debug, Clone)]
pub(in crate::vault) struct Counted {
    /// When the counting began: what was written since may be counted or not.
    pub(in crate::vault) at: Timestamp,
    since: Instant,
    rows: BTreeMap<u32, u64>,
}

impl Counted {
    /// The rows under this version.
    pub(in crate::vault) fn under(&self, version: u32) -> u64 {
        self.rows.get(&version).copied().unwrap_or(0)
    }

    /// What is no row at all.
    pub(in crate::vault) fn unreadable(&self) -> u64 {
        self.under(UNREADABLE)
    }

    pub(in crate::vault) fn total(&self) -> u64 {
        self.rows.values().sum()
    }
}

impl Open {
    /// Counts a namespace's rows, with a pause after each page.
    pub(in crate::vault) async fn count_rows(&self, id: NamespaceId, pause: Duration) -> Result<Counted, Error> {
        let mut counted = Counted { at: self.clock.now(), since: Instant::now(), rows: BTreeMap::new() };
        for prefix in [row::heads_prefix(id), row::all_versions_prefix(id)] {
            let mut after: Option<Key> = None;
            loop {
                let page = self.rows.store.scan(&prefix, after.as_ref(), PageSize::MAX).await?;
                for (_, row) in &page.rows {
                    // What is no row at all is found, and told, by a rewrap.
                    let version = Head::decode(&row.value).map_or(UNREADABLE, |head| head.kek_version);
                    *counted.rows.entry(version).or_default() += 1;
                }
                match page.rows.last() {
                    Some((last, _)) if page.more => after = Some(last.clone()),
                    _ => break,
                }
                sleep(pause).await;
                tokio::task::yield_now().await;
            }
        }
        Ok(counted)
    }

    /// Counts what was not counted for a day, one namespace after the other. Never ends.
    pub(super) async fn keep_counts(self: &Arc<Self>) {
        loop {
            let ids: Vec<_> = self.namespaces.load().keys().copied().collect();
            for id in ids {
                let is_fresh = |counted: Counted| counted.since.elapsed() < COUNTED_EVERY;
                if self.rewraps.counted(id).is_some_and(is_fresh) {
                    continue;
                }
                match self.count_rows(id, PAUSE).await {
                    Ok(counted) => self.rewraps.note_count(id, counted),
                    Err(error) => tracing::warn!(%error, "rows could not be counted"),
                }
            }
            sleep(LOOKED_EVERY).await;
        }
    }
}
