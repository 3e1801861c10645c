//! Where the vault is, who the caller is, and how long to wait.

use std::path::PathBuf;
use std::time::Duration;

use super::ClientError;
use crate::model::SpiffeId;

/// How long a call may take when nobody says otherwise, all its attempts together.
pub(super) const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// How often a call is sent again when nobody says otherwise.
pub(super) const DEFAULT_RETRIES: u32 = 3;

/// The three PEM files of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The CA that issued the server's certificate.
    pub ca: PathBuf,
    /// The caller's own certificate, and the intermediates below the CA if there are any.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
}

/// What [`Client::connect`](super::Client::connect) needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    pub(super) address: String,
    pub(super) server_id: SpiffeId,
    pub(super) server_public_keys: Option<PathBuf>,
    pub(super) credentials: Credentials,
    pub(super) deadline: Duration,
    pub(super) retries: u32,
}

impl ClientOptions {
    /// With a deadline of 10 s and 3 retries. `address` is `host:port`; `server_id` is the SPIFFE ID that the server's
    /// certificate must carry, so that no other holder of a certificate from the same CA can pass for the vault.
    #[must_use]
    pub fn new(address: impl Into<String>, server_id: SpiffeId, credentials: Credentials) -> Self {
        let (server_public_keys, deadline, retries) = (None, DEFAULT_DEADLINE, DEFAULT_RETRIES);
        Self { address: address.into(), server_id, server_public_keys, credentials, deadline, retries }
    }

    /// The server must hold one of the keys in this file, too: one or more public keys in PEM (RFC 7468, section 13), e.g. of
    /// `openssl x509 -in server.pem -noout -pubkey`. Then not even the server's CA can put another one in its place.
    #[must_use]
    pub fn server_public_keys(self, file: Option<PathBuf>) -> Self {
        Self { server_public_keys: file, ..self }
    }

    /// How long a call may take, all its attempts together; connecting, too.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// How often a call that may be repeated is sent again while the server is unavailable; 0 for never.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        if self.deadline.is_zero() {
            return Err(ClientError::Invalid { field: "deadline", why: "must be longer than nothing" });
        }
        check_address(&self.address)
    }
}

/// `host:port`, where an IPv6 host stands in brackets.
pub(super) fn check_address(address: &str) -> Result<(), ClientError> {
    const WHY: ClientError = ClientError::Invalid { field: "address", why: "is written host:port, e.g. vault.internal:7443" };
    let (host, port) = address.rsplit_once(':').ok_or(WHY)?;
    let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let bracketed = bare.len() != host.len();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte) || (bracketed && byte == b':');
    let host_fits = !bare.is_empty() && bare.bytes().all(plain);
    let port_fits = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    if host_fits && port_fits { Ok(()) } else { Err(WHY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for address in ["localhost:8443", "10.0.0.1:1", "[::1]:65535", "vault.internal:7443"] {
            assert!(check_address(address).is_ok(), "{address}");
        }
        for address in
            ["", "localhost", ":8443", "localhost:", "localhost:0", "localhost:65536", "https://a:1", "::1:8443", "a:+1", "a b:1", "[]:1"]
        {
            assert!(check_address(address).is_err(), "{address:?}");
        }
    }

    #[test]
    fn a_deadline_of_zero_is_refused() {
        let credentials = Credentials { ca: "a".into(), certificate: "b".into(), key: "c".into() };
        let options = ClientOptions::new("a:1", "spiffe://a/b".parse().expect("valid"), credentials);
        assert!(options.check().is_ok());
        assert!(options.deadline(Duration::ZERO).check().is_err());
    }
}
