//! Long chains, wide ones, and leaves with many names: what a client may send to keep the verifier busy.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use super::*;

/// CAs between root and leaf that the TLS library follows (rustls-webpki).
const LEVELS: usize = 6;

fn key() -> KeyPair {
    KeyPair::generate().expect("generated")
}

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn leaf(names: Vec<SanType>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = names;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}

fn backend() -> SanType {
    SanType::URI(BACKEND.try_into().expect("ASCII"))
}

fn trusted(root: &Certificate) -> TrustAnchor {
    let domain = "shop.example".parse().expect("valid");
    TrustAnchor::new(domain, Class::Workload, vec![root.der().clone()], Revocation::NoneByConfiguration, now()).expect("good")
}

fn verifier(root: &Certificate) -> SpiffeVerifier {
    SpiffeVerifier::new(vec![trusted(root)], &Arc::new(rustls::crypto::aws_lc_rs::default_provider())).expect("built")
}

/// A leaf with these names, the CAs between it and the root, and the leaf's key.
fn below(root: &Certificate, root_key: &KeyPair, levels: usize, names: Vec<SanType>) -> (Vec<CertificateDer<'static>>, KeyPair) {
    let root_key = KeyPair::from_pem(&root_key.serialize_pem()).expect("a key");
    let mut issuer = Issuer::from_ca_cert_der(root.der(), root_key).expect("a CA");
    let mut middle = Vec::new();
    for level in 0..levels {
        let next = key();
        let certificate = named(&format!("level {level}")).signed_by(&next, &issuer).expect("signed");
        issuer = Issuer::from_ca_cert_der(certificate.der(), next).expect("a CA");
        middle.push(certificate.der().clone());
    }
    let leaf_key = key();
    let leaf = leaf(names).signed_by(&leaf_key, &issuer).expect("signed");
    ([vec![leaf.der().clone()], middle].concat(), leaf_key)
}

/// What a chain with so many CAs between root and leaf proves.
fn of_levels(levels: usize) -> Result<(), Refusal> {
    let root_key = key();
    let root = named("root").self_signed(&root_key).expect("signed");
    let (chain, _) = below(&root, &root_key, levels, vec![backend()]);
    verifier(&root).principal(&chain[0], &chain[1..], UnixTime::now()).map(drop)
}

#[test]
fn a_chain_has_a_length_at_most() {
    assert_eq!(of_levels(LEVELS), Ok(()));
    assert!(of_levels(LEVELS + 1).is_err());
    assert!(of_levels(10).is_err());
}

/// At each level several CAs of one name, each signed by one of the level above: thousands of ways that look right and of
/// which none ends at the root.
// immune: row-8
#[test]
fn a_chain_with_thousands_of_ways_is_given_up() {
    const WIDTH: usize = 6;
    let root = named("root").self_signed(&key()).expect("signed");
    // Not the root, but of its name.
    let false_key = key();
    let false_root = named("root").self_signed(&false_key).expect("signed");
    let mut issuers = vec![Issuer::from_ca_cert_der(false_root.der(), false_key).expect("a CA")];
    let mut middle: Vec<CertificateDer<'static>> = Vec::new();
    for level in 0..LEVELS {
        let below: Vec<_> = (0..WIDTH)
            .map(|index| {
                let next = key();
                let certificate = named(&format!("level {level}")).signed_by(&next, &issuers[index % issuers.len()]).expect("signed");
                middle.push(certificate.der().clone());
                Issuer::from_ca_cert_der(certificate.der(), next).expect("a CA")
            })
            .collect();
        issuers = below;
    }
    let leaf_key = key();
    let leaf = leaf(vec![backend()]).signed_by(&leaf_key, &issuers[0]).expect("signed").der().clone();
    let verifier = verifier(&root);
    let (told, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(verifier.principal(&leaf, &middle, UnixTime::now()).map(drop)));
    // Following them all takes some seconds, giving up some milliseconds.
    let answer = answer.recv_timeout(Duration::from_secs(1)).expect("it is given up in time");
    assert!(matches!(answer, Err(Refusal::UnknownIssuer | Refusal::BadChain)), "{answer:?}");
}

#[test]
fn among_a_hundred_names_the_one_uri_counts() {
    let world = World::new();
    let profile = |uris: Vec<String>| LeafProfile {
        uris,
        dns_names: (0..100).map(|number| format!("host-{number}.shop.example")).collect(),
        ..World::profile(BACKEND)
    };
    let judge = |profile: &LeafProfile| {
        let leaf = world.workloads.issue(profile).expect("issued");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = SpiffeVerifier::new(world.anchors(&[]), &provider).expect("built");
        verifier.principal(leaf.certificate(), &[], UnixTime::now()).map(|principal| principal.id)
    };
    assert_eq!(judge(&profile(vec![BACKEND.to_owned()])), Ok(id(BACKEND)));
    assert_eq!(judge(&profile(vec![BACKEND.to_owned(); 100])), Err(Refusal::ManyIdentities));
    assert_eq!(judge(&profile(Vec::new())), Err(Refusal::NoIdentity));
}

/// The same over a socket: the door tells each of them why, and serves the next.
#[tokio::test]
async fn long_chains_and_a_hundred_names_do_not_end_the_door() {
    let world = World::new();
    let root_key = key();
    let root = named("root").self_signed(&root_key).expect("signed");
    let mut door = Door::open(world.tls(vec![trusted(&root)])).await;
    let client = |levels, names| {
        let (chain, key) = below(&root, &root_key, levels, names);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ClientTls::new(vec![world.workloads.certificate().clone()], chain, key, id(SERVER)).expect("built").config()
    };
    let hosts = || (0..99).map(|number| SanType::DnsName(format!("host-{number}.shop.example").try_into().expect("ASCII")));
    for levels in [LEVELS + 1, 10] {
        let why = door.knock(client(levels, vec![backend()])).await.err().expect("refused");
        assert!([Refusal::UnknownIssuer.why(), Refusal::BadChain.why()].contains(&why), "{why}");
    }
    assert_eq!(door.knock(client(0, vec![backend(); 100])).await.err(), Some(Refusal::ManyIdentities.why()));
    assert_eq!(door.knock(client(0, hosts().collect())).await.err(), Some(Refusal::NoIdentity.why()));
    for (levels, names) in [(0, hosts().chain([backend()]).collect()), (LEVELS, vec![backend()]), (0, vec![backend()])] {
        let (connection, _client) = door.knock(client(levels, names)).await.expect("let in");
        assert_eq!(connection.peer().principal.id, id(BACKEND));
    }
}
