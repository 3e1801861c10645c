//! Which certificates make a principal, and which.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use super::*;

fn verifier(world: &World) -> SpiffeVerifier {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    SpiffeVerifier::new(world.anchors(&[]), &provider).expect("built")
}

fn judge(world: &World, leaf: &CertificateDer<'_>) -> Result<crate::model::Principal, Refusal> {
    verifier(world).principal(leaf, &[], UnixTime::now())
}

/// Signed by the workloads' own CA, whatever it says.
fn signed(world: &World, profile: &LeafProfile) -> CertificateDer<'static> {
    world.workloads.issue(profile).expect("issued").certificate().clone()
}

#[tokio::test]
async fn mutual_tls_yields_the_principal_its_class_and_a_post_quantum_group() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    for (leaf, expected, class) in [(world.backend(), BACKEND, Class::Workload), (world.alice(), ALICE, Class::Operator)] {
        let (connection, client) = door.knock(world.client(&leaf).config()).await.expect("let in");
        let peer = connection.peer();
        assert_eq!((peer.principal.id.as_str(), peer.principal.class), (expected, class));
        assert_eq!(*peer.serial, leaf.serial());
        assert_eq!(peer.address, client.get_ref().0.local_addr().expect("connected"));
        assert_eq!((peer.tls_group, peer.post_quantum), ("X25519MLKEM768", true));
        let remaining = peer.not_after.since(now());
        assert!(remaining <= HOUR && remaining > HOUR - Duration::from_secs(60), "{remaining:?}");
        assert_eq!(client.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }
}

// immune: row-2
#[test]
fn the_common_name_and_the_dns_names_change_nothing() {
    let world = World::new();
    let mut profile = World::profile(BACKEND);
    profile.common_name = Some("admin".to_owned());
    profile.dns_names = vec!["admin".to_owned(), "alice.staff.example".to_owned()];
    let principal = judge(&world, &signed(&world, &profile)).expect("good");
    assert_eq!((principal.id, principal.class), (id(BACKEND), Class::Workload));

    profile.uris.clear();
    profile.common_name = Some(ALICE.to_owned());
    assert_eq!(judge(&world, &signed(&world, &profile)), Err(Refusal::NoIdentity));
}

#[test]
fn exactly_one_uri_and_that_a_canonical_spiffe_id() {
    let world = World::new();
    for (uris, refusal) in [
        (vec![], Refusal::NoIdentity),
        (vec![BACKEND, "spiffe://shop.example/other"], Refusal::ManyIdentities),
        (vec![BACKEND, "https://shop.example/"], Refusal::ManyIdentities),
        (vec![BACKEND, BACKEND], Refusal::ManyIdentities),
        (vec!["https://shop.example/backend"], Refusal::NotCanonical),
        (vec!["SPIFFE://shop.example/backend"], Refusal::NotCanonical),
        (vec!["spiffe://shop.example/a/../backend"], Refusal::NotCanonical),
        (vec!["spiffe://shop.example"], Refusal::NotCanonical),
    ] {
        let mut profile = World::profile(BACKEND);
        profile.uris = uris.iter().map(|&uri| uri.to_owned()).collect();
        assert_eq!(judge(&world, &signed(&world, &profile)), Err(refusal), "{uris:?}");
    }
}

// immune: row-63
#[test]
fn a_ca_speaks_for_its_own_domain_alone() {
    let world = World::new();
    let forged = signed(&world, &World::profile(ALICE));
    assert_eq!(judge(&world, &forged), Err(Refusal::UnknownIssuer));
    let mirrored = world.operators.issue(&World::profile(BACKEND)).expect("issued");
    assert_eq!(judge(&world, mirrored.certificate()), Err(Refusal::UnknownIssuer));
    let elsewhere = signed(&world, &World::profile("spiffe://elsewhere.example/backend"));
    assert_eq!(judge(&world, &elsewhere), Err(Refusal::UnknownDomain));
}

/// The same over a socket, where the answer is what counts.
#[tokio::test]
async fn a_workload_with_an_operators_name_is_turned_away_at_the_door() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let forged = world.workloads.issue(&World::profile(ALICE)).expect("issued");
    assert_eq!(door.refusal(&world, &forged).await, Refusal::UnknownIssuer.why());
    let stranger = Authority::create("Nobody", "shop.example".parse().expect("valid"), now()).expect("created");
    let leaf = stranger.issue_client(&id(BACKEND), now(), HOUR).expect("issued");
    assert_eq!(door.refusal(&world, &leaf).await, Refusal::UnknownIssuer.why());
}

// immune: row-1
// immune: row-3
#[test]
fn a_certificate_that_only_looks_like_a_trusted_one_is_refused() {
    let world = World::new();
    let genuine = world.backend();
    assert!(judge(&world, genuine.certificate()).is_ok());
    let mut parameters = CertificateParams::default();
    parameters.serial_number = Some(SerialNumber::from(hex::decode(genuine.serial()).expect("hex")));
    parameters.subject_alt_names = vec![SanType::URI(BACKEND.try_into().expect("ASCII"))];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("generated");

    let itself = parameters.self_signed(&key).expect("signed");
    assert!(judge(&world, itself.der()).is_err());
    // A CA of the same name with another key, and one of another name.
    for name in ["Shop workloads", "Another"] {
        let impostor = Authority::create(name, "shop.example".parse().expect("valid"), now()).expect("created");
        let impostor_key = KeyPair::from_pem(&impostor.key_pem()).expect("PEM");
        let issuer = Issuer::from_ca_cert_der(impostor.certificate(), impostor_key).expect("a CA");
        let copy = parameters.signed_by(&key, &issuer).expect("signed");
        let refusal = judge(&world, copy.der()).expect_err("refused");
        assert!(matches!(refusal, Refusal::UnknownIssuer | Refusal::BadChain), "{refusal:?}");
    }
    // A trusted leaf as an issuer: the names and the signatures fit, and still it may not sign.
    let leaf_key = KeyPair::from_pem(&genuine.key_pem()).expect("PEM");
    let issuer = Issuer::from_ca_cert_der(genuine.certificate(), leaf_key).expect("read");
    let grandchild = parameters.signed_by(&key, &issuer).expect("signed");
    let chain = [genuine.certificate().clone()];
    assert_eq!(verifier(&world).principal(grandchild.der(), &chain, UnixTime::now()), Err(Refusal::BadChain));
}

// immune: row-1
/// One chain twice, leaf, middle and root: all that differs is whether the root says that the middle is a CA.
#[test]
fn a_chain_over_a_certificate_counts_only_when_that_is_a_cas() {
    let [root_key, middle_key, leaf_key] = std::array::from_fn(|_| KeyPair::generate().expect("generated"));
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "Shop root");
    let root = parameters.self_signed(&root_key).expect("signed");
    let domain = "shop.example".parse().expect("valid");
    let anchor = TrustAnchor::new(domain, Class::Workload, vec![root.der().clone()], Revocation::NoneByConfiguration, now());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = SpiffeVerifier::new(vec![anchor.expect("good")], &provider).expect("built");
    let root = Issuer::from_ca_cert_der(root.der(), root_key).expect("a CA");
    let backend = crate::model::Principal { id: id(BACKEND), class: Class::Workload };
    for (is_ca, expected) in [
        (IsCa::Ca(BasicConstraints::Constrained(0)), Ok(backend)),
        (IsCa::ExplicitNoCa, Err(Refusal::BadChain)),
        (IsCa::NoCa, Err(Refusal::BadChain)),
    ] {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = is_ca;
        parameters.distinguished_name.push(DnType::CommonName, "Shop backends");
        let middle = parameters.signed_by(&middle_key, &root).expect("signed");
        let middle_issuer = Issuer::from_ca_cert_der(middle.der(), &middle_key).expect("read");
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = vec![SanType::URI(BACKEND.try_into().expect("ASCII"))];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = parameters.signed_by(&leaf_key, &middle_issuer).expect("signed");
        assert_eq!(verifier.principal(leaf.der(), &[middle.der().clone()], UnixTime::now()), expected);
        assert_eq!(verifier.principal(leaf.der(), &[], UnixTime::now()), Err(Refusal::UnknownIssuer), "the middle is missing");
    }
}

#[test]
fn outside_its_time_a_certificate_is_nothing() {
    let world = World::new();
    let hours = |count: u64| Timestamp::from_unix_ms(now().unix_ms() - count * 3_600_000).expect("valid");
    let mut profile = World::profile(BACKEND);
    (profile.not_before, profile.not_after) = (hours(2), hours(1));
    assert_eq!(judge(&world, &signed(&world, &profile)), Err(Refusal::Expired));
    (profile.not_before, profile.not_after) = (now().plus(HOUR), now().plus(2 * HOUR));
    assert_eq!(judge(&world, &signed(&world, &profile)), Err(Refusal::NotYetValid));
}

/// From its first second to its last, both included (RFC 5280, section 4.1.2.5).
#[test]
fn the_edges_of_its_time_are_exact() {
    let world = World::new();
    let second = |count: u64| Timestamp::from_unix_ms((now().unix_ms() / 1_000 + count) * 1_000).expect("valid");
    let (start, end) = (second(600), second(1_200));
    let leaf = signed(&world, &LeafProfile { not_before: start, not_after: end, ..World::profile(BACKEND) });
    let verifier = verifier(&world);
    for (from, ahead_ms, expected) in [
        (start, -1, Err(Refusal::NotYetValid)),
        (start, 0, Ok(())),
        (end, 0, Ok(())),
        (end, 999, Ok(())),
        (end, 1_000, Err(Refusal::Expired)),
    ] {
        let at = Hands::at(Timestamp::from_unix_ms(from.unix_ms().saturating_add_signed(ahead_ms)).expect("valid"));
        let time = crate::identity::tls::unix_time(&*at);
        assert_eq!(verifier.principal(&leaf, &[], time).map(drop), expected, "{ahead_ms} ms after {from}");
    }
}

/// By the vault's clock, over a socket.
#[tokio::test]
async fn a_certificate_before_its_time_is_turned_away_at_the_door() {
    let world = World::new();
    let hands = Hands::at(now());
    let mut door = Door::open(world.tls_by(world.anchors(&[]), hands.clone())).await;
    let minutes = |count: u64| now().plus(Duration::from_secs(60 * count));
    let leaf = world.workloads.issue(&LeafProfile { not_before: minutes(10), not_after: minutes(20), ..World::profile(BACKEND) });
    let leaf = leaf.expect("issued");
    assert_eq!(door.refusal(&world, &leaf).await, Refusal::NotYetValid.why());
    hands.0.store(minutes(15).unix_ms(), Ordering::Relaxed);
    assert!(door.knock(world.client(&leaf).config()).await.is_ok());
    hands.0.store(minutes(25).unix_ms(), Ordering::Relaxed);
    assert_eq!(door.refusal(&world, &leaf).await, Refusal::Expired.why());
}

#[test]
fn a_leaf_is_for_clients_or_it_is_refused() {
    let world = World::new();
    for usages in [vec![], vec![Usage::Server]] {
        let mut profile = World::profile(BACKEND);
        profile.usages = usages;
        assert_eq!(judge(&world, &signed(&world, &profile)), Err(Refusal::WrongUse));
    }
    let mut profile = World::profile(BACKEND);
    profile.usages = vec![Usage::Server, Usage::Client];
    assert!(judge(&world, &signed(&world, &profile)).is_ok());
    // The CA's own certificate, which names no path, and one that may sign others.
    assert_eq!(judge(&world, world.workloads.certificate()), Err(Refusal::NotCanonical));
    let issuer_key = KeyPair::from_pem(&world.workloads.key_pem()).expect("PEM");
    let issuer = Issuer::from_ca_cert_der(world.workloads.certificate(), issuer_key).expect("a CA");
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = vec![SanType::URI(BACKEND.try_into().expect("ASCII"))];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for usages in [vec![], vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign], vec![KeyUsagePurpose::KeyAgreement]] {
        parameters.key_usages = usages;
        let leaf = parameters.signed_by(&KeyPair::generate().expect("generated"), &issuer).expect("signed");
        assert_eq!(judge(&world, leaf.der()), Err(Refusal::WrongUse));
    }
}

#[test]
fn two_extensions_of_names_are_one_too_many() {
    let world = World::new();
    let issuer_key = KeyPair::from_pem(&world.workloads.key_pem()).expect("PEM");
    let issuer = Issuer::from_ca_cert_der(world.workloads.certificate(), issuer_key).expect("a CA");
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = vec![SanType::URI(BACKEND.try_into().expect("ASCII"))];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    // GeneralNames with one URI, by hand: SEQUENCE { [6] "spiffe://shop.example/x" }.
    let other = b"spiffe://shop.example/x";
    let mut names = vec![0x30, other.len() as u8 + 2, 0x86, other.len() as u8];
    names.extend_from_slice(other);
    parameters.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], names)];
    let leaf = parameters.signed_by(&KeyPair::generate().expect("generated"), &issuer).expect("signed");
    assert_eq!(judge(&world, leaf.der()), Err(Refusal::Unreadable));
}

/// Of a client that has nothing to show.
#[derive(Debug)]
struct EmptyHanded;

impl rustls::client::ResolvesClientCert for EmptyHanded {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_client_without_certificate_is_turned_away() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let mut config = (*world.client(&world.backend()).config()).clone();
    config.client_auth_cert_resolver = Arc::new(EmptyHanded);
    assert_eq!(door.knock(Arc::new(config)).await.err(), Some(Refusal::NoCertificate.why()));
}

/// Holding a copy of a certificate proves nothing without its key.
#[tokio::test]
async fn a_certificate_with_another_key_is_turned_away() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let (victim, thief) = (world.backend(), world.alice());
    let key: PrivateKeyDer<'_> = PrivatePkcs8KeyDer::from(thief.key().secret_der().to_vec()).into();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("a key");
    let stolen = rustls::sign::CertifiedKey::new(vec![victim.certificate().clone()], key);
    let mut config = (*world.client(&thief).config()).clone();
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
    assert_eq!(door.knock(Arc::new(config)).await.err(), Some(Refusal::BadChain.why()));
}

#[tokio::test]
async fn http2_must_be_agreed_on() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = (*world.client(&world.backend()).config()).clone();
        config.alpn_protocols = protocols;
        assert_eq!(door.knock(Arc::new(config)).await.err(), Some(Refusal::NoHttp2.why()));
    }
}
