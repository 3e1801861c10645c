//! What was taken back stays out: lists of revoked certificates, read at the start, and lives too short to need one.

use std::fs;
use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use strongroom::client::{AuditFilter, Credentials, Page};
use strongroom::model::{Clock, Environment, SystemClock, Timestamp};
use strongroom::pki::{LeafProfile, Usage, write_private};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::harness::{Running, Site, WORKLOADS, person, workload};
use crate::proofs::is_turned_away;
use crate::stage::{named, opaque};
use crate::wire::client_with;

const HOUR: Duration = Duration::from_secs(3600);
/// The name of the list of programs' certificates, as the configuration has it.
pub(crate) const LIST: &str = "pki/workload-ca.crl";

/// A vault whose programs' trust domain has this line on how certificates are taken back.
fn site(revocation: &str) -> Site {
    let site = Site::with_vault("");
    configure(&site, revocation);
    site
}

/// Gives programs' trust domain this line instead of `revocation = "none"`.
fn configure(site: &Site, revocation: &str) {
    let path = site.path("strongroom.toml");
    let text = fs::read_to_string(&path).expect("read");
    let roots = "roots = [\"pki/workload-ca.pem\"]\n";
    let none = format!("{roots}revocation = \"none\"\n");
    assert!(text.contains(&none), "{text}");
    write_private(&path, &text.replace(&none, &format!("{roots}{revocation}\n"))).expect("written");
}

/// Has the list [`LIST`] looked at from the next start on.
pub(crate) fn configure_list(site: &Site) {
    configure(site, &format!("crls = [\"{LIST}\"]"));
}

/// A vault whose programs' trust domain has the list [`LIST`].
pub(crate) fn site_with_list() -> Site {
    let site = Site::with_vault("");
    configure_list(&site);
    site
}

/// Writes the first list of programs' certificates that were taken back, good for two hours before `end`.
fn write_list(site: &Site, revoked: &[&str], end: Timestamp) {
    let start = Timestamp::from_unix_ms(end.unix_ms() - 2 * 3_600_000).expect("valid");
    let list = site.workloads().crl(revoked, 1, start, end).expect("signed");
    write_private(&site.path(LIST), &list).expect("written");
}

/// Writes a list of that number, good for an hour.
pub(crate) fn write_numbered_list(site: &Site, number: u64, revoked: &[&str]) {
    let now = SystemClock.now();
    let list = site.workloads().crl(revoked, number, now, now.plus(HOUR)).expect("signed");
    write_private(&site.path(LIST), &list).expect("written");
}

/// Why the server does not start.
pub(crate) fn complaint(site: &Site) -> String {
    Running::of(site.command("server")).err().expect("it does not start")
}

/// A certificate of the same program each time, that lives for so long.
pub(crate) fn leaf(site: &Site, name: &str, lifetime: Duration) -> Credentials {
    let now = SystemClock.now();
    site.forge(name, false, &LeafProfile::new(&workload("backend"), Usage::Client, now, now.plus(lifetime)))
}

/// Its serial number in hex.
pub(crate) fn serial(leaf: &Credentials) -> String {
    let certificate = CertificateDer::from_pem_file(&leaf.certificate).expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&certificate).expect("a certificate");
    hex::encode(certificate.raw_serial())
}

/// Opens the vault, gives the program of [`leaf`] a namespace, and sees the good certificate served and the bad one turned
/// away, with the reason on the record.
async fn only_the_good_one_is_served(site: &Site, good: Credentials, bad: Credentials, why: &str) {
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    site.bind(&running, "auditor", &person("auditor"), None).await;
    assert!(is_turned_away(&running, bad).await, "{why}, and it was let in");
    let client = client_with(&running, good).await;
    client.create_secret(opaque(&named("shop/merchants/1"), "value")).await.expect("the good one is served");
    let auditor = site.client(&running, &person("auditor")).await;
    let filter = AuditFilter { event: "denied".to_owned(), ..AuditFilter::default() };
    let begin = Instant::now();
    loop {
        // Strangers are put on the record after they were turned away.
        let entries = auditor.list_audit_entries(&filter, Page::default()).await.expect("listed").items;
        if entries.iter().any(|entry| entry.method == "handshake" && entry.detail.get("why").is_some_and(|told| told == why)) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "not on the record: {why}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// immune: row-5
#[test]
fn without_its_list_the_server_does_not_start() {
    let site = site_with_list();
    let told = complaint(&site);
    assert!(told.contains(LIST) && told.contains("cannot be read"), "{told}");
    write_list(&site, &[], SystemClock.now().plus(HOUR));
    drop(site.start());
}

// immune: row-5
#[test]
fn with_an_expired_list_the_server_does_not_start() {
    let site = site_with_list();
    let a_minute_ago = Timestamp::from_unix_ms(SystemClock.now().unix_ms() - 60_000).expect("valid");
    write_list(&site, &[], a_minute_ago);
    let told = complaint(&site);
    assert!(told.contains(WORKLOADS) && told.contains("a revocation list has expired"), "{told}");
    write_list(&site, &[], SystemClock.now().plus(HOUR));
    drop(site.start());
}

// immune: row-5
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_turned_away_and_another_of_the_same_program_is_not() {
    let site = site_with_list();
    let (good, revoked) = (leaf(&site, "good", HOUR), leaf(&site, "revoked", HOUR));
    write_list(&site, &[&serial(&revoked)], SystemClock.now().plus(HOUR));
    only_the_good_one_is_served(&site, good, revoked, "the certificate is revoked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_lives_must_be_short_a_longer_one_is_turned_away() {
    let site = site("max_leaf_lifetime_h = 1");
    let (short, long) = (leaf(&site, "short", HOUR), leaf(&site, "long", HOUR + Duration::from_secs(1)));
    only_the_good_one_is_served(&site, short, long, "the certificate lives longer than its anchor allows").await;
}
