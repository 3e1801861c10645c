//! A vault that opens itself, and one that must not.

use super::*;
use crate::seal::{Header, OpenSlot};

/// A slot of the vault, opened as an HSM would open its own.
async fn open_slot(fixture: &Fixture) -> OpenSlot {
    let (_, row) = fixture.rows("H").await.remove(0);
    let passphrase = Passphrase::parse(&SecretBytes::new(PASSPHRASE.to_vec())).expect("long enough");
    Header::decode(&row.value).expect("the vault's own").open(&passphrase).expect("the right one")
}

async fn by_itself(fixture: &Fixture) -> Result<VaultId, Error> {
    let (vault, slot) = (fixture.vault.clone(), open_slot(fixture).await);
    let opened = fixture
        .gate
        .run_own("automatic_unseal", Action::Operate, WholeVault::VAULT, |permit| async move { vault.unseal_with(permit, slot).await });
    opened.await.map_err(|refusal| match refusal {
        Refusal::Failed(error) => error,
        other => panic!("{other}"),
    })
}

#[tokio::test]
async fn it_opens_itself_once_and_not_after_it_was_sealed() {
    let fixture = Fixture::sealed(Arc::new(MemoryStore::new())).await;
    assert_eq!(by_itself(&fixture).await.expect("nobody has sealed it"), fixture.pins.vault_id);
    assert!(matches!(by_itself(&fixture).await, Err(Error::State("the vault is open already"))));
    fixture.run(ana(), Method::Seal, WholeVault::VAULT, |vault, permit| async move { vault.seal(permit).await }).await.expect("sealed");
    assert!(matches!(by_itself(&fixture).await, Err(Error::State(why)) if why.contains("only a person")));
    assert!(!fixture.vault.is_open());

    let slot = open_slot(&fixture).await;
    let by_ana =
        fixture.run(ana(), Method::Unseal, WholeVault::VAULT, |vault, permit| async move { vault.unseal_with(permit, slot).await });
    assert_eq!(by_ana.await.expect("a person opens it"), fixture.pins.vault_id);
}

#[tokio::test]
async fn who_seals_a_sealed_vault_keeps_it_from_opening_itself() {
    let fixture = Fixture::sealed(Arc::new(MemoryStore::new())).await;
    fixture.vault.note_waiting("its HSM is away".to_owned());
    assert_eq!(fixture.vault.waiting().expect("it waits").why, "its HSM is away");
    let sealed = fixture.run(ana(), Method::Seal, WholeVault::VAULT, |vault, permit| async move { vault.seal(permit).await });
    assert!(matches!(sealed.await, Err(Error::Sealed)));
    assert!(matches!(by_itself(&fixture).await, Err(Error::State(_))));
    assert!(fixture.vault.waiting().is_none());
    fixture.unseal().await.expect("a person opens it");

    let restarted = fixture.restarted(History::default()).await;
    by_itself(&restarted).await.expect("another start");
}
