//! Why a stranger was turned away: the closed list of reasons, in constant words that hold nothing of what was shown.

use std::sync::Arc;
use std::{error, fmt, io};

use rustls::{CertificateError, Error, OtherError, PeerIncompatible};

/// Why a connection did not become a principal's. The text of each is a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not one well-formed X.509 certificate with a serial number of at most 20 bytes.
    Unreadable,
    /// No URI among the subject alternative names.
    NoIdentity,
    /// More than one URI among the subject alternative names.
    ManyIdentities,
    /// The one URI is not a SPIFFE ID in its one spelling.
    NotCanonical,
    /// No anchor is configured for the trust domain.
    UnknownDomain,
    /// The chain does not end at the anchor of its own trust domain.
    UnknownIssuer,
    /// After the certificate's end.
    Expired,
    /// Before the certificate's start.
    NotYetValid,
    /// The certificate, or one above it, is on its issuer's revocation list.
    Revoked,
    /// The issuer's revocation list is missing, expired or not signed by it.
    RevocationUnknown,
    /// Valid for longer than an anchor without revocation list allows.
    TooLongLived,
    /// Not for client authentication by digital signature.
    WrongUse,
    /// Anything else that the verifier finds wrong with the chain.
    BadChain,
    /// The client showed no certificate.
    NoCertificate,
    /// The client does not speak TLS 1.3.
    NoTls13,
    /// The client did not agree on HTTP/2.
    NoHttp2,
    /// Not TLS at all, or broken TLS, or the client gave up.
    Handshake,
    /// The handshake took too long.
    TimedOut,
    /// Too many handshakes or connections at once.
    Crowded,
    /// Too many connections of one principal at once.
    TooManyOfOne,
    /// Let in, and then sent more bytes than its calls account for.
    Flood,
    /// Let in, and then left the answers of its calls unread.
    Unread,
}

impl Refusal {
    /// The constant text, for counters and audit entries.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Unreadable => "the certificate cannot be read",
            Self::NoIdentity => "the certificate names no SPIFFE ID",
            Self::ManyIdentities => "the certificate names more than one URI",
            Self::NotCanonical => "the certificate's URI is not a canonical SPIFFE ID",
            Self::UnknownDomain => "the trust domain has no anchor here",
            Self::UnknownIssuer => "the chain does not end at the anchor of its trust domain",
            Self::Expired => "the certificate has expired",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::Revoked => "the certificate is revoked",
            Self::RevocationUnknown => "the revocation status cannot be told",
            Self::TooLongLived => "the certificate lives longer than its anchor allows",
            Self::WrongUse => "the certificate is not for client authentication",
            Self::BadChain => "a signature or the chain cannot be verified",
            Self::NoCertificate => "no client certificate",
            Self::NoTls13 => "no TLS 1.3",
            Self::NoHttp2 => "no HTTP/2 in ALPN",
            Self::Handshake => "the handshake failed",
            Self::TimedOut => "the handshake took too long",
            Self::Crowded => "too many at once",
            Self::Flood => "more frames than its calls account for",
            Self::Unread => "answers that were not read",
            Self::TooManyOfOne => "too many connections of one principal at once",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl error::Error for Refusal {}

/// What rustls found wrong with a chain. Its own errors may carry times, names and algorithm numbers of the certificate:
/// they end here.
impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::from(error),
            Error::InvalidCertRevocationList(_) => Self::RevocationUnknown,
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::NoApplicationProtocol => Self::NoHttp2,
            Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::NoTls13,
            _ => Self::Handshake,
        }
    }
}

impl From<&CertificateError> for Refusal {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as Wrong;
        match error {
            Wrong::Other(OtherError(inner)) => inner.downcast_ref::<Self>().copied().unwrap_or(Self::BadChain),
            Wrong::BadEncoding => Self::Unreadable,
            Wrong::Expired | Wrong::ExpiredContext { .. } => Self::Expired,
            Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => Self::NotYetValid,
            Wrong::Revoked => Self::Revoked,
            Wrong::UnknownRevocationStatus | Wrong::ExpiredRevocationList | Wrong::ExpiredRevocationListContext { .. } => {
                Self::RevocationUnknown
            }
            Wrong::UnknownIssuer => Self::UnknownIssuer,
            Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => Self::WrongUse,
            _ => Self::BadChain,
        }
    }
}

/// What came of a handshake over a socket.
impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).map_or(Self::Handshake, Self::from)
    }
}

/// For rustls, which picks the alert by the kind of error: where it has a kind of its own the client learns what is
/// wrong with its certificate, else that it is not accepted.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(match refusal {
            Refusal::Unreadable => CertificateError::BadEncoding,
            Refusal::Expired => CertificateError::Expired,
            Refusal::NotYetValid => CertificateError::NotValidYet,
            Refusal::Revoked => CertificateError::Revoked,
            Refusal::RevocationUnknown => CertificateError::UnknownRevocationStatus,
            Refusal::UnknownIssuer => CertificateError::UnknownIssuer,
            Refusal::WrongUse => CertificateError::InvalidPurpose,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })
    }
}
