//! Revocation lists as files may hold them: both readers, ours and that of the TLS library.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use strongroom::identity::{Revocation, TrustAnchor};
use strongroom::model::{Class, Clock, SystemClock};
use strongroom::pki::Authority;

static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::create("Fuzz", "fuzz.example".parse().expect("valid"), SystemClock.now()).expect("created"));

/// The list of an empty input: somewhere to begin.
fn good() -> CertificateRevocationListDer<'static> {
    let now = SystemClock.now();
    let pem = AUTHORITY.crl(&["0102"], 7, now, now.plus(Duration::from_secs(3600))).expect("signed");
    CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).expect("PEM")
}

fuzz_target!(|bytes: &[u8]| {
    for list in CertificateRevocationListDer::pem_slice_iter(bytes) {
        let _ = list;
    }
    // Changes of a good list reach further than bytes from nowhere.
    let mut changed = good().to_vec();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % changed.len();
        changed[at] = change[2];
    }
    for list in [bytes.to_vec(), changed] {
        let list = CertificateRevocationListDer::from(list);
        let roots = vec![AUTHORITY.certificate().clone()];
        let ours = TrustAnchor::new(
            AUTHORITY.trust_domain().clone(),
            Class::Workload,
            roots,
            Revocation::Crls(vec![list.clone()]),
            SystemClock.now(),
        );
        // Nothing but the list itself is signed by the CA.
        assert!(ours.is_err() || list == good() || bytes.len() >= 3);
        let mut store = RootCertStore::empty();
        store.add(AUTHORITY.certificate().clone()).expect("a CA");
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::new(aws_lc_rs::default_provider()));
        let _ = builder.with_crls([list]).build();
    }
});
