//! What happens at once.

use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

use super::*;
use crate::access::ChangeRefused;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_create_one_name_one_succeeds() {
    let fixture = Arc::new(Fixture::open().await);
    let racers: Vec<_> = (0..64)
        .map(|number| {
            let fixture = fixture.clone();
            tokio::spawn(async move { fixture.create("shop/a", &format!("value {number}"), None).await.is_ok() })
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        winners += usize::from(racer.await.expect("it ran"));
    }
    assert_eq!(winners, 1);
    let new =
        || NewNamespace { name: "twice".parse().expect("valid"), environment: Environment::Stage, limits: NamespaceLimits::default() };
    let mut made = 0;
    for _ in 0..2 {
        let new = new();
        let answer = fixture.run(ana(), Method::CreateNamespace, WholeVault::NAMESPACES, |vault, permit| async move {
            vault.open()?.create_namespace(permit, new).await
        });
        made += usize::from(answer.await.is_ok());
    }
    assert_eq!(made, 1);
}

/// Whoever looked before another wrote, and writes after it.
async fn held_create(fixture: &Arc<Fixture>, store: &UnsteadyStore, meanwhile: impl Future<Output = ()>) -> Result<Stored, Error> {
    store.class.store(b'h', Ordering::SeqCst);
    let held = tokio::spawn({
        let fixture = fixture.clone();
        async move { fixture.create("shop/a", "held", None).await }
    });
    store.is_held.notified().await;
    meanwhile.await;
    store.release.notify_one();
    held.await.expect("it ran")
}

// immune: row-20
#[tokio::test]
async fn a_name_that_was_free_when_looked_at_may_be_taken_when_written() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Arc::new(Fixture::open_over(store.clone()).await);
    let meanwhile = async { drop(fixture.create("shop/a", "first", None).await.expect("stored")) };
    let held = held_create(&fixture, &store, meanwhile).await;
    assert!(matches!(held, Err(Error::Exists)));
    assert_eq!(fixture.reveal("shop/a").await.expect("stored"), "first");
}

// immune: row-68
#[tokio::test]
async fn a_writer_that_slept_through_a_rotation_begins_again_under_the_new_key() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Arc::new(Fixture::open_over(store.clone()).await);
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    let meanwhile = async { fixture.rotate().await.expect("rotated") };
    let held = held_create(&fixture, &store, meanwhile).await.expect("stored");
    assert_eq!(held.info.kek_version, 2);
    assert_eq!(fixture.reveal("shop/a").await.expect("stored"), "held");
}

/// They go on when their callers have gone, and keep what they are to store.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_nobody_waits_for_are_bounded_and_keep_nobody_from_sealing() {
    const MOST: usize = 1_024;
    let fixture = Fixture::open().await;
    let (begun, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let change = || {
        let (gate, begun, end) = (fixture.gate.clone(), begun.clone(), end.clone());
        tokio::spawn(async move {
            let held = move |_| async move {
                begun.fetch_add(1, Ordering::SeqCst);
                drop(end.acquire().await);
                Ok::<_, Error>(Unreleased::new(()))
            };
            gate.run(Call::new(Method::CreateSecret, peer(&owner())), name("shop/a"), held).await
        })
    };
    let callers: Vec<_> = (0..MOST + 100).map(|_| change()).collect();
    let all_have_begun = async {
        while begun.load(Ordering::SeqCst) < MOST {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_have_begun).await.expect("as many as may");
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    let last = change();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(begun.load(Ordering::SeqCst), MOST, "the others wait");
    let sealing = fixture.run(ana(), Method::Seal, WholeVault::VAULT, |vault, permit| async move { vault.seal(permit).await });
    tokio::time::timeout(Duration::from_secs(10), sealing).await.expect("who seals does not wait").expect("sealed");
    end.close();
    let last = tokio::time::timeout(Duration::from_secs(10), last).await.expect("its turn has come").expect("it ran");
    assert!(matches!(last, Err(Refusal::Sealed)), "it is decided when its turn has come: {last:?}");
    assert_eq!(begun.load(Ordering::SeqCst), MOST, "those that waited went with their callers");
}

#[tokio::test]
async fn a_seal_ends_the_purges_that_are_still_to_come() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::open_over(store.clone()).await;
    for at in ["shop/a", "shop/b"] {
        fixture.create(at, "value", None).await.expect("stored");
        fixture.destroy(at).await.expect("destroyed");
    }
    // The server was started again a year later.
    let clock = Hands { ahead_ms: (365 * 24 * 3600 * 1000).into() };
    let later = Fixture::at(clock, fixture.store.clone(), fixture.random.clone(), fixture.pins, History::default()).await;
    let later = Arc::new(later.expect("it holds this vault"));
    later.unseal().await.expect("opened");
    store.class.store(b'h', Ordering::SeqCst);
    let purging = tokio::spawn({
        let later = later.clone();
        async move { later.vault.housekeep(&later.gate).await }
    });
    store.is_held.notified().await;
    assert!(later.vault.shut().await);
    store.release.notify_one();
    purging.await.expect("it ran").expect("nothing is wrong");
    assert_eq!(fixture.rows("j").await.len(), 1, "one was under way, the other is left");
}

/// A change of the policy under way: Ben takes Ana's rights as an administrator away, and the store holds the commit.
struct Held {
    store: Arc<UnsteadyStore>,
    fixture: Arc<Fixture>,
    removal: tokio::task::JoinHandle<Result<(), Error>>,
}

async fn held_removal() -> Held {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Arc::new(Fixture::open_over(store.clone()).await);
    let anas = fixture.first_binding_of(&ana());
    store.class.store(b'p', Ordering::SeqCst);
    let removal = tokio::spawn({
        let fixture = fixture.clone();
        async move { fixture.unbind(ben(), anas).await }
    });
    store.is_held.notified().await;
    Held { store, fixture, removal }
}

#[tokio::test]
async fn whoever_administers_no_more_changes_nothing_more() {
    let Held { store, fixture, removal } = held_removal().await;
    // Still an administrator, she asks; her call waits for the change under way.
    let asked = fixture.audit.status().last_sequence;
    let accomplice = tokio::spawn({
        let fixture = fixture.clone();
        async move { fixture.bind("access-admin", "spiffe://people.test/cem".parse().expect("valid"), None).await.map(drop) }
    });
    while fixture.audit.status().last_sequence == asked {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.release.notify_one();
    removal.await.expect("it ran").expect("removed");
    let refused = accomplice.await.expect("it ran");
    assert!(matches!(refused, Err(Error::Policy(ChangeRefused::NotAdministrator))), "{refused:?}");
}

#[tokio::test]
async fn a_change_of_the_policy_that_was_in_doubt_is_in_force_if_it_happened() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::open_over(store.clone()).await;
    let bound = fixture.bind("auditor", "spiffe://people.test/erin".parse().expect("valid"), None).await.expect("bound").binding;
    store.is_in_doubt.store(true, Ordering::SeqCst);
    fixture.unbind(ana(), bound.id).await.expect("it happened");
    let policy = fixture.vault.open().expect("open").policy.snapshot().expect("open");
    assert!(policy.binding(bound.id).is_none());
    // And so it goes on.
    fixture.bind_on_the_vault("auditor").await.expect("bound");
    store.is_in_doubt.store(true, Ordering::SeqCst);
    assert_eq!(fixture.make_namespace(ana(), "second", None).await.expect("it happened").name.to_string(), "second");
    fixture.make_namespace(ana(), "third", None).await.expect("made");
}

#[tokio::test]
async fn a_change_that_was_in_doubt_and_cannot_be_looked_at_is_said_to_be_in_doubt() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::open_over(store.clone()).await;
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    store.darken();
    assert!(matches!(fixture.create("shop/a", "one", None).await, Err(Error::Unknown)));
    store.lighten();
    assert_eq!(fixture.reveal("shop/a").await.expect("it happened"), "one");
    store.darken();
    assert!(matches!(fixture.rotate().await, Err(Error::Unknown)));
    store.lighten();
    // The next to meet the new keyring takes it up: a secret, or a rotation, which asks to be told again.
    assert_eq!(fixture.create("shop/b", "two", None).await.expect("service goes on").info.kek_version, 2);
    store.darken();
    assert!(matches!(fixture.rotate().await, Err(Error::Unknown)));
    store.lighten();
    assert!(matches!(fixture.rotate().await, Err(Error::Conflict)));
    fixture.rotate().await.expect("rotated");
    assert_eq!(fixture.create("shop/c", "three", None).await.expect("stored").info.kek_version, 4);
}

#[tokio::test]
async fn a_seal_waits_for_no_change_of_the_policy() {
    let Held { store, fixture, removal } = held_removal().await;
    assert!(tokio::time::timeout(Duration::from_secs(10), fixture.vault.shut()).await.expect("at once"));
    assert!(!fixture.vault.is_open() && fixture.vault.policy_generation() > 0);
    let known = fixture.vault.policy_generation();
    store.release.notify_one();
    removal.await.expect("it ran").expect("it was under way");
    assert_eq!(fixture.vault.policy_generation(), known + 1, "what it did is known all the same");
}
