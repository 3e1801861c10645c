//! A rotation with rewrap of a real server: values are read and written meanwhile, it is killed in the middle, and goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom::client::{
    AuditFilter, ChangeKind, Client, NewSecret, Page, Reveal, RewrapInfo, RewrapOrder, RewrapState, SecretUpdate, Watch,
};
use strongroom::model::{Environment, NamespaceName, SecretBytes, SecretName};
use tonic::Code;

use crate::harness::{Running, Site, person, workload};
use crate::wire::refused;

const SECRETS: usize = 200;

fn shop() -> NamespaceName {
    "shop".parse().expect("valid")
}

fn name(number: usize) -> SecretName {
    format!("shop/s/{number}").parse().expect("valid")
}

fn value(text: String) -> SecretBytes {
    SecretBytes::new(text.into_bytes())
}

async fn text(owner: &Client, reveal: Reveal) -> String {
    let revealed = owner.reveal_secret(reveal).await.expect("readable");
    String::from_utf8(revealed.value.expose().to_vec()).expect("a test's own text")
}

/// Secrets with two versions each.
async fn fill(owner: &Client) {
    for number in 0..SECRETS {
        let stored = owner.create_secret(NewSecret::opaque(&name(number), value(format!("old {number}")))).await.expect("stored");
        let update = SecretUpdate::new(&name(number), value(format!("new {number}")), stored.secret.revision);
        owner.update_secret(update).await.expect("updated");
    }
}

/// Reads and writes every seventh secret until it is told to stop or the server is gone; what was acknowledged, by number.
async fn go_on(owner: Client, stop: Arc<AtomicBool>) -> BTreeMap<usize, String> {
    let mut acknowledged = BTreeMap::new();
    for round in 0.. {
        for number in (0..SECRETS).step_by(7) {
            if stop.load(Ordering::Relaxed) {
                return acknowledged;
            }
            let Ok(described) = owner.describe_secret(&name(number)).await else { return acknowledged };
            assert!(owner.reveal_secret(Reveal::latest(&name(number))).await.is_ok() || stop.load(Ordering::Relaxed), "reads are served");
            let text = format!("round {round} of {number}");
            match owner.update_secret(SecretUpdate::new(&name(number), value(text.clone()), described.revision)).await {
                Ok(stored) => {
                    assert_eq!(stored.secret.kek_version, 2, "under the new key");
                    acknowledged.insert(number, text);
                }
                // It was rewrapped since it was described, which makes it another revision.
                Err(error) if error.refusal().is_some_and(|refusal| refusal.code == Code::Aborted) => {}
                // What was in flight when the server was killed may be there or not.
                Err(_) => {
                    acknowledged.remove(&number);
                    return acknowledged;
                }
            }
        }
    }
    acknowledged
}

async fn until(kim: &Client, what: impl Fn(&RewrapInfo) -> bool) -> RewrapInfo {
    let begin = Instant::now();
    loop {
        let found = kim.list_rewraps(Some(&shop()), Page::default()).await.expect("listed").items.remove(0);
        if what(&found) {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it never was so: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn people(site: &Site, running: &Running) -> (Client, Client) {
    (site.client(running, &workload("owner")).await, site.client(running, &person("kim")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrap_outlives_a_kill_and_hinders_nobody() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    for role in ["backend", "writer"] {
        site.bind(&running, role, &workload("owner"), Some("shop")).await;
    }
    for role in ["key-admin", "auditor"] {
        site.bind(&running, role, &person("kim"), Some("shop")).await;
    }
    let (owner, kim) = people(&site, &running).await;
    assert_eq!(refused(&kim.watch_rewrap(&shop()).await.map(drop)), Code::NotFound, "there was none");
    fill(&owner).await;

    let slow = RewrapOrder { reencrypt: false, rate_per_s: 100 };
    let (key, ordered) = kim.rotate_key_and_rewrap(&shop(), 1, slow, "a test").await.expect("rotated");
    assert_eq!((key.version, ordered.target_version, ordered.state), (2, 2, RewrapState::Running));
    let stop = Arc::new(AtomicBool::new(false));
    let going_on = tokio::spawn(go_on(owner, stop.clone()));
    until(&kim, |rewrap| rewrap.seen > 100 && rewrap.rows_per_s > 0).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = going_on.await.expect("no panic");
    running.kill();

    let running = site.start();
    site.unseal(&running).await;
    let (owner, kim) = people(&site, &running).await;
    let again = until(&kim, |rewrap| rewrap.state == RewrapState::Running).await;
    assert!(again.total >= 2 * SECRETS as u64, "it knows what it counted: {again:?}");
    let mut told = owner.watch_secrets(Watch::below("shop")).await.expect("begun");
    let mut watch = kim.watch_rewrap(&shop()).await.expect("begun");
    kim.resume_rewrap(&shop(), Some(1_000_000), "enough of it").await.expect("faster");
    let mut last = None;
    while let Some(rewrap) = watch.next().await.expect("told") {
        last = Some(rewrap);
    }
    let ended = last.expect("told at once");
    assert_eq!((ended.state, ended.damaged), (RewrapState::Done, 0));

    for number in 0..SECRETS {
        let newest = acknowledged.get(&number).cloned();
        let found = text(&owner, Reveal::latest(&name(number))).await;
        let is_new = number % 7 == 0 && found.starts_with("round ");
        assert!(newest.as_ref().map_or(is_new || found == format!("new {number}"), |text| *text == found), "{number}: {found}");
        let oldest = owner.list_secret_versions(&name(number), Page::default()).await.expect("listed").items;
        assert!(oldest.iter().all(|version| version.kek_version == 2), "{number}: {oldest:?}");
    }
    assert_eq!(text(&owner, Reveal::latest(&name(1)).version(1)).await, "old 1");
    let keys = kim.list_keys(Some(&shop()), Page::default()).await.expect("listed").items;
    assert_eq!(keys[0].rows, Some(0), "nothing lies under the old version");
    assert!(keys[1].rows >= Some(2 * SECRETS as u64) && keys[1].rewrap_time.is_some(), "{keys:?}");

    // Of all that, who watches the secrets hears nothing; of a change after it, at once.
    let revision = owner.describe_secret(&name(1)).await.expect("described").revision;
    owner.update_secret(SecretUpdate::new(&name(1), value("newest".to_owned()), revision)).await.expect("updated");
    let change = told.next().await.expect("told");
    assert_eq!((change.kind, change.name), (ChangeKind::Updated, name(1)));

    let filter = AuditFilter { method: "FinishRewrap".to_owned(), ..AuditFilter::default() };
    let entries = kim.list_audit_entries(&AuditFilter { resource_prefix: "shop".to_owned(), ..filter }, Page::default()).await;
    let entries = entries.expect("listed").items;
    let outcome = entries.iter().find(|entry| entry.event == "outcome").expect("its end is on record");
    assert_eq!((outcome.outcome.as_str(), outcome.detail["damaged"].as_str()), ("ok", "0"));
    assert!(running.stop());
}
