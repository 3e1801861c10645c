//! Certificates and lists that change while the server serves: good connections never notice, bad ones end at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use strongroom::client::{AuditFilter, Client, ClientOptions, Credentials, Page, Reveal};
use strongroom::model::{Clock, Environment, SecretName, SystemClock};
use strongroom::pki::{Authority, Issued, private_folder, write_private};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Running, Site, WORKLOADS, person, server_id, workload};
use crate::proofs::is_turned_away;
use crate::revocation::{LIST, complaint, leaf, serial, site_with_list, write_numbered_list};
use crate::stage::{named, opaque};
use crate::wire::{channel_with, client_with};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);
const IN_FORCE: &str = "were read again and are in force";
const REFUSED: &str = "cannot be used; the old ones stay in force";

/// An open vault with a secret, and who may read it.
struct Scene {
    site: Site,
    running: Running,
    name: SecretName,
}

async fn scene(site: Site) -> Scene {
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    site.bind(&running, "auditor", &person("auditor"), None).await;
    let name = named("shop/merchants/1");
    site.client(&running, &workload("backend")).await.create_secret(opaque(&name, "value")).await.expect("stored");
    Scene { site, running, name }
}

/// Waits until the log has said so once more than `before`.
async fn says_again(running: &Running, text: &str, before: usize) {
    let begin = Instant::now();
    while running.times_said(text) <= before {
        assert!(begin.elapsed() < PATIENCE, "it does not say again: {text:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The certificate that the server shows to whoever connects now.
async fn shown(site: &Site, running: &Running) -> CertificateDer<'static> {
    let credentials = site.credentials(&person("cleo"));
    let roots = CertificateDer::pem_file_iter(&credentials.ca).expect("a file").map(|root| root.expect("a certificate")).collect();
    let chain = CertificateDer::pem_file_iter(&credentials.certificate).expect("a file").map(|one| one.expect("a certificate")).collect();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_file(&credentials.key).expect("a key");
    let tls = strongroom::client::tls::ClientTls::new(roots, chain, key, server_id()).expect("the site's files");
    let stream = TcpStream::connect(running.address()).await.expect("connected");
    let name = rustls_pki_types::ServerName::try_from("localhost").expect("a name");
    let stream = tokio_rustls::TlsConnector::from(tls.config()).connect(name, stream).await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("it shows one")[0].clone().into_owned()
}

/// Waits until the server shows this certificate.
async fn shows(site: &Site, running: &Running, leaf: &Issued) {
    let begin = Instant::now();
    while shown(site, running).await != *leaf.certificate() {
        assert!(begin.elapsed() < PATIENCE, "the server does not show the new certificate");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One who reads the secret over and over: over one connection, and over a new one for each tenth reading.
async fn read_on(client: Client, again: ClientOptions, name: SecretName, stop: Arc<AtomicBool>, count: Arc<AtomicU64>) {
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let other = match round % 10 {
            0 => Some(Client::connect(again.clone()).await.expect("connected")),
            _ => None,
        };
        let value = other.as_ref().unwrap_or(&client).reveal_secret(Reveal::latest(&name)).await.expect("served all the time").value;
        assert_eq!(value.expose(), b"value");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn good_connections_notice_nothing_of_100_reloads() {
    let site = site_with_list();
    write_numbered_list(&site, 1, &[]);
    let Scene { site, running, name } = scene(site).await;
    let options = ClientOptions::new(running.address().to_string(), server_id(), site.credentials(&workload("backend"))).retries(0);
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut readers = Vec::new();
    for _ in 0..4 {
        let client = Client::connect(options.clone()).await.expect("connected");
        readers.push(tokio::spawn(read_on(client, options.clone(), name.clone(), stop.clone(), count.clone())));
    }
    let mut last = None;
    for number in 0..100 {
        let before = running.times_said(IN_FORCE);
        let new = site.new_server_leaf();
        write_private(&site.path("pki/server.key"), &new.key_pem()).expect("written");
        write_private(&site.path("pki/server.pem"), new.certificate_pem()).expect("written");
        write_numbered_list(&site, number + 2, &[]);
        running.hang_up();
        says_again(&running, IN_FORCE, before).await;
        last = Some(new);
    }
    shows(&site, &running, &last.expect("a hundred")).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("no reading failed");
    }
    assert!(count.load(Ordering::Relaxed) > 100, "{count:?} readings");
    assert_eq!(running.times_said(REFUSED), 0);
}

/// A stream in which nothing moves, as somebody.
async fn silent_stream(running: &Running, credentials: Credentials) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let mut health = HealthClient::new(channel_with(running, credentials).await);
    let mut stream = health.watch(HealthCheckRequest::default()).await.expect("watched").into_inner();
    stream.message().await.expect("the first").expect("the first");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_revoked_is_cut_off_at_once_streams_included() {
    let site = site_with_list();
    write_numbered_list(&site, 1, &[]);
    let Scene { site, running, name } = scene(site).await;
    let (good, bad) = (leaf(&site, "good", HOUR), leaf(&site, "bad", HOUR));
    let (good_client, bad_client) = (client_with(&running, good.clone()).await, client_with(&running, bad.clone()).await);
    for client in [&good_client, &bad_client] {
        client.reveal_secret(Reveal::latest(&name)).await.expect("served");
    }
    let (mut good_stream, mut bad_stream) = (silent_stream(&running, good).await, silent_stream(&running, bad.clone()).await);
    write_numbered_list(&site, 2, &[&serial(&bad)]);
    running.hang_up();
    let cut = tokio::time::timeout(PATIENCE, bad_stream.message()).await.expect("the stream of the revoked one ends");
    assert!(cut.is_err(), "{cut:?}");
    bad_client.reveal_secret(Reveal::latest(&name)).await.expect_err("cut off");
    assert!(is_turned_away(&running, bad).await);
    good_client.reveal_secret(Reveal::latest(&name)).await.expect("nothing is noticed");
    // The stream of the good one is still the first: a seal is told over it.
    site.client(&running, &person("cleo")).await.seal("a test").await.expect("sealed");
    let told = tokio::time::timeout(PATIENCE, good_stream.message()).await.expect("in time").expect("an answer").expect("an answer");
    assert_eq!(told.status(), tonic_health::pb::health_check_response::ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_leave_the_old_ones_in_force_and_are_told_of() {
    let site = site_with_list();
    write_numbered_list(&site, 1, &[]);
    let Scene { site, running, name } = scene(site).await;
    let client = site.client(&running, &workload("backend")).await;
    let old = shown(&site, &running).await;
    let mut refusals = 0;
    let (key, list) = (fs::read(site.path("pki/server.key")).expect("read"), fs::read(site.path(LIST)).expect("read"));
    for (file, content) in [("pki/server.key", site.new_server_leaf().key_pem().to_string()), (LIST, "no list".to_owned())] {
        write_private(&site.path(file), &content).expect("written");
        running.hang_up();
        says_again(&running, REFUSED, refusals).await;
        refusals += 1;
        client.reveal_secret(Reveal::latest(&name)).await.expect("served");
        assert_eq!(shown(&site, &running).await, old);
        let (good, other) = if file == LIST { (&list, LIST) } else { (&key, "pki/server.key") };
        fs::write(site.path(other), good).expect("written");
    }
    fs::remove_file(site.path(LIST)).expect("removed");
    running.hang_up();
    says_again(&running, REFUSED, refusals).await;
    assert!(!is_turned_away(&running, site.credentials(&workload("backend"))).await);
    // What is wrong is on the record, with the file that it is wrong with.
    let auditor = site.client(&running, &person("auditor")).await;
    let filter = AuditFilter { event: "system".to_owned(), ..AuditFilter::default() };
    let entries = auditor.list_audit_entries(&filter, Page::default()).await.expect("listed").items;
    let why: Vec<_> =
        entries.iter().filter(|entry| entry.method == "reload").map(|entry| (&*entry.outcome, &entry.detail["why"])).collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert!(why.iter().all(|(outcome, _)| *outcome == "refused"));
    assert!(
        why.iter().any(|(_, why)| why.contains("workload-ca.crl")) && why.iter().any(|(_, why)| why.contains("private key")),
        "{why:?}"
    );
    // And once it is mended it is in force.
    write_numbered_list(&site, 2, &[]);
    running.says(IN_FORCE);
}

fn replace_link(link: &Path, target: &str) {
    let beside = link.with_file_name("..swap");
    symlink(target, &beside).expect("linked");
    fs::rename(&beside, link).expect("moved");
}

/// In place, by a new name, and as Kubernetes does it: files that are links into a folder that is a link to a folder.
#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_noticed_without_a_signal_however_they_change() {
    let site = Site::with_vault("");
    let folder = |number: u32, leaf: &Issued| {
        let folder = format!("pki/..{number}");
        private_folder(&site.path(&folder)).expect("made");
        write_private(&site.path(&format!("{folder}/server.key")), &leaf.key_pem()).expect("written");
        write_private(&site.path(&format!("{folder}/server.pem")), leaf.certificate_pem()).expect("written");
    };
    folder(1, &site.new_server_leaf());
    symlink("..1", site.path("pki/..data")).expect("linked");
    for file in ["server.key", "server.pem"] {
        fs::remove_file(site.path("pki").join(file)).expect("removed");
        symlink(Path::new("..data").join(file), site.path("pki").join(file)).expect("linked");
    }
    let running = site.start();

    let swapped = site.new_server_leaf();
    folder(2, &swapped);
    replace_link(&site.path("pki/..data"), "..2");
    shows(&site, &running, &swapped).await;

    let in_place = site.new_server_leaf();
    fs::write(site.path("pki/..2/server.key"), in_place.key_pem().as_bytes()).expect("written");
    fs::write(site.path("pki/..2/server.pem"), in_place.certificate_pem()).expect("written");
    shows(&site, &running, &in_place).await;

    let renamed = site.new_server_leaf();
    write_private(&site.path("pki/server.key"), &renamed.key_pem()).expect("written");
    write_private(&site.path("pki/server.pem"), renamed.certificate_pem()).expect("written");
    shows(&site, &running, &renamed).await;
}

/// Between the two there is always a moment in which they do not belong together.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_before_its_certificate_is_waited_with() {
    let site = Site::with_vault("");
    let running = site.start();
    for round in 0..5 {
        // The server looks once a second: each round meets another part of it.
        tokio::time::sleep(Duration::from_millis(200) * round).await;
        let new = site.new_server_leaf();
        write_private(&site.path("pki/server.key"), &new.key_pem()).expect("written");
        tokio::time::sleep(Duration::from_millis(600)).await;
        write_private(&site.path("pki/server.pem"), new.certificate_pem()).expect("written");
        shows(&site, &running, &new).await;
    }
    assert_eq!(running.times_said(REFUSED), 0);
}

// immune: row-65
#[tokio::test(flavor = "multi_thread")]
async fn an_older_list_is_refused_while_serving_and_after_a_restart() {
    let site = site_with_list();
    let bad = leaf(&site, "bad", HOUR);
    write_numbered_list(&site, 9, &[]);
    let running = site.start();
    assert!(!is_turned_away(&running, bad.clone()).await);
    write_numbered_list(&site, 16, &[&serial(&bad)]);
    running.hang_up();
    says_again(&running, IN_FORCE, 0).await;
    assert!(is_turned_away(&running, bad.clone()).await);

    write_numbered_list(&site, 9, &[]);
    running.hang_up();
    says_again(&running, REFUSED, 0).await;
    assert!(is_turned_away(&running, bad.clone()).await);
    drop(running);
    let told = complaint(&site);
    assert!(told.contains("number 9") && told.contains("number 10 (hex)"), "{told}");
    write_numbered_list(&site, 17, &[&serial(&bad)]);
    assert!(is_turned_away(&site.start(), bad).await);
}

/// An authority of programs that may have others below it, signed by the one above or by itself.
fn authority(name: &str, above: Option<&Authority>) -> Authority {
    let key = KeyPair::generate().expect("generated");
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.subject_alt_names = vec![SanType::URI(format!("spiffe://{WORKLOADS}").as_str().try_into().expect("ASCII"))];
    let certificate = match above {
        None => parameters.self_signed(&key),
        Some(above) => {
            let above_key = KeyPair::from_pem(&above.key_pem()).expect("an authority's key");
            parameters.signed_by(&key, &Issuer::from_ca_cert_der(above.certificate(), above_key).expect("a CA"))
        }
    };
    Authority::from_pem(&certificate.expect("signed").pem(), &key.serialize_pem()).expect("a CA")
}

fn numbered(authority: &Authority, number: u64, revoked: &[&str]) -> String {
    let now = SystemClock.now();
    authority.crl(revoked, number, now, now.plus(HOUR)).expect("signed")
}

// immune: row-65
/// Of a CA below a root: its list is not taken without its signature, and is missed when it is taken away; and with the CA's
/// certificate gone as well its number is still known, after a restart too.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_a_ca_below_a_root_cannot_be_forged_taken_away_or_put_back() {
    let site = site_with_list();
    let root = authority("root of programs", None);
    let middle = authority("backends", Some(&root));
    let bad = middle.issue_client(&workload("backend"), SystemClock.now(), HOUR).expect("issued");
    write_private(&site.path("pki/bad.key"), &bad.key_pem()).expect("written");
    write_private(&site.path("pki/bad.pem"), &[bad.certificate_pem(), middle.certificate_pem()].concat()).expect("written");
    let ca = site.path("pki/server-ca.pem");
    fs::copy(site.path("pki/workload-ca.pem"), &ca).expect("copied");
    let bad_client = || Credentials { ca: ca.clone(), certificate: site.path("pki/bad.pem"), key: site.path("pki/bad.key") };
    let put = |authorities: &[&Authority], lists: &[String]| {
        let all = [&[site.workloads()][..], authorities].concat();
        write_private(&site.path("pki/workload-ca.pem"), &all.iter().map(|one| one.certificate_pem()).collect::<String>())
            .expect("written");
        let of_roots = [numbered(site.workloads(), 1, &[]), numbered(&root, 1, &[])];
        write_private(&site.path(LIST), &[&of_roots[..], lists].concat().concat()).expect("written");
    };
    let both = [&root, &middle];
    put(&both, &[numbered(&middle, 9, &[])]);
    let running = site.start();
    assert!(!is_turned_away(&running, bad_client()).await);
    put(&both, &[numbered(&middle, 16, &[&bad.serial()])]);
    running.hang_up();
    says_again(&running, IN_FORCE, 0).await;
    assert!(is_turned_away(&running, bad_client()).await);

    put(&both, &[]);
    running.hang_up();
    running.says("the CA backends of trust domain apps.test has no revocation list");
    assert!(is_turned_away(&running, bad_client()).await);
    put(&both, &[numbered(&authority("backends", None), u64::MAX, &[])]);
    running.hang_up();
    running.says("was not signed by the CA that it names");
    assert!(is_turned_away(&running, bad_client()).await);
    let before = running.times_said(IN_FORCE);
    put(&[&root], &[]);
    running.hang_up();
    says_again(&running, IN_FORCE, before).await;
    assert!(is_turned_away(&running, bad_client()).await);
    put(&both, &[numbered(&middle, 9, &[])]);
    running.hang_up();
    running.says("has number 9, but number 10 (hex) has been seen");
    assert!(is_turned_away(&running, bad_client()).await);
    drop(running);

    // A start without it does not forget it either.
    put(&[&root], &[]);
    assert!(site.start().stop());
    put(&both, &[numbered(&middle, 9, &[])]);
    let told = complaint(&site);
    assert!(told.contains("number 9") && told.contains("number 10 (hex)"), "{told}");
    put(&both, &[numbered(&middle, 17, &[&bad.serial()])]);
    assert!(is_turned_away(&site.start(), bad_client()).await);
}
