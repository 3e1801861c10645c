//! SIGKILL at random instants, start-up and unsealing included: what was acknowledged is there.
//!
//! 25 cycles, or as many as `STRONGROOM_KILLS` says.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom::client::{AuditFilter, Client, NewSecret, Page, Reveal, SecretUpdate};
use strongroom::model::{Environment, SecretBytes, SecretName};

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
        let Ok(stored) = stored else { return number };
        let known = Known { revision: stored.secret.revision, value, in_flight: None };
        acknowledged.lock().expect("no writer panics").insert(name, known);
        number += 1;
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
                assert!(known.revision == 0, "{name} was acknowledged and is not there: {error}");
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
    every_intent_has_an_outcome(&site, &running, writes).await;
    assert!(running.stop());
}

/// What the kills left in doubt was settled from the store.
async fn every_intent_has_an_outcome(site: &Site, running: &Running, writes: usize) {
    let erin = site.client(running, &person("erin")).await;
    let (mut intents, mut closed) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut page = Page { size: 1_000, token: String::new() };
    loop {
        let listed = erin.list_audit_entries(&AuditFilter { oldest_first: true, ..AuditFilter::default() }, page).await.expect("listed");
        for entry in &listed.items {
            match entry.event.as_str() {
                "intent" => drop(intents.insert(entry.sequence)),
                "outcome" => drop(closed.insert(entry.intent)),
                _ => {}
            }
        }
        let Some(token) = listed.next else { break };
        page = Page { size: 1_000, token };
    }
    assert!(intents.len() > writes, "{} intents, {writes} writes", intents.len());
    let open: Vec<_> = intents.difference(&closed).collect();
    assert!(open.is_empty(), "without an outcome: {open:?}");
}
