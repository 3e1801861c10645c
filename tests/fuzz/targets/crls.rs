//! Revocation lists as files may hold them: both readers, ours and that of the TLS library. A list is read or refused; one that
//! was changed is refused, or says of its CA's leaves what it said before.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use strongroom::identity::{Revocation, SpiffeVerifier, TrustAnchor};
use strongroom::model::{Class, Clock, SystemClock, Timestamp};
use strongroom::pki::{Authority, Issued};

type List = CertificateRevocationListDer<'static>;

/// A CA, a leaf that it took back, the list that says so, and when all of this was made.
struct World {
    authority: Authority,
    revoked: Issued,
    list: List,
    now: Timestamp,
    provider: Arc<CryptoProvider>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let now = SystemClock.now();
    let hour = Duration::from_secs(3600);
    let authority = Authority::create("Fuzz", "fuzz.example".parse().expect("valid"), now).expect("created");
    let revoked = authority.issue_client(&"spiffe://fuzz.example/gone".parse().expect("valid"), now, hour).expect("issued");
    let pem = authority.crl(&[&revoked.serial(), "0102"], 7, now, now.plus(hour)).expect("signed");
    let list = List::from_pem_slice(pem.as_bytes()).expect("PEM");
    World { authority, revoked, list, now, provider: Arc::new(aws_lc_rs::default_provider()) }
});

/// Each change is three bytes, where and to what; so many bytes stand behind the list's end. Changes of a good list reach
/// further than bytes from nowhere.
fn changed(good: &List, changes: &[u8]) -> List {
    let mut list = good.to_vec();
    let whole = changes.chunks_exact(3);
    let behind = whole.remainder().to_vec();
    for change in whole {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % list.len();
        list[at] = change[2];
    }
    list.extend(behind);
    list.into()
}

/// Our reader, and the whole way to a verifier of leaves.
fn ours(list: List) {
    let World { authority, revoked, now, provider, .. } = &*WORLD;
    let roots = vec![authority.certificate().clone()];
    let anchor = TrustAnchor::new(authority.trust_domain().clone(), Class::Workload, roots, Revocation::Crls(vec![list]), *now);
    let Ok(verifier) = anchor.and_then(|anchor| SpiffeVerifier::new(vec![anchor], provider)) else { return };
    let time = UnixTime::since_unix_epoch(Duration::from_millis(now.unix_ms()));
    assert!(verifier.principal(revoked.certificate(), &[], time).is_err(), "back in");
}

/// The library's reader, which here is not kept from a list that ours refuses.
fn theirs(list: List) {
    let mut store = RootCertStore::empty();
    store.add(WORLD.authority.certificate().clone()).expect("a CA");
    let _ = WebPkiClientVerifier::builder_with_provider(Arc::new(store), WORLD.provider.clone()).with_crls([list]).build();
}

fuzz_target!(|bytes: &[u8]| {
    for list in List::pem_slice_iter(bytes).flatten() {
        ours(list);
    }
    for list in [bytes.to_vec().into(), changed(&WORLD.list, bytes)] {
        ours(List::clone(&list));
        theirs(list);
    }
});
