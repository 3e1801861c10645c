//! A log that is not what was written: refused, never served with rows missing.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;

/// Rows over several openings, so that part of the log is in a snapshot and part is replayed.
async fn filled(path: &Path) -> HashMap<String, Row> {
    let store = create(path);
    for number in 0..120 {
        put(&store, &format!("row-{number:03}"), &[7; 600]).await;
    }
    store.close().await;
    let store = open(path);
    for number in (0..120).step_by(2) {
        put(&store, &format!("row-{number:03}"), &[8; 600]).await;
    }
    let mut rows = HashMap::new();
    for number in 0..120 {
        let name = format!("row-{number:03}");
        rows.insert(name.clone(), get(&store, &name).await.expect("it was put"));
    }
    store.close().await;
    rows
}

fn copied(from: &Path) -> TempDir {
    let copy = folder();
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = copy.path().join(path.file_name().expect("a name"));
        if path.is_dir() { fs::create_dir(to).expect("a folder") } else { fs::copy(path, to).map(drop).expect("a copy") }
    }
    copy
}

/// Either it is refused, or nothing is missing.
async fn assert_whole(path: &Path, rows: &HashMap<String, Row>, what: &str) -> bool {
    let store = match SledStore::open(path, &options(), Mode::OpenExisting) {
        Ok(store) => store,
        Err(StoreError::Corrupt(_)) => return false,
        Err(other) => panic!("{what}: {other}"),
    };
    for (name, row) in rows {
        assert_eq!(get(&store, name).await.as_ref(), Some(row), "{what}: {name}");
    }
    true
}

#[tokio::test]
async fn a_flipped_bit_never_goes_unnoticed() {
    let original = folder();
    let rows = filled(original.path()).await;
    let used = fs::read(original.path().join(LOG)).expect("a log").iter().rposition(|byte| *byte != 0).expect("not empty") as u64;
    let mut refused = 0;
    for number in 0..40 {
        let at = used * number / 40 + number;
        let copy = copied(original.path());
        flip(copy.path(), at, 1 << (number % 8));
        refused += u32::from(!assert_whole(copy.path(), &rows, &format!("bit at {at}")).await);
    }
    assert!(refused > 0, "none of the flipped bits mattered, so nothing was shown");
}

/// Replaying several segments, sled goes on behind a damaged message: rows in the midst are lost, and the end is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_lost_in_the_midst_of_the_log_are_noticed() {
    let original = folder();
    let store = create(original.path());
    let name = |number: usize| format!("row-{:03}", number * 357 % 512);
    // The first round makes every page of the tree; each of the others leaves some rows as they are.
    for (round, size) in [(0, 600), (1, 16_000), (2, 16_000), (3, 16_000), (4, 16_000), (5, 16_000)] {
        for number in (0..512).filter(|number| number % 6 >= round) {
            put(&store, &name(number), &vec![round as u8; size]).await;
        }
    }
    let mut rows = HashMap::new();
    for number in 0..512 {
        rows.insert(name(number), get(&store, &name(number)).await.expect("it was put"));
    }
    store.close().await;
    let length = fs::metadata(original.path().join(LOG)).expect("a log").len();
    let mut noticed = 0;
    for at in (1..=4).map(|mebibytes| length - mebibytes * 1024 * 1024) {
        let copy = copied(original.path());
        flip(copy.path(), at, 1);
        let what = format!("bit at {at}");
        noticed += u32::from(!assert_whole(copy.path(), &rows, &what).await);
    }
    assert!(noticed > 0, "no damage mattered, so nothing was shown");
}

fn flip(folder: &Path, at: u64, bits: u8) {
    let log = OpenOptions::new().read(true).write(true).open(folder.join(LOG)).expect("a log");
    let mut byte = [0];
    log.read_exact_at(&mut byte, at).expect("within the log");
    log.write_all_at(&[byte[0] ^ bits], at).expect("a write");
}

#[tokio::test]
async fn a_log_cut_short_is_refused() {
    let original = folder();
    let rows = filled(original.path()).await;
    let used = fs::read(original.path().join(LOG)).expect("a log").iter().rposition(|byte| *byte != 0).expect("not empty") as u64;
    for cut in [1, 700, 5_000, used / 2] {
        let copy = copied(original.path());
        let log = OpenOptions::new().write(true).open(copy.path().join(LOG)).expect("a log");
        log.set_len(used + 1 - cut).expect("a cut");
        assert!(!assert_whole(copy.path(), &rows, &format!("cut by {cut}")).await);
    }
}

/// Who restores a copy without its witness is not locked out.
#[tokio::test]
async fn a_missing_or_torn_witness_is_no_reason_to_refuse() {
    let original = folder();
    let rows = filled(original.path()).await;
    fs::write(original.path().join(WITNESS), [255; 16]).expect("a torn witness");
    assert!(assert_whole(original.path(), &rows, "torn").await);
    fs::remove_file(original.path().join(WITNESS)).expect("a witness");
    assert!(assert_whole(original.path(), &rows, "missing").await);
}
