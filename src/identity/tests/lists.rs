//! What a file of a revocation list may hold: anything. It is read or refused, and no byte of what a CA signed can be changed.

use std::sync::LazyLock;

use proptest::prelude::*;
use rcgen::{
    CertificateParams, CrlDistributionPoint, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, SigningKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::*;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const EXTENSIONS: u8 = 0xa0;
const CONTEXT_0: u8 = 0xa0;
const URI: u8 = 0x86;
const OCTET_STRING: u8 = 0x04;
/// issuingDistributionPoint (RFC 5280, section 5.2.5), critical, whose onlySomeReasons is a BIT STRING without a bit.
const NO_REASONS_AT_ALL: &[u8] = b"\x30\x0f\x06\x03\x55\x1d\x1c\x01\x01\xff\x04\x05\x30\x03\x83\x01\x00";

/// One element of DER: tag, length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a test's own list is short").to_be_bytes();
    let length = match content.len() {
        0..128 => vec![length[1]],
        128..256 => vec![0x81, length[1]],
        _ => vec![0x82, length[0], length[1]],
    };
    [&[tag], length.as_slice(), content].concat()
}

/// The elements that stand one behind the other, whole and without their tags and lengths.
fn elements(mut der: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while let [_, first, ..] = *der {
        let more = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let length = der[2..2 + more].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (start, length) = (2 + more, if more == 0 { usize::from(first) } else { length });
        found.push((&der[..start + length], &der[start..start + length]));
        der = &der[start + length..];
    }
    found
}

/// The same list with one more extension, signed by its CA again.
fn with_extension(authority: &Authority, list: &[u8], extension: &[u8]) -> CertificateRevocationListDer<'static> {
    let whole = elements(elements(list)[0].1);
    let mut signed = elements(whole[0].1);
    let extensions = elements(signed.pop().expect("extensions come last").1)[0].1;
    let extensions = element(EXTENSIONS, &element(SEQUENCE, &[extensions, extension].concat()));
    let before: Vec<_> = signed.iter().flat_map(|(whole, _)| whole.iter().copied()).collect();
    let content = element(SEQUENCE, &[before, extensions].concat());
    let key = KeyPair::from_pem(&authority.key_pem()).expect("an authority's key");
    let signature = element(BIT_STRING, &[vec![0], key.sign(&content).expect("signed")].concat());
    element(SEQUENCE, &[&content, whole[1].0, &signature].concat()).into()
}

/// Through both readers, ours and that of the TLS library: whom the list lets in is for the verifier to say.
fn read(authority: &Authority, list: CertificateRevocationListDer<'static>) -> Result<SpiffeVerifier, IdentityError> {
    let roots = vec![authority.certificate().clone()];
    let anchor = TrustAnchor::new(authority.trust_domain().clone(), Class::Workload, roots, Revocation::Crls(vec![list]), now())?;
    SpiffeVerifier::new(vec![anchor], &Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// Made once, since keys and signatures are slow.
static CA_AND_LIST: LazyLock<(Authority, CertificateRevocationListDer<'static>)> = LazyLock::new(|| {
    let authority = World::new().workloads;
    let list = list(&authority, &["0102"], now().plus(HOUR));
    (authority, list)
});

// immune: row-7
#[test]
fn a_list_for_no_reasons_at_all_is_refused_without_panic() {
    let world = World::new();
    let good = list(&world.workloads, &[], now().plus(HOUR));
    assert!(read(&world.workloads, good.clone()).is_ok());
    // An extension that nobody knows, and that is not critical, shows that the list is put together as it should be.
    let unknown = with_extension(&world.workloads, &good, b"\x30\x0b\x06\x03\x55\x1d\x7f\x04\x04\x04\x02\x00\x00");
    assert!(read(&world.workloads, unknown).is_ok());
    let refused = read(&world.workloads, with_extension(&world.workloads, &good, NO_REASONS_AT_ALL)).map(drop);
    assert!(refused.expect_err("of no use").to_string().contains("of a kind that cannot be used"));
}

/// issuingDistributionPoint (RFC 5280, section 5.2.5), critical, whose distributionPoint is this URI.
fn of_point(uri: &str) -> Vec<u8> {
    let name = element(CONTEXT_0, &element(CONTEXT_0, &element(URI, uri.as_bytes())));
    let value = element(OCTET_STRING, &element(SEQUENCE, &name));
    element(SEQUENCE, &[b"\x06\x03\x55\x1d\x1c\x01\x01\xff", value.as_slice()].concat())
}

/// A backend's leaf whose list is found at each of these.
fn leaf_with_points(authority: &Authority, serial: u8, points: &[&str]) -> CertificateDer<'static> {
    let key = KeyPair::from_pem(&authority.key_pem()).expect("an authority's key");
    let issuer = Issuer::from_ca_cert_der(authority.certificate(), key).expect("a CA");
    let mut parameters = CertificateParams::default();
    parameters.serial_number = Some(SerialNumber::from(vec![serial]));
    parameters.subject_alt_names = vec![SanType::URI(BACKEND.try_into().expect("ASCII"))];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.crl_distribution_points = points.iter().map(|&uri| CrlDistributionPoint { uris: vec![uri.to_owned()] }).collect();
    parameters.signed_by(&KeyPair::generate().expect("generated"), &issuer).expect("signed").der().clone()
}

// immune: row-6
/// A reader that goes by a leaf's first point alone takes the list of the second for another one's (RUSTSEC-2026-0049).
#[test]
fn a_list_counts_at_each_point_that_a_leaf_names() {
    const POINTS: [&str; 2] = ["http://lists.shop.example/first", "http://lists.shop.example/second"];
    let world = World::new();
    let (revoked, good) = (leaf_with_points(&world.workloads, 0x51, &POINTS), leaf_with_points(&world.workloads, 0x52, &POINTS));
    let list = list(&world.workloads, &["51"], now().plus(HOUR));
    let judge = |point: &str, leaf: &CertificateDer<'_>| {
        let verifier = read(&world.workloads, with_extension(&world.workloads, &list, &of_point(point))).expect("of use");
        verifier.principal(leaf, &[], UnixTime::now()).map(|principal| principal.id)
    };
    for point in POINTS {
        assert_eq!(judge(point, &revoked), Err(Refusal::Revoked), "{point}");
        assert_eq!(judge(point, &good), Ok(id(BACKEND)), "{point}");
    }
    // The point is looked at: of another one's list nothing follows.
    assert_eq!(judge("http://lists.shop.example/third", &good), Err(Refusal::RevocationUnknown));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // immune: row-7
    #[test]
    fn no_bytes_of_a_list_bring_a_reader_down(
        anything in proptest::collection::vec(any::<u8>(), 0..400),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (authority, good) = &*CA_AND_LIST;
        prop_assert!(read(authority, anything.into()).is_err());
        let mut changed = good.to_vec();
        for (at, byte) in changes {
            let at = at.index(changed.len());
            changed[at] = byte;
        }
        let signed = elements(elements(good)[0].1)[0].0;
        let is_as_signed = changed.windows(signed.len()).any(|part| part == signed);
        prop_assert!(is_as_signed || read(authority, changed.into()).is_err());
    }
}
