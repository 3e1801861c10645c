//! From a certificate to a principal: who may connect, and as whom.
//!
//! | word | meaning |
//! |---|---|
//! | [`TrustAnchor`] | one trust domain: its CAs, its [`Class`](crate::model::Class), and how revocation works there |
//! | [`SpiffeVerifier`] | decides on a client's chain: one SPIFFE ID, verified against the anchor of its own domain alone |
//! | [`ServerTls`], [`LiveTls`] | the server's side of TLS, checked and built; the one in force, replaced without a restart |
//! | [`RevocationList`], [`HighestLists`] | a list in force; the highest numbers seen, below which none is believed |
//! | [`accept`], [`Connection`] | the accept loop; a stream that has proved a principal and ends with its certificate |
//! | [`Caller`], [`Peer`] | in a request's extensions: what its connection proved |
//! | [`Credit`], [`Earned`] | what a connection may still send |
//! | [`Standing`], [`PrincipalLimits`] | what one principal holds and does at once, over all of its connections |
//! | [`Refusal`], [`Stranger`] | why a connection proved nothing; who it was, as far as that can be told |
//!
//! Flow: files ([`load_certificates`], [`load_private_key`], [`load_crls`]) -> [`TrustAnchor::new`] -> [`ServerTls::new`] ->
//! [`LiveTls`] -> [`accept`] -> a stream of [`Connection`]s for tonic's `serve_with_incoming`.
//!
//! Three things hold for every connection: TLS 1.3 alone, a full handshake each time (a resumed one would skip the
//! revocation list), and one SPIFFE ID (SPIFFE X.509-SVID) that was verified under the anchor of its own trust domain.

mod acceptor;
mod admission;
mod anchor;
mod connection;
mod credit;
mod frames;
mod leaf;
mod lists;
mod live;
mod metered;
mod peer;
mod pem;
mod refusal;
mod standing;
#[cfg(test)]
mod tests;
mod tls;
mod verifier;

use std::io;
use std::path::PathBuf;

pub use acceptor::{Stranger, accept};
pub use admission::AcceptLimits;
pub use anchor::{Revocation, TrustAnchor};
pub use connection::{Caller, Connection};
pub use credit::{Credit, Earned};
pub use lists::{HighestLists, ListNumber, RevocationList};
pub use live::{LiveTls, Reloads};
pub use peer::Peer;
pub use pem::{load_certificates, load_crls, load_private_key};
pub use refusal::Refusal;
pub use standing::{PrincipalLimits, Standing, TooMuch};
pub use tls::ServerTls;
pub use verifier::SpiffeVerifier;

use crate::model::TrustDomain;

/// Why what was configured cannot be trusted. Paths and trust domains stand in it, never what a file holds.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file can be read, and is not what it should be.
    #[error("{}: {why}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// An anchor that proves nothing.
    #[error("the anchor of trust domain {domain}: {why}")]
    Anchor {
        /// Whose.
        domain: TrustDomain,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// A CA without its revocation list: nobody could tell whom it has taken back.
    #[error(
        "the CA {issuer} of trust domain {domain} has no revocation list: put its newest one back, or make one, even if empty (e.g. \
         `strongroom pki crl`, `openssl ca -gencrl`); from a CA that is trusted no longer take away the certificate as well"
    )]
    NoList {
        /// Whose members it certifies.
        domain: TrustDomain,
        /// Which CA.
        issuer: String,
    },
    /// A revocation list whose signature cannot be checked: whoever made it could be anybody.
    #[error(
        "the revocation list of {issuer} in trust domain {domain} cannot be checked: its CA's certificate is not among the domain's \
         `roots`; add it there, also if it is an intermediate CA's, or take the list away"
    )]
    UncheckedList {
        /// Whose members it is for.
        domain: TrustDomain,
        /// Who is said to have made it.
        issuer: String,
    },
    /// A revocation list older than one that was in force: it would let back in whoever was revoked since.
    #[error(
        "the revocation list of {issuer} in trust domain {domain} has number {number}, but number {highest} (hex) has been seen: \
         put the newest list back, or have the CA make a new one"
    )]
    OlderList {
        /// Whose members it is for.
        domain: TrustDomain,
        /// Who made it.
        issuer: String,
        /// Which one it is.
        number: ListNumber,
        /// Which one is known.
        highest: ListNumber,
    },
    /// More revocation lists than can be kept track of.
    #[error(
        "{0} revocation lists are configured, but at most 100 can be kept track of: use short-lived certificates in some trust domains"
    )]
    TooManyLists(usize),
    /// More CAs have had revocation lists than can be kept track of.
    #[error(
        "{0} CAs have had a revocation list since the audit log began, but the numbers of at most 120 can be kept: keep the old log \
         and start with an empty audit folder"
    )]
    TooManyIssuers(usize),
    /// One trust domain has two anchors, so that its class would be a matter of chance.
    #[error("trust domain {0} has more than one anchor")]
    TwoAnchors(TrustDomain),
    /// No anchor at all: nobody could connect.
    #[error("no trust anchor is configured")]
    NoAnchor,
    /// The server's own certificate or key cannot serve.
    #[error("the server's certificate: {0}")]
    ServerCertificate(&'static str),
}
