//! What a change may do.

use super::*;

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
