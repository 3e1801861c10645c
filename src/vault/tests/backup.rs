//! Backups over a store that goes on changing, and what a restore makes of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::backup::{Archive, Identity, PartFile, Recipient, Steps};
use crate::seal::SlotKey;
use crate::storage::{Mode, SledOptions, SledStore};

const IDENTITY: &[u8] = b"AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
const KEEP: Duration = Duration::from_secs(3600);

impl Fixture {
    async fn back_up(&self) -> Result<(BackupDone, PathBuf), Error> {
        let mut run = self.begin().await?;
        let path = self._folder.path().join(format!("backup-{}.age", hex::encode(self.vault.open()?.new_id()?)));
        let mut file = PartFile::create(&path, Steps::default())?;
        while let Some(piece) = run.next().await? {
            file.write(&piece)?;
        }
        let (done, saved) = (run.done().expect("it has ended").clone(), file.finish()?);
        assert_eq!((done.bytes, done.sha256), (saved.bytes, saved.sha256));
        Ok((done, path))
    }

    async fn begin(&self) -> Result<BackupRun, Error> {
        let vault = self.vault.clone();
        let begun = self.gate.stream(Call::new(Method::CreateBackup, peer(&ana())), WholeVault::VAULT, |permit| async move {
            vault.begin_backup(permit, KEEP, Steps::default()).await
        });
        match begun.await {
            Ok((streaming, run)) => {
                streaming.end("ok");
                Ok(run)
            }
            Err(Refusal::Failed(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    /// The same vault out of a backup, opened.
    async fn restored(&self, archive: &Path, bindings: Bindings) -> Result<(Self, RestoredRows), Error> {
        let archive = Archive::open(archive, Identity::parse(&SecretBytes::new(IDENTITY.to_vec())).expect("an identity"))?;
        let slot = SlotKey::passphrase(&SecretBytes::new(PASSPHRASE.to_vec())).expect("long enough");
        let plan = RestorePlan { vault: Some(self.pins.vault_id), bindings, logged_generation: 40, now: SystemClock.now() };
        let prepared = Restore::prepare(archive, slot, plan, self.random.as_ref(), &Steps::default())?;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::after(prepared.begins_after()));
        let written = prepared.write(store.clone(), self.random.clone(), Steps::default()).await?;
        let rows = written.rows.clone();
        // Until its header is there, it is no vault.
        let none = Self::over(store.clone(), self.random.clone(), self.pins, History::default()).await;
        assert!(matches!(none.err(), Some(Error::Absent(_))));
        written.finish(&Steps::default()).await?;
        let restored =
            Self::over(store, self.random.clone(), self.pins, History { policy_generation: 41, open_intents: Vec::new() }).await?;
        restored.unseal().await?;
        Ok((restored, rows))
    }

    fn suspending(&self) -> Bindings {
        Bindings::Suspended { administrators: vec![ana()], workloads: vec!["apps.test".to_owned()] }
    }
}

#[tokio::test]
async fn secrets_look_ups_versions_and_jobs_come_back_under_a_new_system_key() {
    let fixture = Fixture::open().await;
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    let stored = fixture.create("shop/a", "one", Some("subject")).await.expect("stored");
    fixture.rotate().await.expect("rotated");
    fixture.update("shop/a", stored.info.revision, "two", Some("subject")).await.expect("updated");
    fixture.create("shop/b", "three", None).await.expect("stored");
    fixture.destroy("shop/b").await.expect("destroyed");
    let (done, path) = fixture.back_up().await.expect("made");
    let (restored, rows) = fixture.restored(&path, fixture.suspending()).await.expect("restored");

    assert_eq!(restored.reveal("shop/a").await.expect("there"), "two");
    assert_eq!(restored.reveal_version("shop/a", 1).await.expect("there"), "one");
    assert_eq!(restored.find("subject").await.expect("found").len(), 1);
    assert!(matches!(restored.reveal("shop/b").await, Err(Error::State(_))), "destroyed");
    assert_eq!(restored.rows("j").await.len(), 1, "and to be purged");
    assert_eq!((rows.suspended, rows.kept, rows.policy_generation), (1, 3, 41), "ben waits");
    // Not a row of the vault's own opens under the key of before, and no revision comes again.
    let (old, new) = (fixture.rows("k").await, restored.rows("k").await);
    assert!(old[0].1.value != new[0].1.value && new[0].1.revision.number() > done.revision + (1 << 32));
    let open = fixture.vault.open().expect("open");
    assert!(open.rows.open::<KeyringRow>(&new[0].0, &new[0].1.value).is_err());
    assert!(open.rows.own_secret("names", 2).await.is_err(), "its epoch stays the first");
    // A second generation of it is a backup as good as the first.
    let (_, path) = restored.back_up().await.expect("made");
    let (again, _) = restored.restored(&path, Bindings::AsTheyAre).await.expect("restored");
    assert_eq!(again.reveal("shop/a").await.expect("there"), "two");
    assert_eq!(
        again.vault.open().expect("open").open_canaries().await.expect("opened").iter().map(|one| one.opened).collect::<Vec<_>>(),
        [Opened::Yes, Opened::Yes]
    );
}

// immune: row-69
#[tokio::test]
async fn what_counts_once_is_void_and_what_is_not_known_is_refused() {
    let fixture = Fixture::open().await;
    let key = |text: &str| Key::new(text.as_bytes().to_vec()).expect("short");
    fixture.put(&key("o-a-code-that-was-used"), b"anything".to_vec()).await;
    let (_, path) = fixture.back_up().await.expect("made");
    let (restored, rows) = fixture.restored(&path, fixture.suspending()).await.expect("restored");
    assert_eq!((rows.void, restored.rows("o").await.len()), (1, 0));
    fixture.put(&key("z-of-another-day"), b"anything".to_vec()).await;
    let (_, path) = fixture.back_up().await.expect("made");
    assert!(matches!(fixture.restored(&path, fixture.suspending()).await.err(), Some(Error::Integrity(_))));
}

#[tokio::test]
async fn somebody_must_be_able_to_confirm_and_the_vault_must_be_the_pinned_one() {
    let fixture = Fixture::open().await;
    let (_, path) = fixture.back_up().await.expect("made");
    let nobody = Bindings::Suspended { administrators: vec![owner()], workloads: Vec::new() };
    assert!(matches!(fixture.restored(&path, nobody).await.err(), Some(Error::State(_))));
    let other = Fixture::open().await;
    assert!(matches!(other.restored(&path, other.suspending()).await.err(), Some(Error::NotThisVault(_))));
}

#[tokio::test]
async fn a_backup_needs_somebody_who_can_open_it_and_is_on_the_list() {
    let fixture = Fixture::open().await;
    let age = age_recipient();
    let new = NewRecipient { name: Text::parse("second").expect("valid"), recipient: age.clone() };
    let enrol = |new: NewRecipient| {
        fixture.run(ana(), Method::CreateNamespace, WholeVault::VAULT, move |vault, permit| async move {
            let open = vault.open()?;
            let batch = open.with_recipient(&permit, Batch::new(), &new).await?;
            open.rows.store.commit(batch).await?;
            Ok(Unreleased::new(open.recovery_recipients().await?.into_iter().find(|one| one.recipient == new.recipient).expect("enrolled")))
        })
    };
    let remove = |recipient: Recipient| {
        fixture.run(ana(), Method::CreateNamespace, WholeVault::VAULT, move |vault, _| async move {
            let open = vault.open()?;
            let batch = open.without_recipient(Batch::new(), &recipient).await?;
            open.rows.store.commit(batch).await?;
            Ok(Unreleased::new(()))
        })
    };
    let enrolled = enrol(new.clone()).await.expect("enrolled");
    assert_eq!((enrolled.name.as_str(), enrolled.enrolled_by), ("second", ana().to_string()));
    assert!(matches!(enrol(new).await, Err(Error::Exists)));
    for number in 2..recipient_bound() {
        enrol(NewRecipient { name: Text::parse(&format!("n-{number}")).expect("valid"), recipient: age_recipient() })
            .await
            .expect("one more");
    }
    let one_more = NewRecipient { name: Text::parse("one-more").expect("valid"), recipient: age_recipient() };
    assert!(matches!(enrol(one_more).await, Err(Error::State(_))), "16 are enough");
    let (done, _) = fixture.back_up().await.expect("made");
    let open = fixture.vault.open().expect("open");
    let shop = open.namespaces.load().values().next().expect("one").info.id;
    let held = open.newest_backup_with(shop, 1).await.expect("read").expect("one");
    assert_eq!((held.id, held.recipients.len(), held.created_by.as_str()), (done.id, 16, ana().as_str()));
    assert!(open.newest_backup_with(shop, 2).await.expect("read").is_none(), "there is no such key version");
    for info in open.recovery_recipients().await.expect("read").into_iter().skip(1) {
        remove(info.recipient).await.expect("removed");
    }
    let last = open.recovery_recipients().await.expect("read").swap_remove(0).recipient;
    assert!(matches!(remove(last.clone()).await, Err(Error::State(_))), "the last one stays");
    assert!(matches!(remove(age_recipient()).await, Err(Error::Absent(_))));
    fixture.store.commit(Batch::new().delete(row::recipient_key(last.as_str()))).await.expect("deleted");
    assert!(matches!(fixture.begin().await.err(), Some(Error::State(why)) if why.contains("--recovery-recipient")));
}

const fn recipient_bound() -> usize {
    super::super::recipient::RECIPIENTS
}

fn age_recipient() -> Recipient {
    age::x25519::Identity::generate().to_public().to_string().parse().expect("a recipient")
}

/// Two rows are always written together, while a backup is made, over and over; in none of them do they differ. Others come and
/// go.
async fn is_of_one_moment(store: Arc<dyn Store>) {
    let fixture = Fixture::open_over(store.clone()).await;
    let key = |text: String| Key::new(text.into_bytes()).expect("short");
    for chunk in (0..3_000).collect::<Vec<u32>>().chunks(60) {
        let batch = chunk.iter().fold(Batch::new(), |batch, number| batch.put(key(format!("i-{number:05}")), vec![7; 300]));
        store.commit(batch).await.expect("stored");
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, is_over) = (store.clone(), is_over.clone());
        async move {
            let mut number = 0_u32;
            while !is_over.load(Ordering::SeqCst) {
                let value = number.to_be_bytes().to_vec();
                let (comes, goes) = (format!("i-{:05}-new", number % 500), format!("i-{:05}", number % 3_000));
                let batch = Batch::new().put(key("i-".to_owned()), value.clone()).put(key("i-99999".to_owned()), value);
                store.commit(batch.put(key(comes), vec![1]).delete(key(goes))).await.expect("stored");
                number += 1;
                tokio::task::yield_now().await;
            }
            number
        }
    });
    let mut changes = 0;
    for _ in 0..5 {
        let (done, path) = fixture.back_up().await.expect("made");
        changes += done.changes;
        assert!(done.pause < Duration::from_millis(500), "{:?}", done.pause);
        let mut archive = Archive::open(&path, Identity::parse(&SecretBytes::new(IDENTITY.to_vec())).expect("one")).expect("there");
        let verified = archive.verify(|_, _| {}).expect("whole");
        let (mut pair, mut keys) = (Vec::new(), BTreeSet::new());
        archive
            .rows(&verified, |key, value| {
                if key == b"i-" || key == b"i-99999" {
                    pair.push(value.to_vec());
                }
                assert!(keys.insert(key.to_vec()), "once each");
                Ok::<_, Error>(())
            })
            .expect("as verified");
        let number = u32::from_be_bytes(pair[0].as_slice().try_into().expect("four bytes"));
        assert_eq!(pair[0], pair[1]);
        // All that came and went up to that commit, and nothing of the next.
        let is_there = |text: String| keys.contains(text.as_bytes());
        assert!(is_there(format!("i-{:05}-new", number % 500)) && !is_there(format!("i-{:05}", number % 3_000)));
        assert_eq!(is_there(format!("i-{:05}", (number + 1) % 3_000)), number + 1 < 3_000);
        assert_eq!(keys.len() as u64, verified.rows.values().sum::<u64>());
    }
    is_over.store(true, Ordering::SeqCst);
    assert!(writer.await.expect("no panic") > 10 && changes > 10, "{changes} changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_of_one_moment_in_memory() {
    is_of_one_moment(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_of_one_moment_in_the_embedded_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = SledOptions { reserve_bytes: 0, ..SledOptions::default() };
    is_of_one_moment(Arc::new(SledStore::open(&folder.path().join("vault"), &options, Mode::CreateNew).expect("new"))).await;
}

#[test]
fn the_fate_of_a_secret_is_its_last() {
    let entry = |sequence: u64, method: &str, resource: &str, outcome: &str| -> crate::audit::Entry {
        serde_json::from_value(serde_json::json!({
            "time": "2026-11-24T08:00:00Z", "sequence": sequence, "node": "n", "event": "outcome", "method": method,
            "resource": resource, "outcome": outcome,
        }))
        .expect("an entry")
    };
    let fates = Fates::from_entries([
        entry(1, "DestroySecret", "shop/back", "ok"),
        entry(2, "RestoreSecret", "shop/back", "ok"),
        entry(3, "DestroySecret", "shop/gone", "ok"),
        entry(4, "CreateSecret", "shop/gone", "ok"),
        entry(5, "DestroySecret", "shop/tried", "conflict"),
        entry(6, "DestroySecret", "shop/purged", "ok"),
        entry(7, "PurgeDue", "shop/purged", "ok"),
        // Another secret of the same name: what became of it says nothing of the one in the backup.
        entry(8, "DestroySecret", "shop/purged", "ok"),
        entry(9, "RestoreSecret", "shop/purged", "ok"),
    ]);
    assert_eq!(fates.len(), 2, "{fates:?}");
    assert!(format!("{fates:?}").contains("\"shop/purged\": Purged"), "{fates:?}");
    assert!(!fates.is_empty() && Fates::from_entries([]).is_empty());
}
