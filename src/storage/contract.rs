//! The contract: what every store does, whatever it is made of. One test a clause and store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A fresh store, and the folder that it may need.
struct Fixture {
    store: Arc<dyn Store>,
    _folder: Option<TempDir>,
}

impl Fixture {
    fn memory() -> Self {
        Self { store: Arc::new(MemoryStore::new()), _folder: None }
    }

    fn sled() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = SledOptions { reserve_bytes: 0, ..SledOptions::default() };
        let store = SledStore::open(folder.path(), &options, Mode::CreateNew).expect("a new store");
        Self { store: Arc::new(store), _folder: Some(folder) }
    }
}

macro_rules! contract {
    ($($clause:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                super::$clause(&super::Fixture::memory().store).await;
            })+
        }
        mod sled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let fixture = super::Fixture::sled();
                super::$clause(&fixture.store).await;
            })+
        }
    };
}

contract! {
    what_is_put_is_read,
    one_commit_is_one_revision,
    revisions_only_grow,
    a_batch_whose_expectation_fails_changes_nothing,
    expectations_are_exact,
    of_many_inserts_one_succeeds,
    of_many_replacements_each_revision_is_replaced_once,
    a_scan_is_ordered_bounded_and_goes_on,
    a_scan_keeps_to_its_prefix,
    bounds_hold_at_the_edge,
    senseless_batches_are_refused,
    a_watcher_sees_what_is_committed_under_its_prefix,
    a_watcher_of_the_unheld_past_resyncs,
    of_a_quiet_batch_no_watcher_is_told,
    everything_is_every_row_and_the_key_of_none,
    a_standstill_is_one_revision,
    a_standstill_that_lasts_too_long_lets_the_store_go_on,
    status_tells_the_durable_revision,
    a_closed_store_says_so,
}

fn key(text: &str) -> Key {
    Key::new(text.as_bytes()).expect("a test's own key")
}

async fn put(store: &Arc<dyn Store>, name: &str, value: &str) -> Revision {
    store.commit(Batch::new().put(key(name), value.as_bytes().to_vec())).await.expect("a put")
}

async fn get(store: &Arc<dyn Store>, name: &str) -> Option<Row> {
    store.get(&[key(name)]).await.expect("a get").pop().expect("one answer a key")
}

async fn revision_of(store: &Arc<dyn Store>, name: &str) -> Revision {
    get(store, name).await.map_or(Revision::ABSENT, |row| row.revision)
}

fn row(revision: Revision, value: &str) -> Row {
    Row { revision, value: value.as_bytes().to_vec().into() }
}

async fn what_is_put_is_read(store: &Arc<dyn Store>) {
    assert_eq!(get(store, "a").await, None);
    let first = put(store, "a", "one").await;
    let empty = put(store, "b", "").await;
    let long = "x".repeat(VALUE_BYTES);
    let longest = put(store, "c", &long).await;
    let rows = store.get(&[key("c"), key("absent"), key("a"), key("b")]).await.expect("a get");
    assert_eq!(rows, [Some(row(longest, &long)), None, Some(row(first, "one")), Some(row(empty, ""))]);
    let second = put(store, "a", "two").await;
    assert_eq!(get(store, "a").await, Some(row(second, "two")));
    store.commit(Batch::new().delete(key("a"))).await.expect("a delete");
    assert_eq!(get(store, "a").await, None);
    assert_eq!(store.get(&[]).await.expect("an empty get"), []);
}

async fn one_commit_is_one_revision(store: &Arc<dyn Store>) {
    put(store, "gone", "x").await;
    let batch = Batch::new().put(key("a"), vec![1]).put(key("b"), vec![2]).delete(key("gone"));
    let revision = store.commit(batch).await.expect("a batch");
    assert_eq!([revision_of(store, "a").await, revision_of(store, "b").await], [revision, revision]);
    assert_eq!(get(store, "gone").await, None);
}

async fn revisions_only_grow(store: &Arc<dyn Store>) {
    let mut last = Revision::ABSENT;
    for round in 0..20 {
        let change = if round % 3 == 2 { Batch::new().delete(key("a")) } else { Batch::new().put(key("a"), vec![round]) };
        let revision = store.commit(change).await.expect("a commit");
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
}

async fn a_batch_whose_expectation_fails_changes_nothing(store: &Arc<dyn Store>) {
    let a = put(store, "a", "one").await;
    let batch = Batch::new()
        .expecting(key("a"), a)
        .expecting(key("b"), Revision::from_number(99))
        .put(key("a"), b"two".to_vec())
        .put(key("c"), b"three".to_vec());
    let error = store.commit(batch).await.expect_err("b is absent");
    assert!(matches!(error, CommitError::Conflict(conflicting) if conflicting == key("b")));
    assert_eq!(get(store, "a").await, Some(row(a, "one")));
    assert_eq!(get(store, "c").await, None);
    assert_eq!(store.status().durable, a);
}

async fn expectations_are_exact(store: &Arc<dyn Store>) {
    let expecting = |revision| store.commit(Batch::new().expecting(key("a"), revision).put(key("a"), vec![0]));
    assert!(matches!(expecting(Revision::from_number(1)).await, Err(CommitError::Conflict(_))));
    let first = expecting(Revision::ABSENT).await.expect("it is absent");
    assert!(matches!(expecting(Revision::ABSENT).await, Err(CommitError::Conflict(_))));
    let second = expecting(first).await.expect("it is at the first revision");
    assert!(matches!(expecting(first).await, Err(CommitError::Conflict(_))));
    assert!(matches!(expecting(second.next()).await, Err(CommitError::Conflict(_))));
    store.commit(Batch::new().delete(key("a"))).await.expect("a delete");
    assert!(matches!(expecting(second).await, Err(CommitError::Conflict(_))));
    expecting(Revision::ABSENT).await.expect("it is absent again");
}

// immune: row-20
async fn of_many_inserts_one_succeeds(store: &Arc<dyn Store>) {
    for round in 0..10 {
        let name = format!("once-{round}");
        let tries: Vec<_> = (0..64)
            .map(|number| {
                let (store, name) = (Arc::clone(store), name.clone());
                let batch = Batch::new().expecting(key(&name), Revision::ABSENT).put(key(&name), vec![number]);
                tokio::spawn(async move { store.commit(batch).await.is_ok() })
            })
            .collect();
        let mut successes = 0;
        for one in tries {
            successes += usize::from(one.await.expect("no panic"));
        }
        assert_eq!(successes, 1);
    }
}

async fn of_many_replacements_each_revision_is_replaced_once(store: &Arc<dyn Store>) {
    put(store, "counter", "0").await;
    let add_one = |store: Arc<dyn Store>| async move {
        loop {
            let row = get(&store, "counter").await.expect("it was put");
            let count: u32 = std::str::from_utf8(&row.value).expect("text").parse().expect("a number");
            let batch = Batch::new().expecting(key("counter"), row.revision).put(key("counter"), (count + 1).to_string().into_bytes());
            match store.commit(batch).await {
                Ok(_) => return,
                Err(CommitError::Conflict(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
    };
    let adders: Vec<_> = (0..16).map(|_| tokio::spawn(add_one(Arc::clone(store)))).collect();
    for adder in adders {
        adder.await.expect("no panic");
    }
    assert_eq!(&*get(store, "counter").await.expect("it was put").value, b"16");
}

async fn a_scan_is_ordered_bounded_and_goes_on(store: &Arc<dyn Store>) {
    for number in (0..25).rev() {
        put(store, &format!("p{number:02}"), "x").await;
    }
    let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = store.scan(&key("p"), after.as_ref(), PageSize::new(10).expect("10 rows")).await.expect("a scan");
        seen.extend(page.rows.iter().map(|(key, _)| key.clone()));
        after = seen.last().cloned();
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..25).map(|number| key(&format!("p{number:02}"))).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    let exactly = store.scan(&key("p"), None, PageSize::new(25).expect("25 rows")).await.expect("a scan");
    assert!(!exactly.more);
}

async fn a_scan_keeps_to_its_prefix(store: &Arc<dyn Store>) {
    for name in ["a", "p", "p/1", "p/2", "p0", "q"] {
        put(store, name, name).await;
    }
    let names = |page: Page| page.rows.into_iter().map(|(key, _)| String::from_utf8(key.as_bytes().to_vec()).expect("text"));
    let scan = |prefix: &'static str, after: Option<&'static str>| async move {
        store.scan(&key(prefix), after.map(key).as_ref(), PageSize::MAX).await.expect("a scan")
    };
    assert_eq!(names(scan("p", None).await).collect::<Vec<_>>(), ["p", "p/1", "p/2", "p0"]);
    assert_eq!(names(scan("p/", None).await).collect::<Vec<_>>(), ["p/1", "p/2"]);
    assert_eq!(names(scan("p", Some("p/1")).await).collect::<Vec<_>>(), ["p/2", "p0"]);
    assert_eq!(names(scan("p", Some("a")).await).collect::<Vec<_>>(), ["p", "p/1", "p/2", "p0"]);
    assert_eq!(names(scan("p", Some("q")).await).count(), 0);
    assert_eq!(names(scan("x", None).await).count(), 0);
}

async fn bounds_hold_at_the_edge(store: &Arc<dyn Store>) {
    let too_large = |result: Result<Revision, CommitError>| matches!(result, Err(CommitError::Refused(StoreError::BatchTooLarge(_))));
    let expectations = |count: usize| (0..count).fold(Batch::new(), |batch, n| batch.expecting(key(&format!("e{n}")), Revision::ABSENT));
    let writes = |count: usize| (0..count).fold(Batch::new(), |batch, n| batch.put(key(&format!("w{n}")), vec![]));
    assert!(store.commit(expectations(BATCH_EXPECTATIONS).put(key("a"), vec![])).await.is_ok());
    assert!(too_large(store.commit(expectations(BATCH_EXPECTATIONS + 1).put(key("a"), vec![])).await));
    assert!(store.commit(writes(BATCH_WRITES)).await.is_ok());
    assert!(too_large(store.commit(writes(BATCH_WRITES + 1)).await));

    assert!(store.commit(sized_batch(BATCH_BYTES)).await.is_ok());
    assert!(too_large(store.commit(sized_batch(BATCH_BYTES + 1)).await));
    let value = |bytes: usize| store.commit(Batch::new().put(key("a"), vec![7; bytes]));
    assert!(value(VALUE_BYTES).await.is_ok());
    assert!(
        matches!(value(VALUE_BYTES + 1).await, Err(CommitError::Refused(StoreError::RowTooLarge { bytes })) if bytes == VALUE_BYTES + 1)
    );

    assert_eq!(store.get(&vec![key("absent"); GET_KEYS]).await.expect("as many as may be").len(), GET_KEYS);
    assert!(matches!(store.get(&vec![key("absent"); GET_KEYS + 1]).await, Err(StoreError::BatchTooLarge(_))));
}

/// Of this many bytes, one expectation among them.
fn sized_batch(bytes: usize) -> Batch {
    let mut batch = Batch::new().expecting(key("expected"), Revision::ABSENT);
    for number in 0.. {
        let left = bytes - batch.bytes() - "00".len();
        batch = batch.put(key(&format!("{number:02}")), vec![0; left.min(60_000)]);
        if left <= 60_000 {
            break;
        }
    }
    assert_eq!(batch.bytes(), bytes);
    batch
}

async fn senseless_batches_are_refused(store: &Arc<dyn Store>) {
    for batch in [Batch::new(), Batch::new().expecting(key("a"), Revision::ABSENT), Batch::new().put(key("a"), vec![]).delete(key("a"))] {
        assert!(matches!(store.commit(batch).await, Err(CommitError::Refused(StoreError::BatchSenseless(_)))));
    }
    assert_eq!(store.status().durable, Revision::ABSENT);
}

async fn a_watcher_sees_what_is_committed_under_its_prefix(store: &Arc<dyn Store>) {
    let start = put(store, "p/0", "x").await;
    let mut watcher = store.watch(&key("p/"), start).await.expect("a watcher");
    put(store, "other", "x").await;
    let one = put(store, "p/1", "x").await;
    let batch = Batch::new().delete(key("p/0")).put(key("p/2"), vec![]).put(key("q"), vec![]);
    let two = store.commit(batch).await.expect("a batch");
    let expected = [(one, "p/1", ChangeKind::Put), (two, "p/0", ChangeKind::Delete), (two, "p/2", ChangeKind::Put)];
    let expected: Vec<_> = expected.into_iter().map(|(revision, name, kind)| Change { revision, key: key(name), kind }).collect();
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        match tokio::time::timeout(Duration::from_secs(10), watcher.next()).await.expect("an event") {
            ChangeEvent::Changed(changes) => seen.extend(changes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, expected);
}

async fn a_watcher_of_the_unheld_past_resyncs(store: &Arc<dyn Store>) {
    let newest = put(store, "p", "x").await;
    let mut ahead = store.watch(&key("p"), newest.next()).await.expect("a watcher");
    assert_eq!(ahead.next().await, ChangeEvent::Resync(newest));
}

async fn of_a_quiet_batch_no_watcher_is_told(store: &Arc<dyn Store>) {
    let start = put(store, "p/1", "x").await;
    let mut watcher = store.watch(&key("p/"), start).await.expect("a watcher");
    let loud = put(store, "p/1", "loud").await;
    let quiet = store.commit(Batch::new().put(key("p/1"), b"quiet".to_vec()).quietly()).await.expect("a quiet batch");
    assert_eq!(get(store, "p/1").await, Some(row(quiet, "quiet")), "the revision changes all the same");
    assert!(watcher.holds_change(&key("p/1"), start) && !watcher.holds_change(&key("p/1"), loud));
    assert!(!watcher.holds_change(&key("p/2"), start));
    let last = put(store, "p/2", "x").await;
    let change = |revision, name| Change { revision, key: key(name), kind: ChangeKind::Put };
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match tokio::time::timeout(Duration::from_secs(10), watcher.next()).await.expect("an event") {
            ChangeEvent::Changed(changes) => seen.extend(changes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [change(loud, "p/1"), change(last, "p/2")]);
    // Half of all that a feed remembers, many times over: nobody falls behind for it.
    for _ in 0..20 {
        let many = (0..BATCH_WRITES).fold(Batch::new(), |batch, number| batch.put(key(&format!("p/{number}")), vec![]));
        store.commit(many.quietly()).await.expect("a quiet batch");
    }
    assert_eq!(watcher.try_next(), None);
    assert_eq!(watcher.position(), store.status().durable);
}

async fn status_tells_the_durable_revision(store: &Arc<dyn Store>) {
    assert_eq!(store.status().condition, Condition::Healthy);
    let revision = put(store, "a", "x").await;
    assert_eq!(store.status().durable, revision);
}

async fn a_closed_store_says_so(store: &Arc<dyn Store>) {
    put(store, "a", "x").await;
    let mut watcher = store.watch(&key("a"), store.status().durable).await.expect("a watcher");
    store.close().await;
    store.close().await;
    assert_eq!(watcher.next().await, ChangeEvent::Closed);
    assert_eq!(store.status().condition, Condition::Closed);
    assert!(matches!(store.get(&[key("a")]).await, Err(StoreError::Closed)));
    assert!(matches!(store.scan(&key("a"), None, PageSize::MAX).await, Err(StoreError::Closed)));
    assert!(matches!(store.watch(&key("a"), Revision::ABSENT).await, Err(StoreError::Closed)));
    let late = store.commit(Batch::new().put(key("a"), vec![])).await;
    assert!(matches!(late, Err(CommitError::Refused(StoreError::Closed))));
}

/// A batch over a few short keys.
#[derive(Debug, Clone)]
struct Step(BTreeMap<Vec<u8>, Touch>);

/// What a batch does with one row: expects it rightly, wrongly or not at all; puts a value or deletes it.
#[derive(Debug, Clone)]
struct Touch {
    expected: Option<bool>,
    value: Option<Vec<u8>>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(255)], 1..4);
    let expected = proptest::option::of(proptest::bool::weighted(0.9));
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let touch = (expected, value).prop_map(|(expected, value)| Touch { expected, value });
    proptest::collection::vec(proptest::collection::btree_map(key, touch, 1..6).prop_map(Step), 1..40)
}

/// Does one step to both; an expectation is right or wrong as the step says.
async fn take(step: Step, model: &mut BTreeMap<Key, Row>, store: &Arc<dyn Store>) {
    let (mut batch, mut must_conflict) = (Batch::new(), false);
    for (bytes, Touch { expected, value }) in &step.0 {
        let key = Key::new(bytes.clone()).expect("1 to 3 bytes");
        let actual = model.get(&key).map_or(Revision::ABSENT, |row| row.revision);
        batch = match expected {
            Some(true) => batch.expecting(key.clone(), actual),
            Some(false) => batch.expecting(key.clone(), actual.next()),
            None => batch,
        };
        must_conflict |= *expected == Some(false);
        batch = match value {
            Some(value) => batch.put(key, value.clone()),
            None => batch.delete(key),
        };
    }
    match store.commit(batch.clone()).await {
        Ok(revision) => {
            assert!(!must_conflict);
            for (key, write) in batch.writes() {
                match write {
                    Write::Put(value) => model.insert(key.clone(), Row { revision, value: value.clone() }),
                    Write::Delete => model.remove(key),
                };
            }
        }
        Err(CommitError::Conflict(_)) => assert!(must_conflict),
        Err(other) => panic!("{other}"),
    }
}

async fn all_rows(store: &Arc<dyn Store>) -> BTreeMap<Key, Row> {
    let mut rows = BTreeMap::new();
    for first in [0, b'a', 255] {
        let prefix = Key::new(vec![first]).expect("1 byte");
        rows.extend(store.scan(&prefix, None, PageSize::MAX).await.expect("a scan").rows);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn stores_do_what_a_map_does(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            for fixture in [Fixture::memory(), Fixture::sled()] {
                let mut model = BTreeMap::new();
                for step in steps.clone() {
                    take(step, &mut model, &fixture.store).await;
                }
                assert_eq!(all_rows(&fixture.store).await, model);
            }
        });
    }
}

async fn everything_is_every_row_and_the_key_of_none(store: &Arc<dyn Store>) {
    let everything = Key::everything();
    let mut changes = store.watch(&everything, Revision::ABSENT).await.expect("a watcher");
    for name in ["a", "b", "\u{0}c"] {
        put(store, name, "1").await;
    }
    let page = store.scan(&everything, None, PageSize::MAX).await.expect("a page");
    let keys: Vec<_> = page.rows.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, [key("\u{0}c"), key("a"), key("b")]);
    let rest = store.scan(&everything, Some(&key("a")), PageSize::MAX).await.expect("a page");
    assert_eq!(rest.rows.len(), 1);
    assert_eq!(store.get(std::slice::from_ref(&everything)).await.expect("a get"), [None]);
    let ChangeEvent::Changed(told) = changes.next().await else { panic!("changes were made") };
    assert!(!told.is_empty());
    let refused = [
        Batch::new().put(everything.clone(), b"1".to_vec()),
        Batch::new().delete(everything.clone()),
        Batch::new().expecting(everything, Revision::ABSENT).put(key("d"), b"1".to_vec()),
    ];
    for batch in refused {
        assert!(matches!(store.commit(batch).await, Err(CommitError::Refused(StoreError::BatchSenseless(_)))));
    }
}

/// While somebody writes as fast as they can, each standstill reads the two rows of one commit.
async fn a_standstill_is_one_revision(store: &Arc<dyn Store>) {
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..400_u32 {
                let value = number.to_be_bytes().to_vec();
                store.commit(Batch::new().put(key("one"), value.clone()).put(key("two"), value)).await.expect("a commit");
            }
        })
    };
    for _ in 0..20 {
        let still = store.stand_still().await.expect("a standstill");
        let one = still.get(&[key("one")]).await.expect("a get").pop().expect("one answer");
        tokio::time::sleep(Duration::from_millis(1)).await;
        let two = still.get(&[key("two")]).await.expect("a get").pop().expect("one answer");
        assert_eq!(one, two);
        assert!(one.is_none_or(|row| row.revision == still.revision()), "and the last commit is among what it holds");
        let many = vec![key("one"); GET_KEYS + 1];
        assert!(matches!(still.get(&many).await, Err(StoreError::BatchTooLarge(_))));
        drop(still);
        tokio::task::yield_now().await;
    }
    writer.await.expect("no panic");
    let still = store.stand_still().await.expect("a standstill");
    assert_eq!(still.revision(), store.status().durable);
}

async fn a_standstill_that_lasts_too_long_lets_the_store_go_on(store: &Arc<dyn Store>) {
    put(store, "a", "1").await;
    let still = store.stand_still().await.expect("a standstill");
    put(store, "a", "2").await;
    match still.get(&[key("a")]).await {
        Ok(rows) => assert_eq!(rows[0].as_ref().map(|row| row.value.to_vec()), Some(b"1".to_vec()), "as it stood"),
        Err(error) => assert!(matches!(error, StoreError::Full(_)), "{error}"),
    }
}
