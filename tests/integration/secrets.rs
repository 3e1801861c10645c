//! What becomes of a secret: versions, compare-and-swap, retries, states, the end.

use std::time::Duration;

use strongroom::client::{Client, Expiry, MetadataUpdate, NewSecret, Page, Reveal, SecretState, SecretUpdate, StateChange};
use strongroom::model::{Clock, SecretName, SystemClock};
use tonic::Code;

use crate::harness::{PROGRAM, person};
use crate::stage::{Stage, bytes, named, opaque, shared};
use crate::wire::refused;

const OWNER: &str = "describe,reveal,create,update,destroy:**";

/// A namespace of its own, who may do everything in it, and a name.
async fn owned(stage: &Stage) -> (Client, SecretName) {
    let namespace = stage.namespace().await;
    (stage.holding(&namespace, &[OWNER]).await, named(format!("{namespace}/merchants/1")))
}

async fn value(client: &Client, reveal: Reveal) -> Result<String, Code> {
    match client.reveal_secret(reveal).await {
        Ok(revealed) => Ok(String::from_utf8(revealed.value.expose().to_vec()).expect("text")),
        Err(error) => Err(refused(&Err::<(), _>(error))),
    }
}

async fn versions(client: &Client, name: &SecretName) -> Vec<u64> {
    let listed = client.list_secret_versions(name, Page::default()).await.expect("listed");
    assert_eq!(listed.items.iter().filter(|version| version.latest).count(), 1);
    listed.items.iter().map(|version| version.version).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_count_up_and_each_is_revealed_by_its_number() {
    let stage = shared().await;
    let (client, name) = owned(&stage).await;
    let first = client.create_secret(opaque(&name, "one")).await.expect("stored").secret;
    let second = client.update_secret(SecretUpdate::new(&name, bytes("two"), first.revision)).await.expect("updated").secret;
    assert_eq!((first.version, second.version, first.secret_id), (1, 2, second.secret_id));
    assert!(second.revision > first.revision);
    for (number, expected) in [(0, Ok("two")), (1, Ok("one")), (2, Ok("two")), (3, Err(Code::NotFound)), (u64::MAX, Err(Code::NotFound))] {
        let seen = value(&client, Reveal::latest(&name).version(number)).await;
        assert_eq!(seen.as_deref().map_err(|code| *code), expected, "version {number}");
    }
    assert_eq!(versions(&client, &name).await, [2, 1]);
}

// immune: row-54
#[tokio::test(flavor = "multi_thread")]
async fn nobody_overwrites_what_they_have_not_seen() {
    let stage = shared().await;
    let (client, name) = owned(&stage).await;
    let first = client.create_secret(opaque(&name, "one")).await.expect("stored").secret;
    assert_eq!(refused(&client.create_secret(opaque(&name, "two")).await), Code::AlreadyExists);
    assert_eq!(refused(&client.update_secret(SecretUpdate::new(&name, bytes("two"), 0)).await), Code::InvalidArgument);
    assert_eq!(refused(&client.update_secret_metadata(MetadataUpdate::new(&name, 0).set_label("a", "b")).await), Code::InvalidArgument);
    for stale in [first.revision - 1, first.revision + 1, 1, u64::MAX] {
        assert_eq!(refused(&client.update_secret(SecretUpdate::new(&name, bytes("two"), stale)).await), Code::Aborted);
        assert_eq!(refused(&client.update_secret_metadata(MetadataUpdate::new(&name, stale).set_label("a", "b")).await), Code::Aborted);
        let change = || StateChange::of(&name).expected_revision(stale);
        assert_eq!(refused(&client.disable_secret(change()).await), Code::Aborted);
        assert_eq!(refused(&client.destroy_secret(change()).await), Code::Aborted);
    }
    let seen = client.describe_secret(&name).await.expect("described");
    assert_eq!((seen.version, seen.revision), (1, first.revision));
    assert_eq!(value(&client, Reveal::latest(&name)).await.as_deref(), Ok("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_changes_nothing_more_and_passes_for_nothing_else() {
    let stage = shared().await;
    let (client, name) = owned(&stage).await;
    let create = |value: &str| opaque(&name, value).label("a", "b").request_id("first");
    let first = client.create_secret(create("one")).await.expect("stored").secret;
    assert_eq!(client.create_secret(create("one")).await.expect("a retry").secret, first);
    assert_eq!(refused(&client.create_secret(create("other")).await), Code::AlreadyExists);
    assert_eq!(refused(&client.create_secret(create("one").label("c", "d")).await), Code::AlreadyExists);
    assert_eq!(refused(&client.create_secret(create("one").request_id("second")).await), Code::AlreadyExists);

    let update = |value: &str| SecretUpdate::new(&name, bytes(value), first.revision).request_id("third");
    let second = client.update_secret(update("two")).await.expect("updated").secret;
    assert_eq!(client.update_secret(update("two")).await.expect("a retry").secret, second);
    assert_eq!(refused(&client.update_secret(update("other")).await), Code::Aborted);
    let hour = SystemClock.now().plus(Duration::from_secs(3600));
    assert_eq!(refused(&client.update_secret(update("two").expiry(Expiry::At(hour))).await), Code::Aborted);
    assert_eq!(second.version, 2);

    let metadata = |value: &str| MetadataUpdate::new(&name, second.revision).set_label("k", value).remove_label("a").request_id("fourth");
    let third = client.update_secret_metadata(metadata("v")).await.expect("changed");
    assert_eq!(client.update_secret_metadata(metadata("v")).await.expect("a retry"), third);
    assert_eq!(refused(&client.update_secret_metadata(metadata("w")).await), Code::Aborted, "it was not done, and says so");

    let change = |id: &str| StateChange::of(&name).request_id(id);
    let disabled = client.disable_secret(change("5")).await.expect("disabled");
    assert_eq!(client.disable_secret(change("5")).await.expect("a retry"), disabled);
    let enabled = client.enable_secret(change("5")).await.expect("another RPC is no retry");
    assert_eq!(enabled.state, SecretState::Enabled);
    let destroyed = client.destroy_secret(change("6")).await.expect("destroyed");
    assert_eq!(client.destroy_secret(change("6")).await.expect("a retry"), destroyed);
    let restored = client.restore_secret(change("7")).await.expect("restored");
    assert_eq!(client.restore_secret(change("7")).await.expect("a retry"), restored);
    client.destroy_secret(change("8")).await.expect("destroyed");
    assert_eq!(client.purge_secret(change("9")).await.expect("purged"), 2);
    assert_eq!(client.purge_secret(change("9")).await.expect("a retry"), 0);
    assert_eq!(refused(&client.purge_secret(change("10")).await), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_its_callers_own() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let name = named(format!("{namespace}/merchants/1"));
    let (writer, other) = (stage.holding(&namespace, &[OWNER]).await, stage.holding(&namespace, &["describe,create,update:**"]).await);
    let first = writer.create_secret(opaque(&name, "guess me").request_id("known")).await.expect("stored").secret;
    // Who may not reveal must not learn whether they guessed right.
    assert_eq!(refused(&other.create_secret(opaque(&name, "guess me").request_id("known")).await), Code::AlreadyExists);
    let update = |value: &str| SecretUpdate::new(&name, bytes(value), first.revision).request_id("known too");
    writer.update_secret(update("guess again")).await.expect("updated");
    assert_eq!(refused(&other.update_secret(update("guess again")).await), Code::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_secret_is_described_and_not_revealed() {
    let stage = shared().await;
    let (client, name) = owned(&stage).await;
    let first = client.create_secret(opaque(&name, "one")).await.expect("stored").secret;
    client.update_secret(SecretUpdate::new(&name, bytes("two"), first.revision)).await.expect("updated");
    assert_eq!(client.disable_secret(StateChange::of(&name)).await.expect("disabled").state, SecretState::Disabled);
    for version in [0, 1, 2] {
        assert_eq!(value(&client, Reveal::latest(&name).version(version)).await, Err(Code::FailedPrecondition));
    }
    assert_eq!(client.describe_secret(&name).await.expect("described").state, SecretState::Disabled);
    assert_eq!(client.enable_secret(StateChange::of(&name)).await.expect("enabled").state, SecretState::Enabled);
    assert_eq!(value(&client, Reveal::latest(&name)).await.as_deref(), Ok("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_value_is_not_revealed() {
    let stage = shared().await;
    let (client, name) = owned(&stage).await;
    let now = SystemClock.now();
    assert_eq!(refused(&client.create_secret(opaque(&name, "one").expires(now)).await), Code::InvalidArgument);
    let soon = now.plus(Duration::from_millis(1_500));
    let first = client.create_secret(opaque(&name, "one").expires(soon)).await.expect("stored").secret;
    assert_eq!(value(&client, Reveal::latest(&name)).await.as_deref(), Ok("one"), "not yet");
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(value(&client, Reveal::latest(&name)).await, Err(Code::FailedPrecondition));
    assert!(client.describe_secret(&name).await.expect("described").expired);
    // A new value lives again; the old version stays expired.
    let update = SecretUpdate::new(&name, bytes("two"), first.revision).expiry(Expiry::Never);
    let second = client.update_secret(update).await.expect("updated").secret;
    assert_eq!((second.expired, second.expire_time), (false, None));
    assert_eq!(value(&client, Reveal::latest(&name)).await.as_deref(), Ok("two"));
    assert_eq!(value(&client, Reveal::latest(&name).version(1)).await, Err(Code::FailedPrecondition));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_secret_comes_back_or_goes_and_its_numbers_go_on() {
    let stage = shared().await;
    let (client, name) = owned(&stage).await;
    let first = client.create_secret(opaque(&name, "one")).await.expect("stored").secret;
    client.update_secret(SecretUpdate::new(&name, bytes("two"), first.revision)).await.expect("updated");
    assert_eq!(refused(&client.purge_secret(StateChange::of(&name)).await), Code::FailedPrecondition, "not before it is destroyed");
    let destroyed = client.destroy_secret(StateChange::of(&name).reason("over")).await.expect("destroyed");
    let week = destroyed.purge_time.expect("it can be restored").since(destroyed.update_time);
    assert_eq!((destroyed.state, week), (SecretState::Destroyed, Duration::from_secs(7 * 24 * 3600)));
    for version in [0, 1, 2] {
        assert_eq!(value(&client, Reveal::latest(&name).version(version)).await, Err(Code::FailedPrecondition));
    }
    assert_eq!(refused(&client.create_secret(opaque(&name, "three")).await), Code::AlreadyExists, "its window still runs");
    let update = SecretUpdate::new(&name, bytes("three"), destroyed.revision);
    assert_eq!(refused(&client.update_secret(update).await), Code::FailedPrecondition);
    assert_eq!(refused(&client.enable_secret(StateChange::of(&name)).await), Code::FailedPrecondition);
    assert_eq!(client.restore_secret(StateChange::of(&name)).await.expect("restored").purge_time, None);
    assert_eq!(value(&client, Reveal::latest(&name).version(1)).await.as_deref(), Ok("one"));

    client.destroy_secret(StateChange::of(&name)).await.expect("destroyed");
    assert_eq!(client.purge_secret(StateChange::of(&name)).await.expect("purged"), 2);
    assert_eq!(refused(&client.describe_secret(&name).await), Code::NotFound);
    assert_eq!(refused(&client.restore_secret(StateChange::of(&name)).await), Code::NotFound);
    assert_eq!(value(&client, Reveal::latest(&name)).await, Err(Code::NotFound));
    let again = client.create_secret(opaque(&name, "three")).await.expect("the name is free").secret;
    assert_eq!((again.version, again.secret_id), (3, first.secret_id));
    assert_eq!(versions(&client, &name).await, [3]);
    assert_eq!(value(&client, Reveal::latest(&name).version(1)).await, Err(Code::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vault_purges_by_itself_what_nobody_restored() {
    let stage = shared().await;
    let namespace = stage.namespace_with(|new| new.limits.recovery_window = Some(Duration::from_secs(1))).await;
    let client = stage.holding(&namespace, &[OWNER]).await;
    let name = named(format!("{namespace}/short"));
    client.create_secret(opaque(&name, "one")).await.expect("stored");
    client.destroy_secret(StateChange::of(&name)).await.expect("destroyed");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let late = client.restore_secret(StateChange::of(&name)).await;
    assert!(matches!(refused(&late), Code::FailedPrecondition | Code::NotFound), "its window has ended: {late:?}");
    // The vault looks every ten seconds.
    for _ in 0..30 {
        if refused(&client.describe_secret(&name).await) == Code::NotFound {
            assert_eq!(client.create_secret(opaque(&name, "two")).await.expect("stored").secret.version, 2);
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("it is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_versions_only_as_many_stay_as_the_namespace_keeps() {
    let stage = shared().await;
    let namespace = stage.namespace_with(|new| new.limits.versions_kept = 3).await;
    let client = stage.holding(&namespace, &[OWNER]).await;
    let name = named(format!("{namespace}/much-changed"));
    let mut revision = client.create_secret(opaque(&name, "1")).await.expect("stored").secret.revision;
    for version in 2..=6 {
        let update = SecretUpdate::new(&name, bytes(version.to_string()), revision);
        revision = client.update_secret(update).await.expect("updated").secret.revision;
    }
    assert_eq!(versions(&client, &name).await, [6, 5, 4]);
    assert_eq!(value(&client, Reveal::latest(&name).version(4)).await.as_deref(), Ok("4"));
    assert_eq!(value(&client, Reveal::latest(&name).version(3)).await, Err(Code::NotFound));
}

/// A merchant asks to be forgotten: in every namespace, and nobody else with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_is_forgotten_in_every_namespace_and_nobody_else_is() {
    let stage = shared().await;
    let (here, there) = (stage.namespace().await, stage.namespace().await);
    let eraser = person(&format!("eraser-{}", stage.number()));
    let role = stage.role(&["describe,create,destroy:**"]).await;
    for namespace in [&here, &there] {
        stage.bind(&role, &eraser, Some(namespace)).await;
    }
    let owner = stage.client(&eraser).await;
    let subject = format!("merchant-{}", stage.number());
    let store = |name: String, subject: String| {
        let owner = owner.clone();
        async move { owner.create_secret(NewSecret::access_token(&named(name), bytes("value"), "wepay", subject)).await.expect("stored") }
    };
    for name in [format!("{here}/a"), format!("{here}/b/c"), format!("{there}/a")] {
        store(name, subject.clone()).await;
    }
    store(format!("{here}/other"), format!("{subject}0")).await;
    let profile = stage.site.profile(&stage.running, &eraser);
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["--output", "json", "--profile"]).arg(&profile).args(arguments).stdin(std::process::Stdio::null());
        command.output().expect("it ran")
    };
    let told = |output: std::process::Output| -> serde_json::Value {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    assert_eq!(run(&["subject", "destroy", "wepay", &subject]).status.code(), Some(2), "nobody was there to confirm");
    assert_eq!(told(run(&["subject", "list", "wepay", &subject]))["items"].as_array().map(Vec::len), Some(3));
    let done = told(run(&["subject", "destroy", "wepay", &subject, "--yes", "--reason", "a request for erasure"]));
    assert_eq!((done["destroyed"].as_array().map(Vec::len), &done["complete"]), (Some(3), &true.into()));
    let ends = done["ends"].as_array().expect("a list");
    assert!(ends.len() >= 4 && ends[1]["when"].as_str().expect("text").contains("restore"), "{ends:?}");
    for name in [format!("{here}/a"), format!("{there}/a")] {
        assert_eq!(owner.describe_secret(&named(&name)).await.expect("restorable").state, SecretState::Destroyed);
    }
    assert_eq!(owner.describe_secret(&named(format!("{here}/other"))).await.expect("there").state, SecretState::Enabled);
    // What is destroyed already is purged as well.
    let done = told(run(&["subject", "destroy", "wepay", &subject, "--purge", "--yes"]));
    assert_eq!((done["destroyed"].as_array().map(Vec::len), &done["purged"]), (Some(3), &true.into()));
    assert_eq!(told(run(&["subject", "list", "wepay", &subject]))["items"].as_array().map(Vec::len), Some(0));
    assert_eq!(told(run(&["subject", "destroy", "wepay", &subject, "--yes"]))["destroyed"].as_array().map(Vec::len), Some(0), "a retry");
}
