//! Killed at any moment, while it opens or still counts, too: nothing that was acknowledged is lost, and the ledger is right.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;

use super::super::writer::Opened;
use super::*;

const KILLS: usize = 24;
const CHILD_TEST: &str = "storage::sled::tests::kill::child_writes_until_it_is_killed";

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let folder = folder();
    let vault = folder.path().join("vault");
    let store = create(&vault);
    count::fill(&store).await;
    store.close().await;
    let mut acknowledged = HashMap::new();
    for number in 0..KILLS {
        // Some die while they start and open, the others somewhere in their writes.
        let is_writing = number % 3 != 0;
        let delay = Duration::from_micros(RandomState::new().hash_one(number) % 60_000);
        acknowledged.extend(run_and_kill(&vault, is_writing, delay));
        if number % 4 == 3 {
            let store = open(&vault);
            for (name, revision) in &acknowledged {
                let found = get(&store, name).await.map(|row| row.revision);
                assert!(
                    found >= Some(Revision::from_number(*revision)),
                    "{name}: {found:?} is not {revision}, kill {number}, writing: {is_writing}, after {delay:?}"
                );
            }
            store.close().await;
        }
    }
    assert!(acknowledged.len() > 100, "{} rows are too few to show anything", acknowledged.len());
    let (_folder, Opened { log, ledger, count }) = count::opened(&vault);
    count::finish(count.expect("rows are left"), &log, &ledger).expect("none is missing");
}

/// Starts a writer, kills it so long after its start or its first acknowledgement, and returns what it had acknowledged.
fn run_and_kill(vault: &Path, is_writing: bool, delay: Duration) -> Vec<(String, u64)> {
    let mut writer = child(CHILD_TEST, vault, "").stdout(Stdio::piped()).spawn().expect("a child");
    let mut lines = BufReader::new(writer.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let first = if is_writing { lines.by_ref().find_map(|line| acknowledgement(&line)) } else { None };
    std::thread::sleep(delay);
    writer.kill().expect("it runs until it is killed");
    let acknowledged = first.into_iter().chain(lines.filter_map(|line| acknowledgement(&line))).collect();
    writer.wait().expect("it was killed");
    acknowledged
}

/// The last line may be torn: without its stop it counts for nothing.
fn acknowledgement(line: &str) -> Option<(String, u64)> {
    let (name, revision) = line.split_once("acknowledged ")?.1.split_once(' ')?;
    Some((name.to_owned(), revision.strip_suffix('.')?.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    let Some(path) = child_folder() else { return };
    let store = Arc::new(open(&path));
    let writers: Vec<_> = (0..16).map(|writer| tokio::spawn(write_for_ever(Arc::clone(&store), writer))).collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
}

async fn write_for_ever(store: Arc<SledStore>, writer: usize) {
    for number in 0.. {
        let name = format!("row-{writer}-{}", number % 50);
        let size = if number % 40 == 0 { 60_000 } else { 600 };
        let revision = put(&store, &name, &vec![7; size]).await;
        let mut output = std::io::stdout().lock();
        writeln!(output, "acknowledged {name} {revision}.").and_then(|()| output.flush()).expect("the parent listens");
    }
}
