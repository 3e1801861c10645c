//! Trust anchors: what is configured of a trust domain, checked before anything relies on it.

use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

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
    /// Checks what was configured, as of `now`.
    ///
    /// # Errors
    /// No root; a root that is no CA certificate, or expired; two roots of one name (a revocation list could not say whose
    /// it is); with lists: a root without one, an expired one, one without an end or a number, one that its root did not sign,
    /// two of one issuer (only the first would ever be looked at); a short life of zero or of more than 24 hours.
    pub fn new(
        domain: TrustDomain,
        class: Class,
        roots: Vec<CertificateDer<'static>>,
        revocation: Revocation,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        let refused = |why| IdentityError::Anchor { domain: domain.clone(), why };
        let parsed = parse_roots(&roots, now).map_err(refused)?;
        let lists = match &revocation {
            Revocation::Crls(lists) => check_lists(&domain, &parsed, lists, now).map_err(refused)?,
            Revocation::ShortLived { max_lifetime } if max_lifetime.is_zero() || *max_lifetime > SHORT_LIVED => {
                return Err(refused("short-lived certificates live for 24 hours at most: allow less, or give a revocation list"));
            }
            Revocation::ShortLived { .. } | Revocation::NoneByConfiguration => Vec::new(),
        };
        Ok(Self { domain, class, roots, revocation, lists })
    }
}

fn parse_roots<'a>(roots: &'a [CertificateDer<'static>], now: Timestamp) -> Result<Vec<X509Certificate<'a>>, &'static str> {
    let mut parsed: Vec<X509Certificate<'_>> = Vec::with_capacity(roots.len());
    for root in roots {
        let (_, root) = X509Certificate::from_der(root).map_err(|_| "a CA certificate cannot be read")?;
        if !root.is_ca() {
            return Err("a certificate is not a CA's: give the CA's own (basicConstraints CA:TRUE), not one that it issued");
        }
        if root.validity().not_after.timestamp() <= seconds(now) {
            return Err("a CA certificate has expired: put its successor in its place");
        }
        if parsed.iter().any(|other| other.subject() == root.subject()) {
            return Err("two CA certificates have the same name: give the new CA a name of its own");
        }
        parsed.push(root);
    }
    if parsed.is_empty() { Err("no CA certificate") } else { Ok(parsed) }
}

fn check_lists(
    domain: &TrustDomain,
    roots: &[X509Certificate<'_>],
    lists: &[CertificateRevocationListDer<'static>],
    now: Timestamp,
) -> Result<Vec<RevocationList>, &'static str> {
    let mut read = Vec::with_capacity(lists.len());
    let mut parsed: Vec<CertificateRevocationList<'_>> = Vec::with_capacity(lists.len());
    for list in lists {
        let (_, list) = CertificateRevocationList::from_der(list).map_err(|_| "a revocation list cannot be read")?;
        read.push(RevocationList::read(domain, &list)?);
        if read.last().is_some_and(|read| read.next_update <= now) {
            return Err("a revocation list has expired: make a new one with your CA (e.g. `openssl ca -gencrl`), put it in its place");
        }
        // The verifier takes the first list of an issuer and looks at no other.
        if parsed.iter().any(|other| other.issuer() == list.issuer()) {
            return Err("two revocation lists of one CA: keep the newest alone");
        }
        parsed.push(list);
    }
    for root in roots {
        let list = parsed.iter().find(|list| list.issuer() == root.subject());
        let list = list.ok_or("a CA has no revocation list that it signed itself: make one, even if empty (e.g. `openssl ca -gencrl`)")?;
        if !signed_by(list, root) {
            return Err("a revocation list was not signed by the CA that it names");
        }
    }
    Ok(read)
}

/// Early word of a mix-up only: each handshake verifies the list again, with the algorithm that it names.
fn signed_by(list: &CertificateRevocationList<'_>, root: &X509Certificate<'_>) -> bool {
    let key = &root.public_key().subject_public_key.data;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    algorithms.iter().any(|algorithm| algorithm.verify_signature(key, list.tbs_cert_list.as_ref(), &list.signature_value.data).is_ok())
}

fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.unix_ms() / 1_000).unwrap_or(i64::MAX)
}
