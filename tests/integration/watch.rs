//! Changes as they happen: what is told to whom, how a watch ends, and how it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use strongroom::api::watch_secrets_response::Event;
use strongroom::api::{self, Method};
use strongroom::client::{
    AuditEntry, AuditFilter, ChangeKind, Client, ClientError, ClientOptions, Expiry, Grant, MetadataUpdate, NewRole, Page, SecretChange,
    SecretUpdate, SecretWatch, StateChange, Watch, collect,
};
use strongroom::model::{Clock, SpiffeId, SystemClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::{Code, Status, Streaming};

use crate::harness::{person, server_id, workload};
use crate::stage::{Stage, bytes, named, new_binding, opaque, shared};
use crate::wire::{code, listen, refused};

const OWNER: &str = "describe,create,update,destroy:**";
const HOUR: Duration = Duration::from_secs(3600);

/// The next change; fails rather than wait for ever.
async fn next(watch: &mut SecretWatch) -> Result<SecretChange, ClientError> {
    tokio::time::timeout(Duration::from_secs(30), watch.next()).await.expect("something is told")
}

async fn told(watch: &mut SecretWatch) -> (ChangeKind, String) {
    let change = next(watch).await.expect("a change");
    (change.kind, change.name.to_string())
}

async fn message(stream: &mut Streaming<Vec<u8>>) -> Result<api::WatchSecretsResponse, Status> {
    let message = tokio::time::timeout(Duration::from_secs(30), stream.message()).await.expect("something is told")?;
    let message = message.ok_or_else(|| Status::unknown("it ended without a word"))?;
    Ok(api::WatchSecretsResponse::decode(message.as_slice()).expect("a message of that RPC"))
}

fn request(prefix: &str) -> api::WatchSecretsRequest {
    api::WatchSecretsRequest { prefix: prefix.to_owned(), after_revision: 0, expiring_within: None }
}

/// The entries of somebody's watches, oldest first.
async fn entries(stage: &Stage, caller: &SpiffeId) -> Vec<AuditEntry> {
    let auditor = person("auditor-of-watch");
    stage.bind("auditor", &auditor, None).await;
    let filter =
        AuditFilter { principal: caller.to_string(), method: "WatchSecrets".to_owned(), oldest_first: true, ..AuditFilter::default() };
    let auditor = stage.client(&auditor).await;
    collect(0, |page: Page| auditor.list_audit_entries(&filter, page)).await.expect("listed").items
}

/// Waits until somebody's watch has its entry of the end, and returns its outcome and how much it told.
async fn end(stage: &Stage, caller: &SpiffeId) -> (String, String) {
    for _ in 0..600 {
        if let Some(end) = entries(stage, caller).await.into_iter().find(|entry| entry.event == "outcome") {
            return (end.outcome, end.detail["events"].clone());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the end is not on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_told_as_it_happens() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &[OWNER]).await;
    let id = stage.holder(&namespace, &["describe:**"]).await;
    let client = stage.client(&id).await;
    let mut watch = client.watch_secrets(Watch::below(&namespace)).await.expect("begun");
    let name = named(format!("{namespace}/a"));
    let change = || StateChange::of(&name);
    let mut expect = async |kind: ChangeKind| {
        let change = next(&mut watch).await.expect("a change");
        assert_eq!((change.kind, &change.name), (kind, &name));
        change
    };
    let stored = owner.create_secret(opaque(&name, "one")).await.expect("stored").secret;
    assert_eq!(expect(ChangeKind::Created).await.secret, Some(stored.clone()), "all that describe shows, and no more");
    let updated = owner.update_secret(SecretUpdate::new(&name, bytes("two"), stored.revision)).await.expect("updated").secret;
    let change_told = expect(ChangeKind::Updated).await;
    assert!(change_told.revision >= updated.revision, "others change theirs meanwhile");
    assert_eq!(change_told.secret, Some(updated.clone()));
    owner.update_secret_metadata(MetadataUpdate::new(&name, updated.revision).set_label("tier", "gold")).await.expect("labelled");
    assert_eq!(expect(ChangeKind::MetadataUpdated).await.secret.expect("it is there").labels["tier"], "gold");
    owner.disable_secret(change()).await.expect("disabled");
    expect(ChangeKind::Disabled).await;
    owner.enable_secret(change()).await.expect("enabled");
    expect(ChangeKind::Enabled).await;
    owner.destroy_secret(change()).await.expect("destroyed");
    expect(ChangeKind::Destroyed).await;
    owner.restore_secret(change()).await.expect("restored");
    expect(ChangeKind::Restored).await;
    owner.destroy_secret(change()).await.expect("destroyed");
    expect(ChangeKind::Destroyed).await;
    owner.purge_secret(change()).await.expect("purged");
    assert_eq!(expect(ChangeKind::Purged).await.secret, None);
    owner.create_secret(opaque(&name, "again")).await.expect("stored");
    assert_eq!(expect(ChangeKind::Created).await.secret.expect("it is there").version, 3);
    drop(watch);

    assert_eq!(end(&stage, &id).await, ("gone".to_owned(), "10".to_owned()));
    let entries = entries(&stage, &id).await;
    let [begin, end] = entries.as_slice() else { panic!("two entries: {entries:?}") };
    assert_eq!((begin.event.as_str(), begin.action.as_str(), begin.outcome.as_str()), ("read", "describe", "ok"));
    assert_eq!((begin.resource.clone(), end.intent), (format!("{namespace}/"), begin.sequence));
}

// immune: row-11
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_of_what_may_not_be_described() {
    let stage = shared().await;
    let (namespace, other) = (stage.namespace().await, stage.namespace().await);
    let (owner, stranger) = (stage.holding(&namespace, &[OWNER]).await, stage.holding(&other, &[OWNER]).await);
    let client = stage.holding(&namespace, &["describe:open/**", "reveal:hidden/**"]).await;
    let expires = SystemClock.now().plus(HOUR);
    let put = async |owner: &Client, name: String| {
        owner.create_secret(opaque(&named(name), "value").expires(expires)).await.expect("stored");
    };
    put(&owner, format!("{namespace}/hidden/before")).await;
    let mut wide = client.watch_secrets(Watch::below(&namespace)).await.expect("begun");
    let mut narrow = client.watch_secrets(Watch::below(format!("{namespace}/open"))).await.expect("begun");
    for path in ["hidden/1", "open/1", "opening/1", "open", "hidden/2"] {
        put(&owner, format!("{namespace}/{path}")).await;
        put(&stranger, format!("{other}/{path}")).await;
    }
    owner.destroy_secret(StateChange::of(&named(format!("{namespace}/hidden/1")))).await.expect("destroyed");
    put(&owner, format!("{namespace}/open/2")).await;
    for watch in [&mut wide, &mut narrow] {
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(told(watch).await);
        }
        let of = |kind, path: &str| (kind, format!("{namespace}/{path}"));
        let (created, expiring) = (ChangeKind::Created, ChangeKind::Expiring);
        assert_eq!(seen, [of(created, "open/1"), of(expiring, "open/1"), of(created, "open/2"), of(expiring, "open/2")]);
    }
    // Below a prefix lies what is longer, and not the secret of that very name.
    let mut below = owner.watch_secrets(Watch::below(format!("{namespace}/folder")).expiring_within(Duration::ZERO)).await.expect("begun");
    put(&owner, format!("{namespace}/folder")).await;
    put(&owner, format!("{namespace}/folder/1")).await;
    assert_eq!(told(&mut below).await, (ChangeKind::Created, format!("{namespace}/folder/1")));
    // Not even that there is such a prefix.
    let nobody = stage.client(&workload("nobody-of-watch")).await;
    let denied = |prefix: &str| {
        let (nobody, prefix) = (nobody.clone(), prefix.to_owned());
        async move { nobody.watch_secrets(Watch::below(prefix)).await.map(drop).expect_err("refused").to_string() }
    };
    assert_eq!(denied(&format!("{namespace}/open")).await, denied("no-such-namespace/open").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_is_told_no_more() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &[OWNER]).await;
    let put = async |path: &str| {
        owner.create_secret(opaque(&named(format!("{namespace}/{path}")), "value")).await.expect("stored");
    };
    let (ana, role) = (stage.ana().await, stage.role(&["describe:**"]).await);
    let id = workload(&format!("watcher-{}", stage.number()));
    let binding = ana.create_binding(new_binding(&role, &id, Some(&namespace))).await.expect("bound");
    let mut watch = stage.client(&id).await.watch_secrets(Watch::below(&namespace)).await.expect("begun");
    put("a/1").await;
    assert_eq!(told(&mut watch).await.1, format!("{namespace}/a/1"));

    // The role becomes narrower: the watch goes on with what is left.
    let revision = ana.describe_role(&role.parse().expect("valid")).await.expect("described").revision;
    let grants = vec!["describe:b/**".parse::<Grant>().expect("a grant")];
    let narrower = NewRole { name: role.parse().expect("valid"), description: String::new(), grants, request_id: String::new() };
    ana.update_role(narrower, revision).await.expect("narrower");
    put("a/2").await;
    put("b/1").await;
    assert_eq!(told(&mut watch).await.1, format!("{namespace}/b/1"));

    ana.delete_binding(binding.binding_id, "").await.expect("revoked");
    put("b/2").await;
    assert_eq!(refused(&next(&mut watch).await), Code::NotFound, "nothing is told after it");
    assert_eq!(end(&stage, &id).await, ("not_visible".to_owned(), "2".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_where_nothing_happens_too_once_nothing_may_be_seen() {
    let stage = Stage::new("[limits]\nwatch_heartbeat_s = 1\n").await;
    let namespace = stage.namespace().await;
    let id = workload("watcher");
    let binding = stage.bind("reader", &id, Some(&namespace)).await;
    let mut watch = stage.client(&id).await.watch_secrets(Watch::below(&namespace)).await.expect("begun");
    stage.ana().await.delete_binding(binding.binding_id, "").await.expect("revoked");
    assert_eq!(refused(&next(&mut watch).await), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_and_the_server_s_end_end_it() {
    // No heartbeat that would come upon it by itself.
    let stage = Stage::new("[limits]\nwatch_heartbeat_s = 200\n").await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &["describe:**"]).await;
    let client = stage.client(&id).await;
    let mut watch = client.watch_secrets(Watch::below(&namespace)).await.expect("begun");
    stage.client(&person("cleo")).await.seal("").await.expect("sealed");
    let sealed = next(&mut watch).await;
    assert!(sealed.expect_err("it ends").refusal().expect("by the server").is_sealed());
    assert!(client.watch_secrets(Watch::below(&namespace)).await.map(drop).expect_err("refused").refusal().expect("said").is_sealed());
    stage.site.unseal(&stage.running).await;
    assert_eq!(end(&stage, &id).await, ("sealed".to_owned(), "0".to_owned()));

    let mut watch = client.watch_secrets(Watch::below(&namespace).after(watch.revision())).await.expect("it goes on");
    let Stage { site, running, .. } = stage;
    let waiting = tokio::spawn(async move { next(&mut watch).await });
    let log = tokio::task::spawn_blocking(move || running.stop_and_read()).await.expect("no panic");
    let ended = waiting.await.expect("no panic");
    assert_eq!(refused(&ended), Code::Unavailable);
    assert!(ended.expect_err("it ends").to_string().contains("the server is ending"));
    assert!(!log.contains("at the deadline"), "nobody waited for the watch: {log}");
    drop(site);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_without_a_gap_while_others_write() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let client = stage.client(&id).await;
    const EACH: usize = 150;
    // Watch, then list: what is in neither was missed. All is written after the watch has begun, so it tells all of it.
    let mut watch = client.watch_secrets(Watch::below(&namespace)).await.expect("begun");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (client, namespace) = (client.clone(), namespace.clone());
            tokio::spawn(async move {
                for number in 0..EACH {
                    let name = named(format!("{namespace}/{writer}/{number}"));
                    let stored = client.create_secret(opaque(&name, "one")).await.expect("stored").secret;
                    if number % 3 == 0 {
                        client.update_secret(SecretUpdate::new(&name, bytes("two"), stored.revision)).await.expect("updated");
                    }
                }
            })
        })
        .collect();
    let listed = collect(0, |page: Page| client.list_secrets(&namespace, page)).await.expect("listed").items;
    let mut known: BTreeMap<String, u64> = listed.into_iter().map(|secret| (secret.name.to_string(), secret.version)).collect();
    let mut revision = watch.revision();
    let is_whole = |known: &BTreeMap<String, u64>| {
        known.len() == 4 * EACH
            && known.iter().all(|(name, version)| {
                (name.rsplit('/').next().expect("a number").parse::<usize>().expect("digits") % 3 == 0) == (*version == 2)
            })
    };
    let mut count = 0;
    // Even if the list has all of it: until the watch has gone on once.
    while count <= 17 || !is_whole(&known) {
        let change = next(&mut watch).await.expect("a change");
        assert!(change.revision >= revision, "{} after {revision}", change.revision);
        revision = change.revision;
        let secret = change.secret.expect("it is there");
        known.insert(change.name.to_string(), secret.version);
        count += 1;
        if count % 17 == 0 {
            watch = client.watch_secrets(Watch::below(&namespace).after(revision)).await.expect("it goes on");
            assert_eq!(watch.revision(), revision);
        }
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_held_any_more_is_said_so() {
    let stage = Stage::new("").await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let client = stage.client(&id).await;
    let stored = client.create_secret(opaque(&named(format!("{namespace}/a")), "value")).await.expect("stored").secret;
    let ahead = client.watch_secrets(Watch::below(&namespace).after(stored.revision + 1_000)).await.map(drop);
    assert_eq!(refused(&ahead), Code::OutOfRange, "a future that a restored backup took back");
    let Stage { site, running, .. } = stage;
    assert!(running.stop());
    let running = site.start_open().await;
    let client = site.client(&running, &id).await;
    let before = client.watch_secrets(Watch::below(&namespace).after(stored.revision - 1)).await.map(drop);
    assert_eq!(refused(&before), Code::OutOfRange, "the memory of changes ends with the server");
    assert!(before.expect_err("refused").to_string().contains("list again"));
    assert!(client.watch_secrets(Watch::below(&namespace)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut_off() {
    let stage = Stage::new("[limits]\nwatch_heartbeat_s = 1\n").await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &[OWNER]).await;
    let id = stage.holder(&namespace, &["describe:**"]).await;
    let channel = stage.channel(&id).await;
    let mut stream = listen(&channel, Method::WatchSecrets, &request(&namespace)).await.expect("begun");
    // 4 MiB: more than the windows of HTTP/2 (2 MiB of a client that asks for no less), its buffers and the queue take together.
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let (owner, namespace) = (owner.clone(), namespace.clone());
            tokio::spawn(async move {
                for number in 0..100 {
                    let new = opaque(&named(format!("{namespace}/{writer}/{number}")), "value");
                    let new = (0..26).fold(new, |new, label| new.label(format!("label-{label}"), "w".repeat(250)));
                    owner.create_secret(new).await.expect("stored");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    owner.create_secret(opaque(&named(format!("{namespace}/last")), "value")).await.expect("stored");
    let (outcome, events) = end(&stage, &id).await;
    assert_eq!(outcome, "too_slow");
    assert!(events.parse::<usize>().expect("a number") < 600, "{events} were queued for who does not read");
    let (mut revision, mut heard) = (0, BTreeSet::new());
    let status = loop {
        match message(&mut stream).await {
            Ok(message) => {
                revision = message.revision;
                if let Some(Event::Change(change)) = message.event {
                    heard.insert(change.name);
                }
            }
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    // Nothing is lost: it goes on where the caller has read up to.
    let mut watch = stage.client(&id).await.watch_secrets(Watch::below(&namespace).after(revision)).await.expect("it goes on");
    loop {
        let (_, name) = told(&mut watch).await;
        let is_last = name == format!("{namespace}/last");
        heard.insert(name);
        if is_last {
            break;
        }
    }
    assert_eq!(heard.len(), 6 * 100 + 1, "of each secret somebody was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_soon_expire_is_told_once() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &[OWNER]).await;
    let put = async |path: &str, expires: Option<Duration>| {
        let new = opaque(&named(format!("{namespace}/{path}")), "value");
        let new = match expires {
            Some(after) => new.expires(SystemClock.now().plus(after)),
            None => new,
        };
        owner.create_secret(new).await.expect("stored").secret
    };
    put("soon", Some(HOUR / 2)).await;
    put("later", Some(HOUR * 48)).await;
    put("never", None).await;
    put("destroyed", Some(HOUR / 2)).await;
    owner.destroy_secret(StateChange::of(&named(format!("{namespace}/destroyed")))).await.expect("destroyed");
    put("crossing", Some(HOUR + Duration::from_secs(12))).await;
    let mut watch = owner.watch_secrets(Watch::below(&namespace).expiring_within(HOUR)).await.expect("begun");
    let of = |kind, path: &str| (kind, format!("{namespace}/{path}"));
    assert_eq!(told(&mut watch).await, of(ChangeKind::Expiring, "soon"));
    // A new value that expires soon is both.
    let other = put("other", Some(HOUR / 3)).await;
    assert_eq!(told(&mut watch).await, of(ChangeKind::Created, "other"));
    assert_eq!(told(&mut watch).await, of(ChangeKind::Expiring, "other"));
    assert_eq!(told(&mut watch).await, of(ChangeKind::Expiring, "crossing"), "it comes into the window without a change");
    let longer = MetadataUpdate::new(&other.name, other.revision).expiry(Expiry::Never);
    owner.update_secret_metadata(longer).await.expect("changed");
    assert_eq!(told(&mut watch).await, of(ChangeKind::MetadataUpdated, "other"), "nothing in between was told twice");
    let mut silent = owner.watch_secrets(Watch::below(&namespace).expiring_within(Duration::ZERO)).await.expect("begun");
    put("another", Some(HOUR / 2)).await;
    put("last", None).await;
    assert_eq!(told(&mut silent).await, of(ChangeKind::Created, "another"));
    assert_eq!(told(&mut silent).await, of(ChangeKind::Created, "last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_the_timeouts_of_requests_and_idle_connections() {
    let stage = Stage::new("[limits]\nrequest_timeout_s = 1\nidle_timeout_s = 10\nwatch_heartbeat_s = 2\n").await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let channel = stage.channel(&id).await;
    let mut stream = listen(&channel, Method::WatchSecrets, &request(&namespace)).await.expect("begun");
    let started = message(&mut stream).await.expect("the start");
    let Some(Event::Started(interval)) = started.event else { panic!("{started:?}") };
    assert_eq!(interval.heartbeat_interval.map(|interval| interval.seconds), Some(2));
    // Another namespace's change is not told, but moves the revision from which to go on.
    let other = stage.namespace().await;
    for _ in 0..6 {
        let beat = message(&mut stream).await.expect("a heartbeat");
        assert!(matches!(beat.event, Some(Event::Heartbeat(_))), "{beat:?}");
        assert!(beat.revision > started.revision, "{beat:?}");
    }
    drop(other);
    let owner = stage.client(&id).await;
    owner.create_secret(opaque(&named(format!("{namespace}/a")), "value")).await.expect("stored");
    let change = loop {
        let message = message(&mut stream).await.expect("alive");
        if let Some(Event::Change(change)) = message.event {
            break change;
        }
    };
    assert_eq!(change.name, format!("{namespace}/a"));
}

/// What a metric says; none that does not stand there yet.
async fn counted(stage: &Stage, metric: &str) -> u64 {
    let metrics = crate::operations::get(&stage.running, "/metrics").await.1;
    let found = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    found.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_may_watch_as_the_configuration_says() {
    let stage = Stage::new("[limits]\nwatches_max = 16\nwatches_per_principal_max = 2\n").await;
    let namespace = stage.namespace().await;
    let mut held = Vec::new();
    let mut one = None;
    for caller in 0..8 {
        let id = stage.holder(&namespace, &["describe:**"]).await;
        let client = stage.client(&id).await;
        for _ in 0..2 {
            held.push(client.watch_secrets(Watch::below(&namespace)).await.expect("one of two"));
        }
        let third = client.watch_secrets(Watch::below(&namespace)).await.map(drop);
        assert_eq!(refused(&third), Code::ResourceExhausted, "caller {caller}");
        one = Some(client);
    }
    let last = stage.holding(&namespace, &["describe:**"]).await;
    let refusal = last.watch_secrets(Watch::below(&namespace)).await.map(drop);
    assert_eq!(refused(&refusal), Code::ResourceExhausted, "all are taken");
    assert!(refusal.expect_err("refused").refusal().expect("said").retry_after.is_some());
    assert_eq!(counted(&stage, "strongroom_watches").await, 16);
    drop(held);
    let mut tries = 0;
    while one.as_ref().expect("the last of eight").watch_secrets(Watch::below(&namespace)).await.is_err() {
        tries += 1;
        assert!(tries < 600, "no place came back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while counted(&stage, "strongroom_watches_ended_total{reason=\"gone\"}").await < 16 {
        tries += 1;
        assert!(tries < 600, "not all of them ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_watch_holds_at_its_edges() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let channel = stage.channel(&stage.holder(&namespace, &[OWNER]).await).await;
    let year_s = 365 * 24 * 3600;
    for (seconds, nanos, expected) in [
        (0, 0, Code::Ok),
        (year_s, 0, Code::Ok),
        (year_s + 1, 0, Code::InvalidArgument),
        (-1, 0, Code::InvalidArgument),
        (1, 1, Code::InvalidArgument),
    ] {
        let expiring_within = Some(prost_types::Duration { seconds, nanos });
        let request = api::WatchSecretsRequest { expiring_within, ..request(&namespace) };
        let answer = match listen(&channel, Method::WatchSecrets, &request).await {
            Ok(mut stream) => message(&mut stream).await,
            Err(status) => Err(status),
        };
        assert_eq!(code(&answer), expected, "{seconds} s and {nanos} ns");
    }
}

/// Hands bytes on to the server, until it is told to cut all connections; and counts them.
async fn forwarder(to: std::net::SocketAddr) -> (std::net::SocketAddr, watch::Sender<u32>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (cut, cuts) = watch::channel(0);
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = accepted.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.expect("the server listens");
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    (address, cut, accepted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_goes_on_by_itself_after_its_connection_broke() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let id = stage.holder(&namespace, &[OWNER]).await;
    let owner = stage.client(&id).await;
    let (address, cut, accepted) = forwarder(stage.running.address()).await;
    let cut = Arc::new(cut);
    let options = ClientOptions::new(address.to_string(), server_id(), stage.site.credentials(&id));
    let client = Client::connect(options).await.expect("connected");
    let mut watch = client.watch_secrets(Watch::below(&namespace)).await.expect("begun");
    for number in 0..6 {
        let name = format!("{namespace}/{number}");
        if number % 2 == 1 {
            cut.send_modify(|cuts| *cuts += 1);
        }
        owner.create_secret(opaque(&named(&name), "value")).await.expect("stored");
        assert_eq!(told(&mut watch).await, (ChangeKind::Created, name));
    }
    let accepted = accepted.load(Ordering::Relaxed);
    assert!(accepted >= 4, "{accepted} connections, of which three were cut");
    let given_up = ClientOptions::new(address.to_string(), server_id(), stage.site.credentials(&id)).retries(0);
    let mut watch = Client::connect(given_up).await.expect("connected").watch_secrets(Watch::below(&namespace)).await.expect("begun");
    cut.send_modify(|cuts| *cuts += 1);
    assert!(matches!(next(&mut watch).await, Err(ClientError::Unreachable { .. })), "without retries the caller is told");
}
