//! Trust anchors: what is configured of a trust domain, checked before anything relies on it.

use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::lists::for_people;
use super::{IdentityError, RevocationList};
use crate::model::{Class, Timestamp, TrustDomain};

/// Longest life of a leaf whose anchor has no revocation list.
const SHORT_LIVED: Duration = Duration::from_secs(24 * 3600);

/// One trust domain: its CAs, the class of whoever they certify, and how revocation works there.
#[derive(Debug, Clone)]
pub struct TrustAnchor {
    pub(super) domain: TrustDomain,
    pub(super) class: Class,
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// CAs below the roots. They are no anchors: a chain goes on to its root, whose list may have taken them back.
    pub(super) intermediates: Vec<CertificateDer<'static>>,
    pub(super) revocation: Revocation,
    pub(super) lists: Vec<RevocationList>,
}

/// How a trust domain takes certificates back. There is no default: having no list must be said in so many words.
#[derive(Debug, Clone)]
pub enum Revocation {
    /// One list for each CA, intermediate ones included; a certificate whose status cannot be told is refused.
    Crls(Vec<CertificateRevocationListDer<'static>>),
    /// Nothing can be revoked before it expires. The configuration says so.
    NoneByConfiguration,
    /// Leaves live so briefly that none needs to be revoked; a longer one is refused.
    ShortLived {
        /// Longest time from a leaf's start to its end, at most 24 hours.
        max_lifetime: Duration,
    },
}

impl TrustAnchor {
    /// Checks what was configured, as of `now`. `authorities` are the roots, and below them at least the CAs whose lists are
    /// given: a list that nobody here can verify could have been written by anybody.
    ///
    /// # Errors
    /// No root; a certificate that is no CA's, or expired, or was not signed by the CA given here that it names; two CAs of one
    /// name (a revocation list could not say whose it is); with lists: a CA without one, a list without its CA, an expired one,
    /// one without an end or a number, one that its CA did not sign, two of one issuer (only the first would ever be looked at);
    /// a short life of zero or of more than 24 hours.
    pub fn new(
        domain: TrustDomain,
        class: Class,
        authorities: Vec<CertificateDer<'static>>,
        revocation: Revocation,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        let refused = |why| IdentityError::Anchor { domain: domain.clone(), why };
        let parsed = parse_authorities(&authorities, now).map_err(refused)?;
        let are_roots = parsed.iter().map(|one| is_root(one, &parsed)).collect::<Result<Vec<_>, _>>().map_err(refused)?;
        if !are_roots.contains(&true) {
            return Err(refused("no CA certificate of a root: each was signed by another one of them"));
        }
        let lists = match &revocation {
            Revocation::Crls(lists) => check_lists(&domain, &parsed, lists, now)?,
            Revocation::ShortLived { max_lifetime } if max_lifetime.is_zero() || *max_lifetime > SHORT_LIVED => {
                return Err(refused("short-lived certificates live for 24 hours at most: allow less, or give a revocation list"));
            }
            Revocation::ShortLived { .. } | Revocation::NoneByConfiguration => Vec::new(),
        };
        let (mut roots, mut intermediates) = (Vec::new(), Vec::new());
        for (authority, is_root) in authorities.into_iter().zip(are_roots) {
            if is_root { roots.push(authority) } else { intermediates.push(authority) }
        }
        Ok(Self { domain, class, roots, intermediates, revocation, lists })
    }
}

fn parse_authorities<'a>(all: &'a [CertificateDer<'static>], now: Timestamp) -> Result<Vec<X509Certificate<'a>>, &'static str> {
    let mut parsed: Vec<X509Certificate<'_>> = Vec::with_capacity(all.len());
    for one in all {
        let (_, one) = X509Certificate::from_der(one).map_err(|_| "a CA certificate cannot be read")?;
        if !one.is_ca() {
            return Err("a certificate is not a CA's: give the CA's own (basicConstraints CA:TRUE), not one that it issued");
        }
        if one.validity().not_after.timestamp() <= seconds(now) {
            return Err("a CA certificate has expired: put its successor in its place");
        }
        if parsed.iter().any(|other| other.subject() == one.subject()) {
            return Err("two CA certificates have the same name: give the new CA a name of its own");
        }
        parsed.push(one);
    }
    if parsed.is_empty() { Err("no CA certificate") } else { Ok(parsed) }
}

/// Whether no other CA given here signed it.
fn is_root(one: &X509Certificate<'_>, all: &[X509Certificate<'_>]) -> Result<bool, &'static str> {
    if one.issuer() == one.subject() {
        return Ok(true);
    }
    match all.iter().find(|other| other.subject() == one.issuer()) {
        None => Ok(true),
        Some(above) if has_signed(above, one.tbs_certificate.as_ref(), &one.signature_value.data) => Ok(false),
        // To trust it by itself would leave out the list of whoever did sign it.
        Some(_) => Err("a CA certificate was not signed by the CA that it names, which is given too: give the one that signed it"),
    }
}

fn check_lists(
    domain: &TrustDomain,
    authorities: &[X509Certificate<'_>],
    lists: &[CertificateRevocationListDer<'static>],
    now: Timestamp,
) -> Result<Vec<RevocationList>, IdentityError> {
    let refused = |why| IdentityError::Anchor { domain: domain.clone(), why };
    let mut read = Vec::with_capacity(lists.len());
    let mut parsed: Vec<CertificateRevocationList<'_>> = Vec::with_capacity(lists.len());
    for list in lists {
        let (_, list) = CertificateRevocationList::from_der(list).map_err(|_| refused("a revocation list cannot be read"))?;
        let known = RevocationList::read(domain, &list).map_err(refused)?;
        if known.next_update <= now {
            let why = "a revocation list has expired: make a new one with your CA (`strongroom pki crl`, `openssl ca -gencrl`), put it in its place";
            return Err(refused(why));
        }
        // The verifier takes the first list of an issuer and looks at no other.
        if parsed.iter().any(|other| other.issuer() == list.issuer()) {
            return Err(refused("two revocation lists of one CA: keep the newest alone"));
        }
        parsed.push(list);
        read.push(known);
    }
    if let Some(bare) = authorities.iter().find(|one| !parsed.iter().any(|list| list.issuer() == one.subject())) {
        return Err(IdentityError::NoList { domain: domain.clone(), issuer: for_people(bare.subject()) });
    }
    for list in &parsed {
        let unchecked = || IdentityError::UncheckedList { domain: domain.clone(), issuer: for_people(list.issuer()) };
        let issuer = authorities.iter().find(|one| one.subject() == list.issuer()).ok_or_else(unchecked)?;
        if !has_signed(issuer, list.tbs_cert_list.as_ref(), &list.signature_value.data) {
            return Err(refused("a revocation list was not signed by the CA that it names"));
        }
    }
    Ok(read)
}

/// Whether an authority's key signed this. Each handshake verifies chain and lists again, with the algorithms that they name.
fn has_signed(authority: &X509Certificate<'_>, signed: &[u8], signature: &[u8]) -> bool {
    let key = &authority.public_key().subject_public_key.data;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    algorithms.iter().any(|algorithm| algorithm.verify_signature(key, signed, signature).is_ok())
}

fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.unix_ms() / 1_000).unwrap_or(i64::MAX)
}
