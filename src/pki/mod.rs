//! The small certificate authority, for `strongroom pki`, for `dev` and for the tests.
//!
//! | word | meaning |
//! |---|---|
//! | [`Authority`] | one self-signed CA of one trust domain, with its key: it signs leaves and revocation lists, never another CA |
//! | [`LeafProfile`] | everything that a leaf will say, right or wrong: the tests make bad leaves with it |
//! | [`Issued`], [`SignedLeaf`] | a signed leaf with its private key, and without |
//! | [`CertificateRequest`] | the public key of somebody who keeps the private one to themselves |
//! | [`office`] | a folder with two authorities and their books: what was issued, what was taken back |
//!
//! Flow: [`Authority::create`] or [`Authority::load`] -> [`Authority::issue_server`], [`Authority::issue_client`] ->
//! [`write_private`] into a [`private_folder`]. [`Authority::crl`] revokes by serial number. The office does all of that, and
//! keeps the books.
//!
//! Keys are ECDSA on P-256 (FIPS 186-5) with SHA-256, serial numbers 16 random bytes, the profile that of RFC 5280 and of
//! the SPIFFE X.509-SVID specification.

mod authority;
mod files;
mod leaf;
mod list;
pub mod office;
mod request;

use std::io;
use std::path::PathBuf;

pub use authority::Authority;
pub use files::{private_folder, write_private};
pub use leaf::{Issued, LeafProfile, SignedLeaf, Usage};
pub use list::{Reason, RevokedLeaf};
pub use request::CertificateRequest;

/// Why the authority did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The certificate or the list could not be built: a name that cannot stand in a certificate, for instance.
    #[error("the certificate could not be built")]
    Build(#[from] rcgen::Error),
    /// What was read back is not a certificate authority of ours.
    #[error("not a certificate authority that can be used: {0}")]
    NotAnAuthority(&'static str),
    /// The SPIFFE ID belongs to another trust domain.
    #[error("the SPIFFE ID lies outside the authority's trust domain")]
    ForeignDomain,
    /// The wanted time of validity is impossible.
    #[error("{0}")]
    Validity(&'static str),
    /// A serial number is 1 to 20 bytes in hex.
    #[error("a serial number is 2 to 40 hex digits")]
    Serial,
    /// The operating system gave no randomness.
    #[error("no randomness to be had")]
    Randomness,
    /// A file or folder could not be written or read.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The folder lets other users in.
    #[error("{} is open to other users: chmod 700 it, or name a new folder", path.display())]
    LooseFolder {
        /// Which one.
        path: PathBuf,
    },
    /// Others may read a file that is private.
    #[error("{} may be read by other users: chmod 600 it", path.display())]
    LooseFile {
        /// Which one.
        path: PathBuf,
    },
    /// What should be a request for a certificate is none that can be used.
    #[error("the request for a certificate: {0}")]
    Request(&'static str),
}
