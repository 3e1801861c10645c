//! A disk without room: writes are refused, reads go on, and when there is room again writes do too.

use std::collections::HashMap;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::required::leave_out;

#[tokio::test]
async fn the_reserve_refuses_before_sled_is_asked() {
    let folder = folder();
    let store = create(folder.path());
    let before = put(&store, "a", b"x").await;
    store.close().await;
    let greedy = SledOptions { reserve_bytes: u64::MAX, ..options() };
    let store = SledStore::open(folder.path(), &greedy, Mode::OpenExisting).expect("a full disk can be read");
    let outcome = store.commit(Batch::new().put(key("b"), vec![1])).await;
    assert!(matches!(outcome, Err(CommitError::Refused(StoreError::Full(_)))), "{outcome:?}");
    assert!(get(&store, "a").await.is_some());
    assert!(matches!(store.status().condition, Condition::RefusingWrites { .. }));
    assert_eq!(store.status().durable, before);
}

/// Rows that were acknowledged, by name.
#[derive(Default)]
struct Acknowledged(HashMap<String, Revision>);

impl Acknowledged {
    /// Writes rows, eight at a time and large enough that groups cross segments, until the store refuses one.
    async fn write_until_refused(&mut self, store: &Arc<SledStore>, round: &str) {
        for number in 0.. {
            let names = (0..8).map(|part| format!("{round}-{number}-{part}"));
            let writes: Vec<_> = names.map(|name| (name.clone(), tokio::spawn(write(Arc::clone(store), name)))).collect();
            let mut is_refused = false;
            for (name, write) in writes {
                match write.await.expect("no panic") {
                    Ok(revision) => drop(self.0.insert(name, revision)),
                    Err(CommitError::Unknown | CommitError::Refused(StoreError::Full(_))) => is_refused = true,
                    Err(other) => panic!("{other}"),
                }
            }
            if is_refused {
                return;
            }
        }
    }

    async fn assert_readable(&self, store: &SledStore) {
        for (name, revision) in &self.0 {
            assert_eq!(get(store, name).await.map(|row| row.revision), Some(*revision), "{name}");
        }
    }

    /// A deletion that failed must not be waited for.
    async fn assert_absence_is_told(&self, store: &SledStore) {
        let absent = timeout(Duration::from_secs(5), get(store, "absent")).await;
        assert_eq!(absent.expect("at once"), None);
    }
}

async fn write(store: Arc<SledStore>, name: String) -> Result<Revision, CommitError> {
    store.commit(Batch::new().put(key(&name), vec![7; 60_000]).delete(key("absent"))).await
}

/// By itself, and soon after the cause is gone.
async fn becomes_well_again(store: &SledStore) {
    let is_well = async {
        while store.commit(Batch::new().put(key("after"), vec![1])).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), is_well).await.expect("the cause is gone");
    assert_eq!(store.status().condition, Condition::Healthy);
}

/// A file may not grow past a limit: the write fails inside sled, with the reserve none the wiser.
#[test]
fn a_write_that_fails_inside_sled_passes() {
    let folder = folder();
    succeed(child("storage::sled::tests::full::child_meets_its_limit", folder.path(), "trap '' XFSZ;"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_meets_its_limit() {
    let Some(path) = child_folder() else { return };
    let store = Arc::new(create(&path));
    let unlimited = getrlimit(Resource::Fsize);
    let mut acknowledged = Acknowledged::default();
    for round in 1..=3 {
        let limit = Rlimit { current: Some(round * 24 * 1024 * 1024 + round * 12_345), ..unlimited };
        setrlimit(Resource::Fsize, limit).expect("a soft limit");
        acknowledged.write_until_refused(&store, &format!("round-{round}")).await;
        assert!(acknowledged.0.len() > 100);
        setrlimit(Resource::Fsize, unlimited).expect("the hard limit");
        becomes_well_again(&store).await;
        acknowledged.assert_readable(&store).await;
        acknowledged.assert_absence_is_told(&store).await;
    }
    store.close().await;
    acknowledged.assert_readable(&open(&path)).await;
}

/// A read can make sled write, and that can fail while no commit is there to be told.
#[test]
fn a_failure_that_no_commit_saw_is_noticed() {
    let folder = folder();
    succeed(child("storage::sled::tests::full::child_fails_unseen", folder.path(), "trap '' XFSZ;"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_fails_unseen() {
    let Some(path) = child_folder() else { return };
    let store = create(&path);
    let revision = put(&store, "a", b"x").await;
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(1), ..unlimited }).expect("a soft limit");
    let mut unseen = Pending::default();
    unseen.put(&key("unseen"), revision.next(), &vec![1].into());
    let failed = store.shared.log.load_full().expect("open").write(unseen);
    assert!(matches!(failed, Err(StoreError::Full(_))));
    setrlimit(Resource::Fsize, unlimited).expect("the hard limit");

    let mut progress = store.shared.progress.subscribe();
    let reopened = timeout(Duration::from_secs(10), progress.wait_for(|progress| progress.opening == 1)).await;
    reopened.expect("within a second or two").expect("the store is there");
    assert_eq!(get(&store, "a").await.map(|row| row.revision), Some(revision));
    assert_eq!(get(&store, "unseen").await, None);
    store.close().await;
}

/// A small file system of its own, in a mount namespace that goes with the child.
#[test]
fn a_full_file_system_is_survived() {
    let folder = folder();
    if succeed(in_a_small_file_system(folder.path())).is_none() {
        leave_out("a_full_file_system_is_survived", "tmpfs");
    }
}

fn in_a_small_file_system(path: &Path) -> Command {
    let inner = child("storage::sled::tests::full::child_fills_a_file_system", path, "");
    let script = "unshare --map-root-user --mount true 2>/dev/null || exit 77; \
                  exec unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=96m tmpfs \"$0\" && exec \"$@\"' \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(path).arg(inner.get_program()).args(inner.get_args()).env(CHILD, path);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_fills_a_file_system() {
    let Some(path) = child_folder() else { return };
    for reserve_bytes in [48 * 1024 * 1024, 0] {
        let vault = path.join(format!("vault-{reserve_bytes}"));
        let options = SledOptions { reserve_bytes, ..options() };
        let store = Arc::new(SledStore::open(&vault, &options, Mode::CreateNew).expect("a new store"));
        let ballast = path.join("ballast");
        fs::write(&ballast, vec![0; 24 * 1024 * 1024]).expect("room for it");
        let mut acknowledged = Acknowledged::default();
        acknowledged.write_until_refused(&store, "first").await;
        if reserve_bytes > 0 {
            // Without a reserve the log may be open again by now, and the next write be the one that is refused.
            assert!(matches!(store.status().condition, Condition::RefusingWrites { .. }), "{:?}", store.status());
            acknowledged.assert_readable(&store).await;
        }
        fs::remove_file(&ballast).expect("it was there");
        becomes_well_again(&store).await;
        acknowledged.assert_readable(&store).await;
        acknowledged.assert_absence_is_told(&store).await;
        store.close().await;
        let store = open(&vault);
        acknowledged.assert_readable(&store).await;
        store.close().await;
        fs::remove_dir_all(&vault).expect("it was there");
    }
}
