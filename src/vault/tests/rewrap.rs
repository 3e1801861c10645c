//! Every data key under a new key version, while others read and write, and whatever interrupts it.

use super::*;
use crate::gate::{AnyNamespace, BelowAt, InNamespace, SecretAt};
use crate::model::NamespaceId;
use crate::vault::rewrap::halt;

const SECRETS: usize = 24;
const LONG: Duration = Duration::from_secs(30);
/// Ends a background task when it is dropped, as the end of a process does.
struct Working(tokio::task::JoinHandle<()>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn shop() -> InNamespace {
    InNamespace("shop".parse().expect("valid"))
}

fn order(rate_per_s: u32) -> RewrapOrder {
    RewrapOrder { reencrypt: false, rate_per_s }
}

/// The key version that a row of a secret is under, and its wrapped data key.
fn wrapped(row: &Row) -> (u32, Vec<u8>) {
    let head = row::Head::decode(&row.value).expect("a head");
    (head.kek_version, head.wrapped_dek.to_vec())
}

impl Fixture {
    /// Secrets with two versions each, under key version 1; whoever is `owner` may rotate.
    async fn with_secrets(store: Arc<dyn Store>) -> Arc<Self> {
        let fixture = Arc::new(Self::open_over(store).await);
        fixture.bind_on_the_vault("key-admin").await.expect("bound");
        for number in 0..SECRETS {
            let at = format!("shop/s/{number}");
            let stored = fixture.create(&at, &format!("old {number}"), None).await.expect("stored");
            fixture.update(&at, stored.info.revision, &format!("new {number}"), None).await.expect("updated");
        }
        fixture
    }

    fn work(self: &Arc<Self>) -> Working {
        let fixture = self.clone();
        Working(tokio::spawn(async move { fixture.vault.keep_keys(&fixture.gate).await }))
    }

    fn shop_id(&self) -> NamespaceId {
        *self.vault.open().expect("open").namespaces.load().keys().next().expect("one")
    }

    async fn rotate_and_rewrap(&self, order: RewrapOrder) -> RewrapInfo {
        let rotation = Rotation { expected_active: 0, rewrap: Some(order) };
        let rotated = self
            .run(owner(), Method::RotateKey, shop(), move |vault, permit| async move { vault.open()?.rotate_key(permit, rotation).await });
        rotated.await.expect("rotated").1.expect("ordered")
    }

    async fn start(&self, order: RewrapOrder) -> Result<RewrapInfo, Error> {
        self.run(owner(), Method::StartRewrap, shop(), move |vault, permit| async move { vault.open()?.start_rewrap(permit, order).await })
            .await
    }

    async fn pause(&self) -> Result<RewrapInfo, Error> {
        self.run(owner(), Method::PauseRewrap, shop(), |vault, permit| async move { vault.open()?.pause_rewrap(permit).await }).await
    }

    async fn resume(&self, rate: u32) -> Result<RewrapInfo, Error> {
        self.run(owner(), Method::ResumeRewrap, shop(), move |vault, permit| async move { vault.open()?.resume_rewrap(permit, rate).await })
            .await
    }

    fn info(&self) -> RewrapInfo {
        self.vault.open().expect("open").rewrap_info(self.shop_id()).expect("there is one")
    }

    async fn until(&self, what: impl Fn(&RewrapInfo) -> bool) -> RewrapInfo {
        let found = async {
            loop {
                let info = self.info();
                if what(&info) {
                    return info;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, found).await.unwrap_or_else(|_| panic!("it never was so: {:?}", self.info()))
    }

    async fn until_done(&self) -> RewrapInfo {
        self.until(|info| info.status == RewrapStatus::Done).await
    }

    /// The key versions that all rows of secrets are under.
    async fn key_versions(&self) -> Vec<u32> {
        let mut versions = Vec::new();
        for class in ["h", "v"] {
            versions.extend(self.rows(class).await.iter().map(|(_, row)| wrapped(row).0));
        }
        versions
    }

    async fn check_all_readable(&self) {
        for number in 0..SECRETS {
            let at = format!("shop/s/{number}");
            assert_eq!(self.reveal(&at).await.expect("readable"), format!("new {number}"));
            assert_eq!(self.reveal_version(&at, 1).await.expect("readable"), format!("old {number}"));
        }
    }

    async fn keys(&self) -> Vec<KeyInfo> {
        let all = PageLimits { items: 100, bytes: usize::MAX };
        let listed = self.run(owner(), Method::ListKeys, AnyNamespace, move |vault, permit| async move {
            vault.open()?.list_keys(&permit, None, all, "")
        });
        listed.await.expect("listed").items
    }
}

/// Does not compile with a step that [`Step::ALL`] may lack.
const fn position(step: Step) -> usize {
    match step {
        Step::Ordered => 0,
        Step::Counted => 1,
        Step::Rewrapped => 2,
        Step::Committed => 3,
        Step::Noted => 4,
        Step::Passed => 5,
        Step::Ended => 6,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_any_step_leaves_every_row_readable_and_the_rest_is_done_after_a_restart() {
    for (number, step) in Step::ALL.into_iter().enumerate() {
        assert_eq!(position(step), number);
        let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
        let killed = halt::before_what_follows(step, fixture.shop_id());
        let working = fixture.work();
        // Some rows a page, so that it notes where it is while there is more to do; it is noted after a second.
        fixture.rotate_and_rewrap(order(if step == Step::Noted { 30 } else { 1_000 })).await;
        tokio::time::timeout(LONG, killed.notified()).await.unwrap_or_else(|_| panic!("it never came to {step:?}"));
        drop(working);
        fixture.check_all_readable().await;
        let before = fixture.info();
        let (done, left) = {
            let versions = fixture.key_versions().await;
            (versions.iter().filter(|version| **version == 2).count(), versions.iter().filter(|version| **version == 1).count())
        };
        assert_eq!(done + left, 2 * SECRETS, "no half rows after {step:?}");
        let again = Arc::new(fixture.restarted(History::default()).await);
        again.unseal().await.expect("opened");
        again.check_all_readable().await;
        let _working = again.work();
        if again.info().status != RewrapStatus::Done {
            again.resume(1_000_000).await.expect("faster");
        }
        let ended = again.until_done().await;
        assert!(again.key_versions().await.iter().all(|version| *version == 2), "after {step:?}");
        again.check_all_readable().await;
        assert_eq!((ended.damaged, ended.target_version, ended.total), (0, 2, 2 * SECRETS as u64), "after {step:?}: {before:?}");
        assert!(ended.seen <= ended.total, "nothing is counted twice after {step:?}: {ended:?}");
        let rows: Vec<_> = again.keys().await.iter().map(|key| key.rows.map(|(rows, _)| rows)).collect();
        if step != Step::Ended {
            assert_eq!(rows, [Some(0), Some(2 * SECRETS as u64)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_go_on_and_no_row_is_left_behind() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(100)).await;
    let begin = std::time::Instant::now();
    let mut written = 0;
    while fixture.info().status != RewrapStatus::Done {
        assert!(begin.elapsed() < LONG, "{:?}", fixture.info());
        let at = format!("shop/s/{}", written % SECRETS);
        // Its revision changes when it is rewrapped.
        let revision = revision_of(&fixture, &at).await;
        match fixture.update(&at, revision, &format!("now {written}"), None).await {
            Ok(stored) => {
                assert_eq!((fixture.reveal(&at).await.expect("readable"), stored.info.kek_version), (format!("now {written}"), 2))
            }
            Err(Error::Conflict) => {}
            Err(other) => panic!("{other}"),
        }
        if written % 10 == 3 {
            let at = format!("shop/gone/{written}");
            fixture.create(&at, "gone", None).await.expect("stored");
            fixture.destroy(&at).await.expect("destroyed");
            let purged =
                fixture.run(owner(), Method::PurgeSecret, name(&at), |vault, permit| async move { vault.open()?.purge(permit, 0).await });
            purged.await.expect("purged");
        }
        written += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(written > 10, "{written} while it ran");
    assert!(fixture.key_versions().await.iter().all(|version| *version == 2));
    assert_eq!(fixture.info().damaged, 0);
    for number in 0..SECRETS {
        let at = format!("shop/s/{number}");
        for version in fixture.versions(&at).await.expect("listed") {
            fixture.reveal_version(&at, version).await.expect("readable");
        }
    }
}

// immune: row-68
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_slept_through_a_rotation_is_not_written_under_the_old_key() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::with_secrets(store.clone()).await;
    store.class.store(b'h', Ordering::SeqCst);
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    store.is_held.notified().await;
    fixture.rotate().await.expect("rotated");
    let begun_again = halt::before_what_follows(Step::Ordered, fixture.shop_id());
    store.release.notify_one();
    tokio::time::timeout(LONG, begun_again.notified()).await.expect("it begins again");
    let versions = fixture.key_versions().await;
    assert!(versions.iter().all(|version| *version == 1), "written under a key that was retired: {versions:?}");
    // Where it stands it is as good as killed.
    let again = Arc::new(fixture.restarted(History::default()).await);
    again.unseal().await.expect("opened");
    let _working = again.work();
    assert_eq!(again.until_done().await.target_version, 3, "it went on to the newest version");
    assert!(again.key_versions().await.iter().all(|version| *version == 3));
    again.check_all_readable().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changed_meanwhile_is_not_written_over() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::with_secrets(store.clone()).await;
    store.class.store(b'h', Ordering::SeqCst);
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    store.is_held.notified().await;
    fixture.destroy("shop/s/3").await.expect("destroyed");
    store.release.notify_one();
    let ended = fixture.until_done().await;
    assert!(matches!(fixture.reveal("shop/s/3").await, Err(Error::State(_))), "it is destroyed still");
    assert_eq!((ended.damaged, ended.rewrapped), (0, 2 * SECRETS as u64));
    assert!(fixture.key_versions().await.iter().all(|version| *version == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_about_is_looked_at_again() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::with_secrets(store.clone()).await;
    store.class.store(b'h', Ordering::SeqCst);
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    store.is_held.notified().await;
    store.is_in_doubt.store(true, Ordering::SeqCst);
    store.release.notify_one();
    let ended = fixture.until_done().await;
    assert_eq!((ended.damaged, ended.seen), (0, 2 * SECRETS as u64));
    assert!(fixture.key_versions().await.iter().all(|version| *version == 2));
    fixture.check_all_readable().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_there_is_nothing_to_do_and_no_row_changes() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    let first = fixture.until_done().await;
    assert_eq!((first.seen, first.rewrapped, first.total), (48, 48, 48));
    let rows = fixture.rows("h").await;
    assert_eq!(fixture.start(order(5)).await.expect("begun").rate_per_s, 5);
    fixture.start(order(1_000_000)).await.expect("goes on");
    let second = fixture.until_done().await;
    assert_eq!((second.seen, second.rewrapped), (48, 0));
    assert_eq!(fixture.rows("h").await, rows);
    for rate in [1_000_001, u32::MAX] {
        assert!(matches!(fixture.start(order(rate)).await, Err(Error::Invalid { field: "rate_per_s", .. })));
        assert!(matches!(fixture.resume(rate).await, Err(Error::Invalid { field: "rate_per_s", .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_encrypted_anew_if_that_was_asked_for() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let payloads = |rows: Vec<(Key, Row)>| -> Vec<Vec<u8>> {
        rows.iter().map(|(_, row)| row::Head::decode(&row.value).expect("a head").payload.to_vec()).collect()
    };
    let _working = fixture.work();
    let before = payloads(fixture.rows("h").await);
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    fixture.until_done().await;
    assert_eq!(payloads(fixture.rows("h").await), before, "a rewrap leaves values as they lie");
    // Under the same key version, too.
    fixture.start(RewrapOrder { reencrypt: true, rate_per_s: 1_000_000 }).await.expect("begun");
    assert_eq!(fixture.until_done().await.rewrapped, 48);
    let after = payloads(fixture.rows("h").await);
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    fixture.check_all_readable().await;
    // What an unfinished one owes, a rotation does not forget.
    fixture.start(RewrapOrder { reencrypt: true, rate_per_s: 1 }).await.expect("begun");
    assert!(fixture.rotate_and_rewrap(order(1_000_000)).await.reencrypt);
    fixture.until_done().await;
    assert!(!fixture.rotate_and_rewrap(order(1_000_000)).await.reencrypt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_stops_nothing_and_is_told_of() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let (key, row) = fixture.rows("h").await.swap_remove(5);
    let mut bytes = row.value.to_vec();
    bytes[60] ^= 1;
    fixture.put(&key, bytes).await;
    let versions = fixture.rows("v").await;
    // Moved to another's place, whole as it is.
    fixture.put(&versions[0].0, versions[1].1.value.to_vec()).await;
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    let ended = fixture.until_done().await;
    assert_eq!((ended.damaged, ended.rewrapped, ended.seen), (2, 46, 48));
    assert_eq!(fixture.key_versions().await.iter().filter(|version| **version == 1).count(), 2);
    let rows: Vec<_> = fixture.keys().await.iter().map(|key| key.rows.map(|(rows, _)| rows)).collect();
    assert_eq!(rows, [Some(2), Some(46)], "whoever would retire version 1 sees that there is something under it");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pauses_it_finds_it_paused_after_a_restart_and_resumes_it() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    assert!(matches!(fixture.pause().await, Err(Error::Absent(_))), "there was none");
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(20)).await;
    fixture.until(|info| info.seen > 3).await;
    assert_eq!(fixture.pause().await.expect("paused").status, RewrapStatus::Paused);
    fixture.pause().await.expect("it rests already");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let rests = fixture.info();
    assert_eq!(rests.rows_per_s, 0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fixture.info(), rests, "it does nothing");
    let again = Arc::new(fixture.restarted(History::default()).await);
    again.unseal().await.expect("opened");
    let _working = again.work();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((again.info().status, again.info().seen), (RewrapStatus::Paused, rests.seen), "it waits over restarts, where it was");
    assert_eq!(again.resume(0).await.expect("resumed").rate_per_s, 20, "as before");
    again.resume(1_000_000).await.expect("faster");
    let ended = again.until_done().await;
    assert_eq!((ended.seen, ended.total), (48, 48));
    assert_eq!(again.resume(0).await.expect("left as it is").status, RewrapStatus::Done);
    assert_eq!(again.pause().await.expect("left as it is").status, RewrapStatus::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_stops_it_at_once_and_it_goes_on_when_the_vault_is_opened() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(20)).await;
    fixture.until(|info| info.seen > 3).await;
    let open = Arc::downgrade(&fixture.vault.open().expect("open"));
    assert!(fixture.vault.shut().await);
    let freed = async {
        while open.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("nobody holds a key any more");
    let rows = fixture.rows("h").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fixture.rows("h").await, rows, "nothing is written while it is sealed");
    fixture.unseal().await.expect("opened");
    fixture.resume(1_000_000).await.expect("faster");
    fixture.until_done().await;
    assert!(fixture.key_versions().await.iter().all(|version| *version == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_takes_no_writes_it_waits() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::with_secrets(store.clone()).await;
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(40)).await;
    fixture.until(|info| info.seen > 3).await;
    store.is_full.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let waits = fixture.info();
    assert_eq!(waits.status, RewrapStatus::Running);
    assert!(waits.seen < waits.total);
    store.is_full.store(false, Ordering::SeqCst);
    let ended = fixture.until_done().await;
    assert_eq!((ended.damaged, ended.seen), (0, 48));
    assert!(fixture.key_versions().await.iter().all(|version| *version == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_neither_stops_nor_hastens_it() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    fixture.clock.ahead_ms.store(30 * 60 * 1_000, Ordering::SeqCst);
    let _working = fixture.work();
    let begin = std::time::Instant::now();
    fixture.rotate_and_rewrap(order(30)).await;
    fixture.until(|info| info.seen > 3).await;
    fixture.clock.ahead_ms.store(0, Ordering::SeqCst);
    let ended = fixture.until_done().await;
    assert!(begin.elapsed() > Duration::from_millis(1_200), "48 rows at 30 a second");
    assert_eq!(ended.seen, 48);
    assert!(fixture.keys().await.iter().all(|key| !key.over_age), "a key of the future is young");
}

/// Whoever looked up the keys before the rotation, and read the row after its rewrap.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_slept_through_a_rotation_and_its_rewrap_reads_on() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let open = fixture.vault.open().expect("open");
    let at = SecretAt { namespace: fixture.shop_id(), name: name("shop/s/1") };
    let place = open.place(&at).expect("a place");
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    fixture.until_done().await;
    assert!(open.find(&place, &at).await.expect("readable").is_some());
}

#[tokio::test]
async fn a_key_is_over_age_from_the_end_of_its_cryptoperiod_on() {
    let fixture = Fixture::open().await;
    let namespace = fixture.vault.open().expect("open").namespace(fixture.shop_id()).expect("there");
    let created = namespace.keys().keyring.inventory().last().expect("one").created;
    let period = namespace.info.limits.cryptoperiod;
    assert_eq!(period, Duration::from_secs(365 * 24 * 3600), "of a namespace that says nothing");
    assert_eq!(NamespaceRecord::default().cryptoperiod(), period, "and of one that was made before it could");
    assert!(namespace.is_over_age(created.plus(period)));
    assert!(!namespace.is_over_age(created.plus(period - Duration::from_millis(1))));
    assert!(!namespace.is_over_age(Timestamp::default()), "nor where the clock is behind");
}

/// The same vault, so much later.
async fn later(fixture: &Fixture, by: Duration) -> Arc<Fixture> {
    let clock = Hands { ahead_ms: (by.as_millis() as u64).into() };
    let later = Fixture::at(clock, fixture.store.clone(), fixture.random.clone(), fixture.pins, History::default()).await;
    let later = Arc::new(later.expect("it holds this vault"));
    later.unseal().await.expect("opened");
    later
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_over_age_is_rotated_once_where_its_namespace_says_so() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let new = NewNamespace {
        name: "careful".parse().expect("valid"),
        environment: Environment::Stage,
        limits: NamespaceLimits { cryptoperiod: 90 * DAY, auto_rotate: true, ..NamespaceLimits::default() },
    };
    let made = fixture.run(ana(), Method::CreateNamespace, WholeVault::NAMESPACES, |vault, permit| async move {
        vault.open()?.create_namespace(permit, new).await
    });
    made.await.expect("made");
    let versions = |keys: &[KeyInfo], name: &str| -> Vec<(u32, bool)> {
        keys.iter().filter(|key| key.namespace.to_string() == name).map(|key| (key.version, key.over_age)).collect()
    };
    fixture.vault.open().expect("open").rotate_due(&fixture.gate).await;
    assert_eq!(versions(&fixture.keys().await, "careful"), [(1, false)], "it is not due yet");
    let soon = later(&fixture, 90 * DAY - Duration::from_secs(60)).await;
    soon.vault.open().expect("open").rotate_due(&soon.gate).await;
    assert_eq!(versions(&soon.keys().await, "careful"), [(1, false)], "nor a minute before");
    let late = later(&fixture, 366 * DAY).await;
    assert_eq!(late.vault.key_figures().expect("open").over_age, 2);
    for _ in 0..3 {
        late.vault.open().expect("open").rotate_due(&late.gate).await;
    }
    let keys = late.keys().await;
    assert_eq!(versions(&keys, "careful"), [(1, false), (2, false)], "once");
    assert_eq!(versions(&keys, "shop"), [(1, true)], "this one only says so");
    let figures = late.vault.key_figures().expect("open");
    assert_eq!((figures.over_age, figures.running), (1, 1));
    assert!(figures.oldest_active >= 365 * DAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrap_is_no_change_that_a_watch_tells_of_and_hides_none() {
    let fixture = Fixture::with_secrets(Arc::new(MemoryStore::new())).await;
    let below = || Below { namespace: "shop".parse().expect("valid"), prefix: Vec::new() };
    let begin = |within: Option<Duration>| {
        fixture.run(owner(), Method::WatchSecrets, below(), move |vault, permit: Permit<BelowAt>| async move {
            vault.open()?.watch(permit, WatchFrom { after: None, expiring_within: within }).await
        })
    };
    let mut watch = begin(None).await.expect("begun");
    let changed = fixture.update("shop/s/7", revision_of(&fixture, "shop/s/7").await, "changed", None).await.expect("updated");
    let _working = fixture.work();
    fixture.rotate_and_rewrap(order(1_000_000)).await;
    fixture.until_done().await;
    assert!(revision_of(&fixture, "shop/s/7").await > changed.info.revision, "the revision is another all the same");
    let mut told = Vec::new();
    while tokio::time::timeout(Duration::from_millis(300), watch.changed()).await.is_ok() {
        let (next, back) = fixture
            .run(owner(), Method::WatchSecrets, below(), move |vault, permit: Permit<BelowAt>| async move {
                let next = vault.open()?.next_change(&permit, &mut watch).await?;
                Ok(next.map(|next| (next, watch)))
            })
            .await
            .expect("looked at");
        told.extend(next.into_iter().map(|change| (change.kind, change.name.to_string())));
        watch = back;
    }
    assert_eq!(told, [(ChangeKind::Updated, "shop/s/7".to_owned())]);
}

async fn revision_of(fixture: &Fixture, at: &str) -> u64 {
    let described =
        fixture.run(owner(), Method::DescribeSecret, name(at), |vault, permit| async move { vault.open()?.describe(permit).await });
    described.await.expect("described").revision
}
