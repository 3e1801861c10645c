//! CAs between root and leaf, and their revocation lists.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::UnixTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

/// An authority that may have others below it, signed by the one above or by itself.
fn authority(name: &str, above: Option<&Authority>) -> Authority {
    let key = KeyPair::generate().expect("generated");
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.subject_alt_names = vec![SanType::URI("spiffe://shop.example".try_into().expect("ASCII"))];
    let certificate = match above {
        None => parameters.self_signed(&key),
        Some(above) => {
            let above_key = KeyPair::from_pem(&above.key_pem()).expect("an authority's key");
            parameters.signed_by(&key, &Issuer::from_ca_cert_der(above.certificate(), above_key).expect("a CA"))
        }
    };
    Authority::from_pem(&certificate.expect("signed").pem(), &key.serialize_pem()).expect("a CA")
}

fn serial(authority: &Authority) -> String {
    let (_, certificate) = X509Certificate::from_der(authority.certificate()).expect("a certificate");
    hex::encode(certificate.raw_serial())
}

fn numbered(authority: &Authority, number: u64, revoked: &[&str]) -> CertificateRevocationListDer<'static> {
    let pem = authority.crl(revoked, number, now(), now().plus(HOUR)).expect("signed");
    CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).expect("PEM")
}

fn configure(authorities: &[&Authority], lists: Vec<CertificateRevocationListDer<'static>>) -> Result<TrustAnchor, IdentityError> {
    configure_as(authorities, Revocation::Crls(lists))
}

fn configure_as(authorities: &[&Authority], revocation: Revocation) -> Result<TrustAnchor, IdentityError> {
    let certificates = authorities.iter().map(|one| one.certificate().clone()).collect();
    TrustAnchor::new("shop.example".parse().expect("valid"), Class::Workload, certificates, revocation, now())
}

fn complaint(outcome: Result<TrustAnchor, IdentityError>) -> String {
    outcome.map(drop).expect_err("refused").to_string()
}

fn verifier(anchor: TrustAnchor) -> SpiffeVerifier {
    SpiffeVerifier::new(vec![anchor], &Arc::new(rustls::crypto::aws_lc_rs::default_provider())).expect("built")
}

/// Root, CA below it, and a leaf of that one's.
fn line() -> (Authority, Authority, Issued) {
    let root = authority("Shop root", None);
    let middle = authority("Shop backends", Some(&root));
    let leaf = middle.issue_client(&id(BACKEND), now(), HOUR).expect("issued");
    (root, middle, leaf)
}

// immune: row-5
#[test]
fn the_whole_chain_is_checked_and_an_unknown_status_is_refused() {
    let (root, middle, leaf) = line();
    let judge = |authorities: &[&Authority], lists| {
        let verifier = verifier(configure(authorities, lists).expect("good"));
        verifier.principal(leaf.certificate(), &[middle.certificate().clone()], UnixTime::now()).map(|principal| principal.id)
    };
    let both = [&root, &middle];
    assert_eq!(judge(&both, vec![numbered(&root, 1, &[]), numbered(&middle, 1, &[])]), Ok(id(BACKEND)));
    assert_eq!(judge(&both, vec![numbered(&root, 1, &[]), numbered(&middle, 1, &[&leaf.serial()])]), Err(Refusal::Revoked));
    assert_eq!(judge(&both, vec![numbered(&root, 1, &[&serial(&middle)]), numbered(&middle, 1, &[])]), Err(Refusal::Revoked));
    assert_eq!(judge(&[&root], vec![numbered(&root, 1, &[])]), Err(Refusal::RevocationUnknown), "no list of the leaf's issuer");
}

#[test]
fn a_ca_below_a_root_is_no_anchor_and_need_not_be_sent() {
    let (root, middle, leaf) = line();
    let verifier_of = |authorities: &[&Authority]| verifier(configure_as(authorities, Revocation::NoneByConfiguration).expect("good"));
    let judge = |verifier: &SpiffeVerifier| verifier.principal(leaf.certificate(), &[], UnixTime::now()).map(|principal| principal.id);
    assert_eq!(judge(&verifier_of(&[&middle, &root])), Ok(id(BACKEND)));
    assert_eq!(judge(&verifier_of(&[&root])), Err(Refusal::UnknownIssuer));
    // Given without the one above it, it is a root itself.
    assert_eq!(judge(&verifier_of(&[&middle])), Ok(id(BACKEND)));
    // A root of the same name did not sign it.
    let impostor = authority("Shop root", None);
    assert!(
        complaint(configure_as(&[&impostor, &middle], Revocation::NoneByConfiguration)).contains("was not signed by the CA that it names")
    );
}

/// Two CAs that certified each other, and no root.
#[test]
fn a_circle_of_cas_is_no_anchor() {
    let (root, middle, _) = line();
    let middle_key = KeyPair::from_pem(&middle.key_pem()).expect("PEM");
    let issuer = Issuer::from_ca_cert_der(middle.certificate(), middle_key).expect("a CA");
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "Shop root");
    let root_key = KeyPair::from_pem(&root.key_pem()).expect("PEM");
    let crossed = parameters.signed_by(&root_key, &issuer).expect("signed").der().clone();
    let (domain, none) = ("shop.example".parse().expect("valid"), Revocation::NoneByConfiguration);
    let circle = TrustAnchor::new(domain, Class::Workload, vec![crossed, middle.certificate().clone()], none, now());
    assert!(complaint(circle).contains("no CA certificate of a root"));
}

// immune: row-65
/// Its number would be the highest for ever, and the true list an older one.
#[test]
fn a_forged_list_of_a_ca_below_a_root_counts_for_nothing() {
    let (root, middle, _) = line();
    let forged = || numbered(&authority("Shop backends", None), u64::MAX, &[]);
    let told = complaint(configure(&[&root, &middle], vec![numbered(&root, 1, &[]), forged()]));
    assert!(told.contains("not signed by the CA"), "{told}");
    // Where nobody here can tell who signed it, it is not taken either.
    for unchecked in [forged(), numbered(&middle, 2, &[])] {
        let told = complaint(configure(&[&root], vec![numbered(&root, 1, &[]), unchecked]));
        assert!(told.contains("Shop backends") && told.contains("cannot be checked") && told.contains("shop.example"), "{told}");
    }
}

// immune: row-65
#[tokio::test]
async fn a_list_that_was_taken_away_does_not_come_back_as_an_older_one() {
    let world = World::new();
    let (root, middle, bad) = line();
    let of_both = |number, revoked: &[&str]| {
        let lists = vec![numbered(&root, 1, &[]), numbered(&middle, number, revoked)];
        world.tls(vec![configure(&[&root, &middle], lists).expect("good")])
    };
    let of_root = || world.tls(vec![configure(&[&root], vec![numbered(&root, 1, &[])]).expect("good")]);
    let mut door = Door::open(of_both(8, &[])).await;
    assert!(door.knock(world.client(&bad).config()).await.is_ok());
    door.live.replace(of_both(9, &[&bad.serial()])).expect("newer");
    assert_eq!(door.refusal(&world, &bad).await, Refusal::Revoked.why());

    // The list alone is missed.
    let told = complaint(configure(&[&root, &middle], vec![numbered(&root, 1, &[])]));
    assert!(told.contains("Shop backends") && told.contains("has no revocation list"), "{told}");
    // With its CA's certificate it may go, and so does whoever that CA certified. Its number stays.
    door.live.replace(of_root()).expect("in force");
    assert_eq!(door.refusal(&world, &bad).await, Refusal::UnknownIssuer.why());
    let error = door.live.replace(of_both(8, &[])).expect_err("older");
    assert!(matches!(error, IdentityError::OlderList { .. }), "{error}");
    assert_eq!(door.refusal(&world, &bad).await, Refusal::UnknownIssuer.why());

    // Nor after a restart without it, of what was kept.
    let kept = || HighestLists::parse(&door.live.highest_lists().to_string()).expect("kept");
    let again = LiveTls::new(of_root(), kept()).expect("in force");
    assert_eq!(again.highest_lists(), kept());
    assert!(matches!(again.replace(of_both(8, &[])), Err(IdentityError::OlderList { .. })));
    again.replace(of_both(9, &[&bad.serial()])).expect("the newest");
}
