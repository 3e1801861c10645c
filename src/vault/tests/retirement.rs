//! The end of key versions.

use super::*;
use crate::crypto::{KeyState, verify_note};
use crate::gate::InNamespace;

impl Fixture {
    /// With somebody who retires keys, and a namespace whose version 1 only decrypts.
    async fn rotated() -> Self {
        let fixture = Self::open().await;
        fixture.bind("key-admin", kim(), None).await.expect("bound");
        fixture.bind_on_the_vault("key-admin").await.expect("bound");
        fixture.rotate().await.expect("rotated");
        fixture
    }

    async fn step(&self, version: u32, step: KeyStep) -> Result<KeyStepTaken, Error> {
        let method = match step {
            KeyStep::Disable => Method::DisableKey,
            KeyStep::Enable => Method::EnableKey,
            KeyStep::Retire => Method::RetireKey,
            KeyStep::Cancel => Method::CancelKeyRetirement,
        };
        let shop = InNamespace("shop".parse().expect("valid"));
        self.run(kim(), method, shop, move |vault, permit| async move { vault.open()?.step_key(permit, version, step).await }).await
    }

    async fn statement(&self, version: u32) -> Result<String, Error> {
        let shop = InNamespace("shop".parse().expect("valid"));
        self.run(
            kim(),
            Method::GetKeyStatement,
            shop,
            move |vault, permit| async move { vault.open()?.key_statement(permit, version).await },
        )
        .await
    }

    fn key_state(&self, version: u32) -> KeyState {
        let open = self.vault.open().expect("open");
        let namespaces = open.namespaces.load();
        let keys = namespaces.values().next().expect("shop").keys();
        let mut inventory = keys.keyring.inventory();
        inventory.find(|info| info.version == version).expect("there").state
    }

    /// The same vault so many days later, after a restart: a clock that jumps under a running server is believed by nobody.
    async fn later(&self, days: u64) -> Self {
        let clock = Hands { ahead_ms: AtomicU64::new(days * DAY_MS + 1_000) };
        let later = Self::at(clock, self.store.clone(), self.random.clone(), self.pins, History::default()).await.expect("this vault");
        later.unseal().await.expect("opened");
        later.vault.housekeep(&later.gate).await.expect("nothing is wrong");
        later
    }

    fn verified(&self, statement: &str) -> String {
        verify_note(statement, &signer(self.pins.vault_id), &self.pins.audit_public_key).expect("the vault's own").to_owned()
    }
}

fn kim() -> SpiffeId {
    "spiffe://people.test/kim".parse().expect("valid")
}

const DAY_MS: u64 = 24 * 3_600_000;

#[tokio::test]
async fn a_version_that_nothing_is_under_ends_after_thirty_days_with_statements_that_anybody_can_verify() {
    let fixture = Fixture::rotated().await;
    fixture.create("shop/a", "STAGE_1", None).await.expect("under version 2");
    assert!(matches!(fixture.step(1, KeyStep::Retire).await, Err(Error::State(_))), "not disabled yet");
    assert!(matches!(fixture.step(2, KeyStep::Disable).await, Err(Error::State(_))), "the active one");
    assert!(matches!(fixture.step(3, KeyStep::Disable).await, Err(Error::Absent(_))));
    assert_eq!(fixture.step(1, KeyStep::Disable).await.expect("disabled").key.state, KeyState::Disabled);
    assert!(matches!(fixture.statement(1).await, Err(Error::Absent(_))));
    let taken = fixture.step(1, KeyStep::Retire).await.expect("scheduled");
    let KeyState::Scheduled(due) = taken.key.state else { panic!("{:?}", taken.key.state) };
    let statement = taken.statement.expect("one");
    let text = fixture.verified(&statement);
    for line in [
        "namespace: shop\n",
        "key version: 1\n",
        "rows scanned: 1\n",
        "rows under it: 0\n",
        &format!("state: scheduled, to be destroyed at {due}\n"),
        "by: spiffe://people.test/kim\n",
        &format!("vault: {}\n", fixture.pins.vault_id),
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(
        verify_note(&statement.replace("scanned: 1", "scanned: 9"), &signer(fixture.pins.vault_id), &fixture.pins.audit_public_key)
            .is_err()
    );
    assert_eq!(fixture.statement(1).await.expect("kept"), statement);
    assert_eq!(fixture.step(1, KeyStep::Retire).await.expect("a retry").statement.as_deref(), Some(statement.as_str()));

    assert!(matches!(fixture.later(29).await.key_state(1), KeyState::Scheduled(_)));
    let fixture = fixture.later(30).await;
    assert_eq!(fixture.key_state(1), KeyState::Destroyed);
    let text = fixture.verified(&fixture.statement(1).await.expect("a new one"));
    assert!(text.contains("state: destroyed\n") && text.contains("by: strongroom\n"), "{text}");
    assert_eq!(fixture.reveal("shop/a").await.expect("there"), "STAGE_1");

    // A clock that jumps under a running server ends nothing.
    let jumped = Fixture::rotated().await;
    jumped.step(1, KeyStep::Disable).await.expect("disabled");
    jumped.step(1, KeyStep::Retire).await.expect("scheduled");
    jumped.clock.ahead_ms.store(31 * DAY_MS, Ordering::SeqCst);
    jumped.vault.housekeep(&jumped.gate).await.expect("it waits");
    assert!(matches!(jumped.key_state(1), KeyState::Scheduled(_)));

    // After a restart it is still gone, and the rest opens.
    fixture.run(ana(), Method::Seal, WholeVault::VAULT, |vault, permit| async move { vault.seal(permit).await }).await.expect("sealed");
    fixture.unseal().await.expect("opened");
    assert_eq!(fixture.key_state(1), KeyState::Destroyed);
}

#[tokio::test]
async fn a_version_that_values_are_under_is_not_retired_and_disabling_shows_who_needs_it() {
    let fixture = Fixture::open().await;
    fixture.bind("key-admin", kim(), None).await.expect("bound");
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    let stored = fixture.create("shop/a", "STAGE_1", None).await.expect("under version 1");
    fixture.rotate().await.expect("rotated");
    fixture.step(1, KeyStep::Disable).await.expect("disabled");
    assert!(matches!(fixture.reveal("shop/a").await, Err(Error::State(_))));
    assert!(matches!(fixture.step(1, KeyStep::Retire).await, Err(Error::RowsUnderKey(1))));
    assert_eq!(fixture.key_state(1), KeyState::Disabled);
    fixture.step(1, KeyStep::Enable).await.expect("back");
    assert_eq!(fixture.reveal("shop/a").await.expect("there"), "STAGE_1");
    // An older version of a secret counts as the newest does.
    fixture.update("shop/a", stored.info.revision, "STAGE_2", None).await.expect("under version 2");
    fixture.step(1, KeyStep::Disable).await.expect("disabled");
    assert!(matches!(fixture.step(1, KeyStep::Retire).await, Err(Error::RowsUnderKey(1))));
}

#[tokio::test]
async fn what_is_scheduled_can_be_taken_back_until_its_time_has_come() {
    let fixture = Fixture::rotated().await;
    fixture.step(1, KeyStep::Disable).await.expect("disabled");
    fixture.step(1, KeyStep::Retire).await.expect("scheduled");
    assert!(matches!(fixture.step(1, KeyStep::Enable).await, Err(Error::State(_))), "by way of disabled");
    assert_eq!(fixture.step(1, KeyStep::Cancel).await.expect("kept").key.state, KeyState::Disabled);
    let fixture = fixture.later(31).await;
    assert_eq!(fixture.step(1, KeyStep::Enable).await.expect("back").key.state, KeyState::DecryptOnly);
}

// immune: row-68
#[tokio::test]
async fn a_writer_that_slept_through_a_retirement_writes_nothing_under_the_key() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Arc::new(Fixture::open_over(store.clone()).await);
    fixture.bind("key-admin", kim(), None).await.expect("bound");
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    // It has encrypted under version 1, and falls asleep before its commit.
    store.class.store(b'h', Ordering::SeqCst);
    let sleeper = fixture.clone();
    let writer = tokio::spawn(async move { sleeper.create("shop/late", "STAGE_1", None).await });
    store.is_held.notified().await;
    fixture.rotate().await.expect("rotated");
    fixture.step(1, KeyStep::Disable).await.expect("disabled");
    fixture.step(1, KeyStep::Retire).await.expect("nothing is under it");
    store.release.notify_one();
    writer.await.expect("no panic").expect("stored, under the new key");
    let rows = fixture.rows("h").await;
    let versions: Vec<_> = rows.iter().map(|(_, row)| super::super::row::Head::decode(&row.value).expect("a head").kek_version).collect();
    assert_eq!(versions, [2]);
}

/// Whoever puts rows back under a key that is to go keeps it from going.
#[tokio::test]
async fn a_version_that_rows_are_under_after_all_is_kept() {
    let fixture = Fixture::open().await;
    fixture.bind("key-admin", kim(), None).await.expect("bound");
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    fixture.create("shop/a", "STAGE_1", None).await.expect("under version 1");
    let old = fixture.rows("h").await.pop().expect("one");
    fixture.destroy("shop/a").await.expect("destroyed");
    fixture.rotate().await.expect("rotated");
    fixture.store.commit(Batch::new().delete(old.0.clone())).await.expect("gone");
    fixture.step(1, KeyStep::Disable).await.expect("disabled");
    fixture.step(1, KeyStep::Retire).await.expect("scheduled");
    fixture.put(&old.0, old.1.value.to_vec()).await;
    assert_eq!(fixture.later(31).await.key_state(1), KeyState::Disabled);
}

/// What is under a key version out of service waits for it, and keeps nobody else's destroyed secret alive.
#[tokio::test]
async fn destroyed_secrets_under_a_disabled_version_hold_up_no_other() {
    let fixture = Fixture::open().await;
    fixture.bind("key-admin", kim(), None).await.expect("bound");
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    fixture.create("shop/locked", "STAGE_1", None).await.expect("under version 1");
    fixture.destroy("shop/locked").await.expect("destroyed");
    fixture.rotate().await.expect("rotated");
    fixture.create("shop/free", "STAGE_1", None).await.expect("under version 2");
    fixture.destroy("shop/free").await.expect("destroyed");
    fixture.step(1, KeyStep::Disable).await.expect("disabled");
    let fixture = fixture.later(31).await;
    assert_eq!(fixture.rows("j").await.len(), 1, "the other is purged");
    fixture.step(1, KeyStep::Enable).await.expect("back");
    fixture.vault.housekeep(&fixture.gate).await.expect("nothing is wrong");
    assert!(fixture.rows("j").await.is_empty());
}
