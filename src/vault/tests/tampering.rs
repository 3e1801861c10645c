//! What whoever owns the database can do to it.

use super::*;

// immune: row-38
#[tokio::test]
async fn every_bit_of_a_secrets_row_is_authenticated() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "value", None).await.expect("stored");
    let (key, row) = fixture.rows("h").await.remove(0);
    for flipped in each_flipped_bit(&row.value) {
        fixture.put(&key, flipped).await;
        assert!(fixture.reveal("shop/a").await.is_err());
    }
    fixture.put(&key, row.value.to_vec()).await;
    assert_eq!(fixture.reveal("shop/a").await.expect("as it was"), "value");
}

// immune: row-38
#[tokio::test]
async fn every_bit_of_the_vaults_own_rows_is_authenticated() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "value", Some("1")).await.expect("stored");
    let open = fixture.vault.open().expect("open");
    fixture.destroy("shop/a").await.expect("destroyed");
    for class in ["k", "n", "p", "j"] {
        let rows = fixture.rows(class).await;
        assert!(!rows.is_empty(), "{class}");
        for (key, row) in rows {
            let opens = |bytes: &[u8]| match class {
                "k" => open.rows.open::<KeyringRow>(&key, bytes).is_ok(),
                "n" => open.rows.open::<NamespaceRecord>(&key, bytes).is_ok(),
                "j" => open.rows.open::<PurgeJob>(&key, bytes).is_ok(),
                _ if key.as_bytes() == b"p" => open.rows.open::<PolicyHead>(&key, bytes).is_ok(),
                _ => open.rows.open::<Role>(&key, bytes).is_ok() || open.rows.open::<record::Binding>(&key, bytes).is_ok(),
            };
            assert!(opens(&row.value), "{class}");
            assert!(!each_flipped_bit(&row.value).any(|flipped| opens(&flipped)), "{class}");
        }
    }
    for name in super::super::lifecycle::OWN_SECRETS {
        let key = row::own_secret_key(name);
        let row = fixture.store.get(std::slice::from_ref(&key)).await.expect("got").remove(0).expect("there");
        open.rows.own_secret(name, 1).await.expect("as it was");
        for flipped in each_flipped_bit(&row.value) {
            fixture.put(&key, flipped).await;
            assert!(open.rows.own_secret(name, 1).await.is_err());
        }
    }
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "value", Some("1")).await.expect("stored");
    let (key, lookup) = fixture.rows("i").await.remove(0);
    for flipped in each_flipped_bit(&lookup.value) {
        fixture.put(&key, flipped).await;
        assert!(fixture.find("1").await.is_err());
    }
}

// immune: row-38
#[tokio::test]
async fn rows_that_changed_places_are_refused() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "of a", None).await.expect("stored");
    fixture.create("shop/b", "of b", None).await.expect("stored");
    let rows = fixture.rows("h").await;
    fixture.put(&rows[0].0, rows[1].1.value.to_vec()).await;
    fixture.put(&rows[1].0, rows[0].1.value.to_vec()).await;
    for at in ["shop/a", "shop/b"] {
        assert!(matches!(fixture.reveal(at).await, Err(Error::Integrity(_))), "{at}");
    }
}

// immune: row-38
#[tokio::test]
async fn versions_that_changed_places_are_refused() {
    let fixture = Fixture::open().await;
    let first = fixture.create("shop/a", "one", None).await.expect("stored").info;
    let second = fixture.update("shop/a", first.revision, "two", None).await.expect("stored").info;
    fixture.update("shop/a", second.revision, "three", None).await.expect("stored");
    let rows = fixture.rows("v").await;
    assert_eq!(fixture.reveal_version("shop/a", 1).await.expect("there"), "one");
    assert_eq!(fixture.versions("shop/a").await.expect("there"), [3, 2, 1]);
    for flipped in each_flipped_bit(&rows[0].1.value) {
        fixture.put(&rows[0].0, flipped).await;
        assert!(fixture.reveal_version("shop/a", 1).await.is_err());
    }
    fixture.put(&rows[0].0, rows[1].1.value.to_vec()).await;
    fixture.put(&rows[1].0, rows[0].1.value.to_vec()).await;
    for version in [1, 2] {
        assert!(matches!(fixture.reveal_version("shop/a", version).await, Err(Error::Integrity(_))), "{version}");
    }
    assert!(matches!(fixture.versions("shop/a").await, Err(Error::Integrity(_))));
}

// immune: row-64
#[tokio::test]
async fn a_lookup_that_leads_to_another_secret_is_refused() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "of a", Some("1")).await.expect("stored");
    fixture.create("shop/b", "of b", Some("2")).await.expect("stored");
    assert_eq!(fixture.find("1").await.expect("found")[0].name, name("shop/a"));
    let rows = fixture.rows("i").await;
    fixture.put(&rows[0].0, rows[1].1.value.to_vec()).await;
    fixture.put(&rows[1].0, rows[0].1.value.to_vec()).await;
    for subject in ["1", "2"] {
        assert!(matches!(fixture.find(subject).await, Err(Error::Integrity(_))), "{subject}");
    }
    // A row that leads to another secret of the same subject, and so hides its own.
    fixture.put(&rows[0].0, rows[0].1.value.to_vec()).await;
    fixture.put(&rows[1].0, rows[1].1.value.to_vec()).await;
    fixture.create("shop/c", "of a, too", Some("1")).await.expect("stored");
    assert_eq!(fixture.find("1").await.expect("found").len(), 2);
    let head_of = |at: &str| {
        let of = name(at);
        let open = fixture.vault.open().expect("open");
        let namespace = open.namespaces.load().values().next().expect("shop").clone();
        namespace.keys().keyring.index_key().head_key(namespace.info.id, of.path.segments())
    };
    let (a, c) = (head_of("shop/a"), head_of("shop/c"));
    let hidden = fixture.rows("i").await.into_iter().find(|(_, row)| row.value[..] == c[..]).expect("of c");
    fixture.put(&hidden.0, a).await;
    assert!(matches!(fixture.find("1").await, Err(Error::Integrity(_))));
    // A row under one subject that names the other secret in full.
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "of a", Some("1")).await.expect("stored");
    fixture.create("shop/b", "of b", Some("2")).await.expect("stored");
    let rows = fixture.rows("i").await;
    let id_at = rows[0].0.as_bytes().len() - 16;
    for (of, to) in [(&rows[0], &rows[1]), (&rows[1], &rows[0])] {
        let key = [&of.0.as_bytes()[..id_at], &to.0.as_bytes()[id_at..]].concat();
        fixture.put(&Key::new(key).expect("short"), to.1.value.to_vec()).await;
    }
    for subject in ["1", "2"] {
        assert!(matches!(fixture.find(subject).await, Err(Error::Integrity(_))), "{subject}");
    }
}

// immune: row-58
#[tokio::test]
async fn another_vault_under_these_pins_is_refused() {
    let (fixture, other) = (Fixture::sealed(Arc::new(MemoryStore::new())).await, Fixture::sealed(Arc::new(MemoryStore::new())).await);
    let swapped = Fixture::over(other.store.clone(), other.random.clone(), fixture.pins, History::default()).await;
    assert!(matches!(swapped, Err(Error::NotThisVault(_))));
    // The same id, but keys of another's making.
    let pins = Pins { audit_public_key: fixture.pins.audit_public_key, ..other.pins };
    let swapped =
        Fixture::over(other.store.clone(), other.random.clone(), pins, History::default()).await.expect("its id is the pinned one");
    assert!(matches!(swapped.unseal().await, Err(Error::NotThisVault(_))));
    assert!(!swapped.vault.is_open());
}

// immune: row-59
#[tokio::test]
async fn an_empty_store_under_a_pinned_id_is_refused() {
    let fixture = Fixture::sealed(Arc::new(MemoryStore::new())).await;
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    assert!(matches!(Fixture::over(empty.clone(), fixture.random.clone(), fixture.pins, History::default()).await, Err(Error::Absent(_))));
    assert!(empty.scan(&Key::new(b"H".to_vec()).expect("short"), None, PageSize::MAX).await.expect("scanned").rows.is_empty());
}

#[tokio::test]
async fn a_policy_that_was_put_back_is_refused() {
    let fixture = Fixture::open().await;
    let ahead = fixture.restarted(History { policy_generation: 1_000, ..History::default() }).await;
    assert!(matches!(ahead.unseal().await, Err(Error::NotThisVault(_))), "older than the log says");
    // One binding taken out, without the head.
    let (key, _) = fixture.rows("pb").await.remove(0);
    fixture.store.commit(Batch::new().delete(key)).await.expect("deleted");
    let cut = fixture.restarted(History::default()).await;
    assert!(matches!(cut.unseal().await, Err(Error::Integrity(_))), "not what its head covers");
}

#[test]
fn metadata_has_a_known_encoding() {
    use prost::Message;
    // A field that moved would make every row of every vault unreadable.
    let meta = SecretMeta {
        path: "a/b".to_owned(),
        created_ms: 1,
        intent: 2,
        method: "CreateSecret".to_owned(),
        oldest_version: 1,
        ..Default::default()
    };
    assert_eq!(hex::encode(meta.encode_to_vec()), "0a03612f6220017002 7a0c437265617465536563726574 800101".replace(' ', ""));
    assert_eq!(Revision::ABSENT.number(), 0);
}
