//! A store with many rows serves while they are counted, and what is missing among them is noticed.

use super::super::count::Count;
use super::super::group::Group;
use super::super::log::Log;
use super::super::writer::{COUNTED_AT_OPENING, Opened, open_log};
use super::*;
use crate::storage::BATCH_WRITES;

/// More than are counted before a log is believed.
const ROWS: usize = COUNTED_AT_OPENING + 4_000;

pub(super) fn name(number: usize) -> String {
    format!("many-{number:06}")
}

/// Puts more rows into a store than an opening counts.
pub(super) async fn fill(store: &SledStore) {
    let numbers: Vec<_> = (0..ROWS).collect();
    for chunk in numbers.chunks(BATCH_WRITES) {
        let batch = chunk.iter().fold(Batch::new(), |batch, number| batch.put(key(&name(*number)), vec![7; 40]));
        store.commit(batch).await.expect("a batch");
    }
}

async fn filled() -> TempDir {
    let folder = folder();
    let store = create(folder.path());
    fill(&store).await;
    store.close().await;
    folder
}

/// Opens a log and counts no further.
pub(super) fn opened(path: &Path) -> (Folder, Opened) {
    let folder = Folder::existing(path).expect("a store");
    let disk = Disk::open(&folder, 0).expect("a log");
    let opened = open_log(&folder, &disk, &options(), Mode::OpenExisting).expect("a log");
    (folder, opened)
}

/// The rest of a count.
pub(super) fn finish(mut count: Count, log: &Log, ledger: &Ledger) -> Result<u64, StoreError> {
    while !count.go_on(log, ledger, 1_000)? {}
    Ok(count.rows())
}

#[tokio::test]
async fn an_opening_looks_at_no_more_than_the_first_rows() {
    let directory = filled().await;
    let (_folder, Opened { log, ledger, count }) = opened(directory.path());
    let count = count.expect("rows are left");
    assert_eq!(count.rows(), COUNTED_AT_OPENING as u64);
    assert_eq!(finish(count, &log, &ledger).expect("none is missing"), ROWS as u64);
}

/// What is changed before and behind the place where the count stands, some of it twice in one group.
#[tokio::test]
async fn changes_meanwhile_do_not_confuse_the_count() {
    let directory = filled().await;
    let (_folder, Opened { log, mut ledger, count }) = opened(directory.path());
    let mut count = count.expect("rows are left");
    let (counted, uncounted) = (key(&name(1)), key(&name(ROWS - 1)));
    for round in 0..6 {
        let mut group = Group::after(ledger);
        let batches = [
            Batch::new().put(counted.clone(), vec![1]).put(uncounted.clone(), vec![1]),
            Batch::new().delete(counted.clone()).delete(uncounted.clone()),
            Batch::new().put(key(&format!("{} new", name(2 + round))), vec![2]).put(key(&format!("z-{round}")), vec![2]),
        ];
        for batch in batches.iter().take(1 + round % 3) {
            group.decide(&log, batch).expect("nothing is expected");
        }
        group.pending.record(group.ledger);
        log.write(std::mem::take(&mut group.pending)).expect("a write");
        ledger = group.ledger;
        count.follow(&group.replacements);
        assert!(!count.go_on(&log, &ledger, 100).expect("a count"), "rows are left");
    }
    finish(count, &log, &ledger).expect("none is missing");
}

/// Recovery can drop rows anywhere, with nobody told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_missing_behind_the_first_ends_the_store() {
    let directory = filled().await;
    let (folder, Opened { log, .. }) = opened(directory.path());
    let mut unrecorded = Pending::default();
    unrecorded.delete(&key(&name(ROWS - 2)));
    log.write(unrecorded).expect("a write");
    drop((log, folder));

    let store = open(directory.path());
    let mut conditions = store.conditions();
    let condition = timeout(Duration::from_secs(60), conditions.wait_for(Condition::is_fatal)).await.expect("soon").expect("it is there");
    let told = format!("{condition:?}");
    assert!(told.contains(&format!("{} rows of {ROWS} are there", ROWS - 1)), "{told}");
    drop(condition);
    assert!(matches!(store.get(&[key(&name(0))]).await, Err(StoreError::Fatal(_))));
}
