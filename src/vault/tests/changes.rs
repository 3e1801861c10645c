//! What a change may do.

use super::*;
use crate::access::ChangeRefused;
use crate::crypto::{Keyring, TagLabel};
use crate::model::{NamespaceId, limits};

// immune: row-35
#[tokio::test]
async fn without_randomness_nothing_is_stored() {
    let fixture = Fixture::open().await;
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    let before = [fixture.rows("h").await, fixture.rows("n").await, fixture.rows("k").await, fixture.rows("p").await];
    fixture.random.is_broken.store(true, Ordering::SeqCst);
    assert!(matches!(fixture.create("shop/a", "value", None).await, Err(Error::Crypto(_))));
    assert!(fixture.bind_on_the_vault("key-admin").await.is_err());
    assert!(matches!(fixture.rotate().await, Err(Error::Crypto(_))));
    let after = [fixture.rows("h").await, fixture.rows("n").await, fixture.rows("k").await, fixture.rows("p").await];
    assert_eq!(after, before);
    fixture.random.is_broken.store(false, Ordering::SeqCst);
    fixture.rotate().await.expect("rotated");
}

// immune: row-54
// immune: row-56
#[tokio::test]
async fn a_value_is_replaced_only_by_who_saw_it_and_never_by_another_subjects() {
    let fixture = Fixture::open().await;
    let seen = fixture.create("shop/a", "first", Some("1")).await.expect("stored").info;
    assert!(matches!(fixture.create("shop/a", "second", Some("1")).await, Err(Error::Exists)));
    assert!(matches!(fixture.update("shop/a", seen.revision + 1, "second", None).await, Err(Error::Conflict)));
    assert!(matches!(
        fixture.update("shop/a", seen.revision, "second", Some("2")).await,
        Err(Error::Invalid { field: "access_token", .. })
    ));
    assert_eq!(fixture.update("shop/a", seen.revision, "second", Some("1")).await.expect("replaced").info.version, 2);
    assert!(matches!(fixture.update("shop/a", seen.revision, "second", None).await, Err(Error::Conflict)));
    assert_eq!(fixture.find("1").await.expect("found").len(), 1);
}

#[tokio::test]
async fn no_namespace_is_called_as_a_part_of_the_vault() {
    // Whoever audits it would read the vault's own entries.
    let fixture = Fixture::open().await;
    for word in crate::gate::VAULT_WORDS {
        let new = NewNamespace { name: word.parse().expect("valid"), environment: Environment::Stage, limits: NamespaceLimits::default() };
        let made = fixture
            .run(ana(), Method::CreateNamespace, WholeVault::NAMESPACES, |vault, permit| async move {
                vault.open()?.create_namespace(permit, new).await
            })
            .await;
        assert!(matches!(made, Err(Error::Invalid { field: "name", .. })), "{word}");
    }
}

#[tokio::test]
async fn a_request_id_answers_for_the_same_caller_and_content_alone() {
    let fixture = Fixture::open().await;
    let create = |who: SpiffeId, text: &'static str, subject: Option<&'static str>| {
        let mut call = Call::new(Method::CreateSecret, peer(&who));
        call.request_id = Some(Text::parse("request-1").expect("valid"));
        let (vault, new) = (fixture.vault.clone(), new_secret(text, subject));
        fixture.gate.run(call, name("shop/a"), move |permit| async move { vault.open()?.create(permit, new).await })
    };
    let first = create(owner(), "value", Some("1")).await.expect("stored").info;
    let again = create(owner(), "value", Some("1")).await.expect("the same answer").info;
    assert_eq!((again.revision, again.version), (first.revision, 1));
    assert!(matches!(create(owner(), "other", Some("1")).await, Err(Refusal::Failed(Error::Exists))));
    assert!(matches!(create(owner(), "value", Some("2")).await, Err(Refusal::Failed(Error::Exists))));
    assert!(matches!(create(owner(), "value", None).await, Err(Refusal::Failed(Error::Exists))));
}

#[tokio::test]
async fn a_clock_that_jumped_ends_no_recovery_window() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "value", None).await.expect("stored");
    fixture.destroy("shop/a").await.expect("destroyed");
    let year = 365 * 24 * 3600 * 1000;
    fixture.clock.ahead_ms.store(year, Ordering::SeqCst);
    fixture.vault.housekeep(&fixture.gate).await.expect("nothing is wrong");
    assert_eq!(fixture.rows("j").await.len(), 1, "a year within a second is no time that passed");
    // A year that passed while the server was down counts: it starts with that clock.
    let clock = Hands { ahead_ms: year.into() };
    let later = Fixture::at(clock, fixture.store.clone(), fixture.random.clone(), fixture.pins, History::default()).await;
    let later = later.expect("it holds this vault");
    later.unseal().await.expect("opened");
    later.vault.housekeep(&later.gate).await.expect("nothing is wrong");
    assert_eq!(fixture.rows("j").await.len(), 0);
}

#[tokio::test]
async fn nothing_is_purged_before_its_time_or_after_it_was_restored() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "value", None).await.expect("stored");
    fixture.destroy("shop/a").await.expect("destroyed");
    fixture.vault.housekeep(&fixture.gate).await.expect("nothing is wrong");
    let jobs = fixture.rows("j").await;
    assert_eq!(jobs.len(), 1, "its window has just begun");
    let restored = fixture.run(owner(), Method::RestoreSecret, name("shop/a"), |vault, permit| async move {
        vault.open()?.change_state(permit, 0, StateChange::Restore).await
    });
    restored.await.expect("in time");
    // What would have purged it is there again, and long due.
    for (key, row) in &jobs {
        fixture.put(key, row.value.to_vec()).await;
    }
    let clock = Hands { ahead_ms: (365 * 24 * 3600 * 1000).into() };
    let later = Fixture::at(clock, fixture.store.clone(), fixture.random.clone(), fixture.pins, History::default()).await;
    let later = later.expect("it holds this vault");
    later.unseal().await.expect("opened");
    later.vault.housekeep(&later.gate).await.expect("nothing is wrong");
    assert_eq!(later.reveal("shop/a").await.expect("it is destroyed no more"), "value");
    assert_eq!(later.rows("j").await.len(), 0);
}

#[tokio::test]
async fn a_request_id_of_one_administrator_is_not_anothers() {
    let fixture = Fixture::open().await;
    let first = fixture.make_namespace(ana(), "second", Some("R-1")).await.expect("made");
    assert_eq!(fixture.make_namespace(ana(), "second", Some("R-1")).await.expect("the same answer").id, first.id);
    assert!(matches!(fixture.make_namespace(ben(), "second", Some("R-1")).await, Err(Error::Exists)));
    let draft = || RoleDraft {
        name: "reviewer".parse().expect("valid"),
        description: None,
        grants: vec![Grant { actions: ActionSet::of(&[Action::Audit]), pattern: PathPattern::everything() }],
    };
    let create = |who| {
        let draft = draft();
        fixture.run_as(who, Method::CreateRole, WholeVault::ROLES, Some("R-2"), |vault, permit| async move {
            vault.open()?.create_role(permit, draft).await
        })
    };
    let update = |who| {
        let draft = draft();
        fixture.run_as(who, Method::UpdateRole, WholeVault::ROLES, Some("R-2"), |vault, permit| async move {
            vault.open()?.update_role(permit, draft, u64::MAX).await
        })
    };
    create(ana()).await.expect("made");
    create(ana()).await.expect("the same answer");
    assert!(matches!(create(ben()).await, Err(Error::Policy(ChangeRefused::Exists))));
    assert!(matches!(update(ana()).await, Err(Error::Conflict)));
}

#[tokio::test]
async fn what_somebody_said_of_a_secret_keeps_it_from_no_change_of_state() {
    let fixture = Fixture::open().await;
    let with_labels = |bytes: usize| {
        let mut new = new_secret("value", Some("1"));
        let mut left = bytes;
        for number in 0.. {
            // A label of n bytes takes n + 13 of the encoding: its key of 3, and 10 of frame.
            let length = left.min(255);
            new.labels.insert(Text::parse(&format!("k{number:02}")).expect("valid"), Text::parse(&"x".repeat(length)).expect("valid"));
            left -= length;
            if left == 0 {
                return new;
            }
        }
        unreachable!()
    };
    let create = |at: &str, new| {
        fixture.run(owner(), Method::CreateSecret, name(at), |vault, permit| async move { vault.open()?.create(permit, new).await })
    };
    let mut most = 0;
    for bytes in (6_000..8_192).rev() {
        match create("shop/full", with_labels(bytes)).await {
            Ok(_) => {
                most = bytes;
                break;
            }
            Err(error) => assert!(matches!(error, Error::Invalid { field: "labels", .. })),
        }
    }
    assert!(most > 7_000, "{most}");
    let long: SpiffeId = format!("spiffe://apps.test/{}", "x".repeat(2_048 - 19)).parse().expect("as long as can be");
    fixture.bind("owner", long.clone(), Some("shop")).await.expect("bound");
    let request_id = "r".repeat(128);
    for change in [StateChange::Disable, StateChange::Destroy, StateChange::Restore, StateChange::Enable] {
        fixture
            .run_as(long.clone(), Method::DisableSecret, name("shop/full"), Some(&request_id), move |vault, permit| async move {
                vault.open()?.change_state(permit, 0, change).await
            })
            .await
            .unwrap_or_else(|error| panic!("{change:?}: {error}"));
    }
}

#[tokio::test]
async fn a_token_planted_later_hides_none_that_was_there() {
    let fixture = Fixture::open().await;
    fixture.create("shop/merchants/1", "genuine", Some("1")).await.expect("stored");
    fixture.clock.ahead_ms.store(1_000, Ordering::SeqCst);
    for number in 0..80 {
        fixture.create(&format!("shop/planted/{number}"), "planted", Some("1")).await.expect("stored");
    }
    let found = fixture.find("1").await.expect("found");
    assert_eq!((found.len(), &found[0].name), (64, &name("shop/merchants/1")));
}

#[tokio::test]
async fn a_damaged_secret_keeps_no_other_from_being_purged() {
    let fixture = Fixture::open().await;
    for at in ["shop/a", "shop/b"] {
        fixture.create(at, "value", None).await.expect("stored");
        fixture.destroy(at).await.expect("destroyed");
    }
    let (key, row) = fixture.rows("h").await.remove(0);
    fixture.put(&key, each_flipped_bit(&row.value).nth(300).expect("a bit of the wrapped key")).await;
    let (key, row) = fixture.rows("h").await.remove(1);
    let later = Fixture::at(
        Hands { ahead_ms: (365 * 24 * 3600 * 1000).into() },
        fixture.store.clone(),
        fixture.random.clone(),
        fixture.pins,
        History::default(),
    );
    let later = later.await.expect("it holds this vault");
    later.unseal().await.expect("opened");
    later.vault.housekeep(&later.gate).await.expect("one is damaged, the other is not");
    assert_ne!(later.store.get(&[key]).await.expect("got")[0].as_ref().map(|row| row.revision), Some(row.revision));
    assert_eq!(later.rows("j").await.len(), 1);
}

/// The rows lie in the store as if so many calls had made them: each call would be two entries of the log.
#[tokio::test]
async fn a_vault_has_ten_thousand_namespaces_and_no_more() {
    let made = Fixture::open().await;
    let open = made.vault.open().expect("open");
    // `shop` is one, and one is still to come.
    for number in 2..limits::NAMESPACES as u128 {
        let id = NamespaceId::from_bytes(number.to_be_bytes());
        let keyring = Keyring::create(open.rows.vault, id, open.rows.system_key(), open.random(), SystemClock.now()).expect("made");
        let record = NamespaceRecord { id: id.as_bytes().to_vec(), name: format!("n-{number}"), ..NamespaceRecord::default() };
        let keys = (row::namespace_key(&open.names.tag(TagLabel::Namespace, record.name.as_bytes())), row::keyring_key(id));
        let keyring = open.rows.seal(&keys.1, &KeyringRow { keyring: keyring.encode(), intent: 0 }).expect("sealed");
        let batch = Batch::new().put(keys.0.clone(), open.rows.seal(&keys.0, &record).expect("sealed")).put(keys.1, keyring);
        made.store.commit(batch).await.expect("stored");
    }
    let fixture = made.restarted(History::default()).await;
    fixture.unseal().await.expect("opened");
    fixture.make_namespace(ana(), "the-last", Some("once")).await.expect("there is room for one");
    let many = || fixture.vault.open().expect("open").namespaces.load().len();
    assert_eq!(many(), 10_000);
    assert!(matches!(fixture.make_namespace(ana(), "one-more", None).await, Err(Error::State(_))));
    assert!(matches!(fixture.make_namespace(ana(), "shop", None).await, Err(Error::Exists)), "a name that is taken is still that");
    fixture.make_namespace(ana(), "the-last", Some("once")).await.expect("a retry of the last is no further one");
    assert_eq!(many(), 10_000);
}
