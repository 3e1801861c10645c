//! The guards around sled, each with what it is for. What every store does is in `storage::contract`.

mod count;
mod damage;
mod full;
mod kill;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::folder::{BLOBS, LOG, SET_ASIDE, WITNESS};
use super::ledger::Ledger;
use super::log::Pending;
use super::*;
use crate::storage::{KEY_BYTES, VALUE_BYTES};

/// Names the folder to a test that runs as a child of another; without it such a test has nothing to do.
const CHILD: &str = "STRONGROOM_STORE_CHILD";

/// What a child's shell ends with where the system does not grant what the child needs.
const CANNOT_RUN: i32 = 77;

fn key(text: &str) -> Key {
    Key::new(text.as_bytes()).expect("a test's own key")
}

fn options() -> SledOptions {
    SledOptions { cache_bytes: 16 * 1024 * 1024, reserve_bytes: 0 }
}

fn create(path: &Path) -> SledStore {
    SledStore::open(path, &options(), Mode::CreateNew).expect("a new store")
}

fn open(path: &Path) -> SledStore {
    SledStore::open(path, &options(), Mode::OpenExisting).expect("a store")
}

fn refusal(path: &Path, mode: Mode) -> StoreError {
    SledStore::open(path, &options(), mode).err().expect("a refusal")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

async fn put(store: &SledStore, name: &str, value: &[u8]) -> Revision {
    store.commit(Batch::new().put(key(name), value.to_vec())).await.expect("a put")
}

async fn get(store: &SledStore, name: &str) -> Option<Row> {
    store.get(&[key(name)]).await.expect("a get").pop().expect("one answer a key")
}

/// This test program again, running one of its tests on a folder, after some words to the shell.
fn child(test: &str, folder: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    let program = std::env::current_exe().expect("this program has a path");
    let run = format!("{shell} exec \"$0\" \"$@\"");
    command.arg("-c").arg(run).arg(program).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, folder);
    command
}

/// Runs a child to its end; its words are shown if it fails. `None`: it could not be run here. A name that no test has would
/// be a success too: one test must have passed.
fn succeed(mut command: Command) -> Option<()> {
    let output = command.output().expect("a child");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) if told.contains("test result: ok. 1 passed;") => Some(()),
        Some(CANNOT_RUN) => None,
        _ => panic!("{told}{errors}"),
    }
}

fn child_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

#[tokio::test]
async fn rows_and_revisions_outlive_a_close() {
    let folder = folder();
    let store = create(folder.path());
    let kept = put(&store, "kept", b"value").await;
    put(&store, "newest", b"x").await;
    // The newest change leaves no row that could tell its revision.
    let last = store.commit(Batch::new().delete(key("newest"))).await.expect("a delete");
    store.close().await;

    let store = open(folder.path());
    assert_eq!(store.status().durable, last);
    assert_eq!(get(&store, "kept").await, Some(Row { revision: kept, value: b"value".to_vec().into() }));
    assert_eq!(get(&store, "newest").await, None);
    assert!(put(&store, "next", b"x").await > last);
    drop(store);
    assert!(get(&open(folder.path()), "next").await.is_some());
}

// immune: row-59
#[test]
fn an_unmounted_disk_does_not_become_a_fresh_store() {
    let folder = folder();
    let absent = folder.path().join("absent");
    for path in [folder.path(), &absent] {
        assert!(matches!(refusal(path, Mode::OpenExisting), StoreError::Folder { .. }));
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "a refusal leaves nothing behind");
    drop(create(folder.path()));
    assert!(matches!(refusal(folder.path(), Mode::CreateNew), StoreError::Folder { .. }));
    fs::write(folder.path().join(LOG), []).expect("an emptied log");
    assert!(matches!(refusal(folder.path(), Mode::OpenExisting), StoreError::Folder { .. }));
    fs::write(folder.path().join(LOG), [0]).expect("a log of one byte");
    assert!(matches!(refusal(folder.path(), Mode::OpenExisting), StoreError::Corrupt(_)));
}

#[test]
fn a_fresh_file_system_is_empty() {
    let folder = folder();
    fs::create_dir(folder.path().join("lost+found")).expect("a folder");
    drop(create(folder.path()));
    drop(open(folder.path()));
}

#[test]
fn a_second_process_is_told() {
    let folder = folder();
    let store = create(folder.path());
    let error = refusal(folder.path(), Mode::OpenExisting);
    assert!(error.to_string().ends_with("is in use by another process"), "{error}");
    drop(store);
    drop(open(folder.path()));
}

// immune: row-52
#[test]
fn files_are_private_whatever_the_umask() {
    let folder = folder();
    let vault = folder.path().join("vault");
    succeed(child("storage::sled::tests::child_makes_a_store", &vault, "umask 000;"));
    assert_eq!(mode(&vault), 0o700);
    let names: Vec<_> = fs::read_dir(&vault).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(names.iter().any(|path| path.to_string_lossy().contains("snap.")), "sled made a file of its own: {names:?}");
    for path in names {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{path:?}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn child_makes_a_store() {
    let Some(path) = child_folder() else { return };
    let store = create(&path);
    put(&store, "a", b"x").await;
    store.close().await;
    open(&path).close().await;
}

#[tokio::test]
async fn a_torn_snapshot_is_set_aside() {
    let folder = folder();
    let store = create(folder.path());
    put(&store, "a", b"x").await;
    store.close().await;
    open(folder.path()).close().await;
    let torn = "snap.7FFFFFFFFFFFFFFF.generating";
    fs::write(folder.path().join(torn), b"half of a snapsh").expect("a torn snapshot");

    let store = open(folder.path());
    assert!(get(&store, "a").await.is_some());
    assert!(folder.path().join(SET_ASIDE).join(torn).exists());
}

/// sled would put a page above a quarter of a segment into a file that it never syncs.
#[tokio::test]
async fn the_largest_rows_stay_in_the_log() {
    let folder = folder();
    let store = create(folder.path());
    let name = |number: usize| format!("{number:0width$}", width = KEY_BYTES);
    for round in 0..2 {
        for number in 0..48 {
            put(&store, &name(number), &vec![round; VALUE_BYTES]).await;
        }
    }
    for number in (0..48).filter(|number| number % 5 != 0) {
        store.commit(Batch::new().delete(key(&name(number)))).await.expect("a delete");
    }
    for number in 0..48 {
        get(&store, &name(number)).await;
    }
    assert_eq!(fs::read_dir(folder.path().join(BLOBS)).expect("a folder").count(), 0);
}

/// A store whose log is synced through another file.
fn over(disk: impl FnOnce(&Folder) -> Disk) -> (SledStore, TempDir) {
    let directory = folder();
    drop(create(directory.path()));
    let folder = Folder::existing(directory.path()).expect("a store");
    let real = Disk::open(&folder, 0).expect("a log");
    let opened = writer::open_log(&folder, &real, &options(), Mode::OpenExisting).expect("a log");
    let disk = disk(&folder);
    (SledStore::serve(folder, disk, &options(), opened).expect("a store"), directory)
}

/// A pipe cannot be synced: the system refuses with EINVAL.
#[tokio::test]
async fn a_failed_sync_is_the_end() {
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let (store, _directory) = over(|folder| Disk::over(File::from(OwnedFd::from(reader)), folder));
    let mut conditions = store.conditions();
    let before = store.status().durable;

    let outcome = store.commit(Batch::new().put(key("a"), vec![1])).await;
    assert!(matches!(outcome, Err(CommitError::Unknown)), "{outcome:?}");
    timeout(Duration::from_secs(5), conditions.wait_for(Condition::is_fatal)).await.expect("soon").expect("the store is there");
    assert_eq!(store.status().durable, before);
    assert!(matches!(store.get(&[key("a")]).await, Err(StoreError::Fatal(_))));
    let again = store.commit(Batch::new().put(key("b"), vec![1])).await;
    assert!(matches!(again, Err(CommitError::Refused(StoreError::Fatal(_)))), "{again:?}");
    store.close().await;
    assert!(store.status().condition.is_fatal());
}

/// A process that was killed leaves writes behind that are in the system's memory alone.
#[tokio::test]
async fn what_was_recovered_is_synced_before_it_is_shown() {
    let directory = folder();
    drop(create(directory.path()));
    let folder = Folder::existing(directory.path()).expect("a store");
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let disk = Disk::over(File::from(OwnedFd::from(reader)), &folder);
    assert!(writer::open_log(&folder, &disk, &options(), Mode::OpenExisting).is_err());
}

#[tokio::test]
async fn a_log_that_was_removed_acknowledges_nothing() {
    let folder = folder();
    let store = create(folder.path());
    put(&store, "a", b"x").await;
    fs::remove_file(folder.path().join(LOG)).expect("the log");
    let outcome = store.commit(Batch::new().put(key("b"), vec![1])).await;
    assert!(matches!(outcome, Err(CommitError::Unknown)), "{outcome:?}");
    assert!(store.status().condition.is_fatal());
}

/// Between sled's memory and the disk lies the time in which a crash can take a change back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_what_is_not_yet_durable() {
    let folder = folder();
    let store = create(folder.path());
    let durable = put(&store, "deleted", b"x").await;
    let next = durable.next();
    let log = store.shared.log.load_full().expect("open");
    store.shared.newest_deletion.store(next.number(), Ordering::SeqCst);
    let mut pending = Pending::default();
    pending.put(&key("new"), next, &vec![1].into());
    pending.delete(&key("deleted"));
    log.write(pending).expect("a write");

    let names = [key("new")];
    for name in ["new", "deleted"] {
        let early = timeout(Duration::from_millis(50), store.get(&[key(name)])).await;
        assert!(early.is_err(), "{name} was shown before it was durable: {early:?}");
    }
    let mut waiting = Box::pin(store.get(&names));
    assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err());
    assert!(timeout(Duration::from_millis(50), store.scan(&key("d"), None, PageSize::MAX)).await.is_err());
    store.shared.progress.send_modify(|progress| progress.durable = next);
    let rows = timeout(Duration::from_secs(5), waiting).await.expect("soon").expect("a get");
    assert_eq!(rows[0].as_ref().map(|row| row.revision), Some(next));
    assert_eq!(get(&store, "deleted").await, None);
}
