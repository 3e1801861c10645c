//! Key versions, made while the vault serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom::client::{KeyState, Page, Reveal};
use strongroom::model::NamespaceName;
use tonic::Code;

use crate::harness::{PROGRAM, person};
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

/// The page's commands for the end of a key version, by the program itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_retired_version_has_a_statement_that_is_verified_without_a_vault() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let keeper = person(&format!("keeper-{}", stage.number()));
    let role = stage.role(&["rotate:**"]).await;
    stage.bind(&role, &keeper, Some(&namespace)).await;
    let profile = stage.site.profile(&stage.running, &keeper);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("retired.txt").display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["--profile"]).arg(&profile).args(arguments).output().expect("it ran")
    };
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    done(&["keys", "rotate", &namespace, "--reason", "yearly"]);
    assert_eq!(run(&["keys", "retire", &namespace, "1"]).status.code(), Some(5), "not disabled yet");
    done(&["keys", "disable", &namespace, "1", "--reason", "to be retired"]);
    let statement = done(&["keys", "retire", &namespace, "1", "--to", &file]);
    assert_eq!(std::fs::read_to_string(&file).expect("written"), statement);
    assert_eq!(done(&["keys", "statement", &namespace, "1"]), statement);
    assert!(done(&["keys", "list", &namespace]).contains("scheduled"));

    let status = stage.client(&person("cleo")).await.status().await.expect("told");
    let config = std::fs::read_to_string(stage.site.path("strongroom.toml")).expect("there");
    let key = config.lines().find_map(|line| line.strip_prefix("audit_public_key = ")).expect("pinned").trim_matches('"').to_owned();
    let vault = status.vault_id.to_string();
    // No profile, no vault.
    let verify = |file: &str, vault: &str, key: &str| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["keys", "verify-statement", file, "--vault-id", vault, "--audit-public-key", key]).output().expect("it ran")
    };
    let good = verify(&file, &vault, &key);
    assert!(
        good.status.success() && String::from_utf8_lossy(&good.stdout).contains(&namespace),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    assert_eq!(verify(&file, &"0".repeat(32), &key).status.code(), Some(8));
    assert_eq!(verify(&file, &vault, &"0".repeat(64)).status.code(), Some(8));
    assert_eq!(verify(&file, &vault, "0").status.code(), Some(2));
    std::fs::write(&file, statement.replace("rows under it: 0", "rows under it: 1")).expect("written");
    assert_eq!(verify(&file, &vault, &key).status.code(), Some(8));
    done(&["keys", "keep", &namespace, "1"]);
    done(&["keys", "enable", &namespace, "1"]);
}
