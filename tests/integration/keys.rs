//! Key versions, made while the vault serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom::client::{KeyState, Page, Reveal};
use strongroom::model::NamespaceName;
use tonic::Code;

use crate::stage::{named, opaque, shared};
use crate::wire::refused;

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_under_writers_and_every_value_stays_readable() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let (owner, keeper) =
        (stage.holding(&namespace, &["describe,reveal,create:**"]).await, stage.holding(&namespace, &["rotate:**"]).await);
    let name: NamespaceName = namespace.parse().expect("valid");
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (owner, namespace, ended) = (owner.clone(), namespace.clone(), ended.clone());
            tokio::spawn(async move {
                let mut stored = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let name = named(format!("{namespace}/{writer}/{}", stored.len()));
                    stored.push(owner.create_secret(opaque(&name, name.to_string().as_str())).await.expect("stored").secret);
                }
                stored
            })
        })
        .collect();
    for version in 1..=8 {
        assert_eq!(keeper.rotate_key(&name, version, "a test").await.expect("rotated").version, version + 1);
        assert_eq!(refused(&keeper.rotate_key(&name, version, "a test").await), Code::Aborted, "a retry rotates no further");
    }
    ended.store(true, Ordering::Relaxed);
    let mut versions = std::collections::BTreeSet::new();
    for writer in writers {
        for secret in writer.await.expect("no panic") {
            let revealed = owner.reveal_secret(Reveal::latest(&secret.name)).await.expect("revealed");
            assert_eq!(revealed.value.expose(), secret.name.to_string().as_bytes());
            versions.insert(secret.kek_version);
        }
    }
    assert!(versions.len() > 1, "nothing was written while keys rotated: {versions:?}");
    let keys = keeper.list_keys(Some(&name), Page::default()).await.expect("listed").items;
    let active: Vec<_> = keys.iter().filter(|key| key.state == KeyState::Active).map(|key| key.version).collect();
    assert_eq!((active, keys.len()), (vec![9], 9));
}
