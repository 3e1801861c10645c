//! SIGKILL at random instants, start-up and unsealing included: what was acknowledged is there.
//!
//! 25 cycles, or as many as `STRONGROOM_KILLS` says; 200 take some 200 seconds.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::client::{AuditFilter, Client, ClientError, NewSecret, Page, Reveal, SecretUpdate};
use strongroom::model::{Environment, SecretBytes, SecretName};
use tonic::Code;

use crate::harness::{PASSPHRASE, Running, Site, person, workload};

/// Values that were acknowledged, by name: the newest, and one that may have been stored without an answer.
type Acknowledged = Arc<Mutex<BTreeMap<String, Known>>>;

#[derive(Debug, Clone, Default)]
struct Known {
    revision: u64,
    value: String,
    in_flight: Option<String>,
}

const WRITERS: usize = 8;

fn cycles() -> u32 {
    std::env::var("STRONGROOM_KILLS").ok().map_or(25, |text| text.parse().expect("STRONGROOM_KILLS is a number"))
}

/// Microseconds that differ from run to run and from cycle to cycle, below `most`.
fn random_us(most: u64) -> u64 {
    use strongroom::crypto::{Random, SystemRandom};
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("randomness");
    u64::from_be_bytes(bytes) % most
}

/// Writes until the server is gone, and says how many times it was acknowledged.
async fn writer(client: Client, writer: usize, cycle: u32, acknowledged: Acknowledged) -> usize {
    let mut number = 0;
    loop {
        let name = format!("shop/w{writer}/{}", number % 40);
        let value = format!("{cycle}-{writer}-{number}");
        let known = {
            let mut all = acknowledged.lock().expect("no writer panics");
            let known = all.entry(name.clone()).or_default();
            known.in_flight = Some(value.clone());
            known.clone()
        };
        let parsed: SecretName = name.parse().expect("valid");
        let payload = SecretBytes::new(value.clone().into_bytes());
        let stored = match known.revision {
            0 => client.create_secret(NewSecret::opaque(&parsed, payload)).await,
            revision => client.update_secret(SecretUpdate::new(&parsed, payload, revision)).await,
        };
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) if is_death(&error) => return number,
            Err(error) => panic!("{name} was refused by a server that lives: {error}"),
        };
        let known = Known { revision: stored.secret.revision, value, in_flight: None };
        acknowledged.lock().expect("no writer panics").insert(name, known);
        number += 1;
    }
}

/// What a caller sees of a server that is killed: no connection, one that breaks, or an answer that does.
fn is_death(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused(refusal) => matches!(refusal.code, Code::Unavailable | Code::Unknown),
        _ => false,
    }
}

/// Reads everything back. What was in flight when the server died may be there or not, and is known from then on.
async fn check(client: &Client, acknowledged: &Acknowledged) {
    let all = acknowledged.lock().expect("no writer panics").clone();
    for (name, known) in all {
        let parsed: SecretName = name.parse().expect("valid");
        let revealed = client.reveal_secret(Reveal::latest(&parsed)).await;
        let found = match revealed {
            Ok(revealed) => String::from_utf8(revealed.value.expose().to_vec()).expect("a test's own text"),
            Err(error) => {
                let is_absent = error.refusal().is_some_and(|refusal| refusal.code == Code::NotFound);
                assert!(is_absent && known.revision == 0, "{name} cannot be read, acknowledged was {known:?}: {error}");
                acknowledged.lock().expect("no writer panics").remove(&name);
                continue;
            }
        };
        let is_known = found == known.value && known.revision != 0;
        assert!(is_known || known.in_flight.as_deref() == Some(&found), "{name} holds {found}, acknowledged was {known:?}");
        let revision = client.describe_secret(&parsed).await.expect("described").revision;
        acknowledged.lock().expect("no writer panics").insert(name, Known { revision, value: found, in_flight: None });
    }
}

fn die_while_starting(site: &Site) {
    let mut child = site.command("server").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_micros(random_us(60_000)));
    child.kill().expect("killed");
    child.wait().expect("waited");
}

/// During Argon2id, while the rows are read, or while what a kill had left in doubt is settled.
async fn die_while_unsealed(site: &Site) {
    let running = site.start();
    let cleo = site.client(&running, &person("cleo")).await;
    let unsealing = tokio::spawn(async move { cleo.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await });
    tokio::time::sleep(Duration::from_micros(random_us(200_000))).await;
    running.kill();
    // Whether it had ended before is a matter of chance.
    drop(unsealing.await.expect("no panic"));
}

async fn load(site: &Site, running: &Running, cycle: u32, acknowledged: &Acknowledged) -> Vec<tokio::task::JoinHandle<usize>> {
    let client = site.client(running, &workload("owner")).await;
    (0..WRITERS).map(|number| tokio::spawn(writer(client.clone(), number, cycle, acknowledged.clone()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    let site = Site::new("");
    site.make_cheap_vault("").await;
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    let ana = site.client(&running, &person("ana")).await;
    let grants = vec!["describe,reveal,create,update:**".parse().expect("a grant")];
    let role = strongroom::client::NewRole {
        name: "owner".parse().expect("valid"),
        description: String::new(),
        grants,
        request_id: String::new(),
    };
    ana.create_role(role).await.expect("a role");
    site.bind(&running, "owner", &workload("owner"), Some("shop")).await;
    site.bind(&running, "auditor", &person("erin"), None).await;
    running.kill();

    let acknowledged = Acknowledged::default();
    let mut writes = 0;
    for cycle in 0..cycles() {
        match cycle % 3 {
            0 => die_while_starting(&site),
            1 => die_while_unsealed(&site).await,
            _ => {}
        }
        let running = site.start_open().await;
        let client = site.client(&running, &workload("owner")).await;
        check(&client, &acknowledged).await;
        let writers = load(&site, &running, cycle, &acknowledged).await;
        tokio::time::sleep(Duration::from_micros(20_000 + random_us(200_000))).await;
        running.kill();
        for writer in writers {
            writes += writer.await.expect("it ended when the server did");
        }
    }
    // A snapshot that a kill during recovery left torn.
    std::fs::write(site.path("data/snap.00000000000000FF.generating"), b"torn").expect("planted");
    let running = site.start_open().await;
    let client = site.client(&running, &workload("owner")).await;
    check(&client, &acknowledged).await;
    eprintln!("{writes} writes acknowledged in {} cycles; none lost, no start refused", cycles());
    assert!(writes > WRITERS * cycles() as usize, "{writes} writes were acknowledged in {} cycles", cycles());
    tokio::time::sleep(Duration::from_millis(500)).await;
    the_log_has_each_change_and_its_outcome(&site, &running, writes, &acknowledged).await;
    assert!(running.stop());
}

/// How often each secret was written, as the log has it.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    ok: u64,
    /// What was in doubt when the server died, and written over before anybody looked: it may have been done or not.
    superseded: u64,
}

/// What the kills left in doubt was settled from the store.
async fn the_log_has_each_change_and_its_outcome(site: &Site, running: &Running, writes: usize, acknowledged: &Acknowledged) {
    let erin = site.client(running, &person("erin")).await;
    let (mut intents, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
    let mut page = Page { size: 1_000, token: String::new() };
    loop {
        let listed = erin.list_audit_entries(&AuditFilter { oldest_first: true, ..AuditFilter::default() }, page).await.expect("listed");
        for entry in listed.items {
            match entry.event.as_str() {
                "intent" => drop(intents.insert(entry.sequence, (entry.method, entry.resource))),
                // An outcome that was not known yet is followed by another.
                "outcome" if entry.outcome != "in_doubt" => {
                    let earlier = outcomes.insert(entry.intent, entry.outcome);
                    assert_eq!(earlier, None, "two outcomes of intent {}", entry.intent);
                }
                _ => {}
            }
        }
        let Some(token) = listed.next else { break };
        page = Page { size: 1_000, token };
    }
    assert!(intents.len() > writes, "{} intents, {writes} writes", intents.len());
    let open: Vec<_> = intents.keys().filter(|intent| !outcomes.contains_key(intent)).collect();
    assert!(open.is_empty(), "without an outcome: {open:?}");

    let mut written = BTreeMap::<String, Written>::new();
    for (intent, (method, secret)) in intents {
        if ["CreateSecret", "UpdateSecret"].contains(&method.as_str()) {
            let written = written.entry(secret).or_default();
            match outcomes[&intent].as_str() {
                "ok" => written.ok += 1,
                "superseded" => written.superseded += 1,
                "not_done" => {}
                other => panic!("{method} came to {other}"),
            }
        }
    }
    let owner = site.client(running, &workload("owner")).await;
    let names = acknowledged.lock().expect("no writer panics").clone();
    let stored: u64 = written.values().map(|written| written.ok + written.superseded).sum();
    assert!(names.len() > WRITERS && stored >= writes as u64, "{stored} of {writes} writes are on record, of {} secrets", names.len());
    for name in names.keys() {
        let version = owner.describe_secret(&name.parse().expect("valid")).await.expect("described").version;
        let Written { ok, superseded } = written.remove(name).unwrap_or_default();
        assert!((ok..=ok + superseded).contains(&version), "{name} has version {version}, on record are {ok} and maybe {superseded}");
    }
    assert!(written.values().all(|written| written.ok == 0), "on record and not there: {written:?}");
}
