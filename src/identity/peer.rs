//! What a connection proved.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{NamedGroup, ServerConnection};

use super::leaf::Leaf;
use super::{Refusal, SpiffeVerifier};
use crate::model::{Principal, Timestamp};

/// What a connection proved, once for all of its requests. A copy costs two reference counts: each request gets one in
/// its extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// The certificate's serial number in lowercase hex, at most 40 digits, unique only under its trust domain's CA.
    pub serial: Arc<str>,
    /// The certificate's end: nothing is served over the connection after it.
    pub not_after: Timestamp,
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The group of the key exchange, by its IANA name as rustls spells it, e.g. `X25519MLKEM768`.
    pub tls_group: &'static str,
    /// Whether that group withstands a quantum computer, so that a recording of the traffic stays worthless.
    pub post_quantum: bool,
}

impl Peer {
    /// Reads the proof out of a handshake that `verifier` has accepted.
    pub(super) fn of(tls: &ServerConnection, verifier: &SpiffeVerifier, address: SocketAddr) -> Result<Self, Refusal> {
        if tls.alpn_protocol() != Some(b"h2") {
            return Err(Refusal::NoHttp2);
        }
        let leaf = Leaf::parse(tls.peer_certificates().and_then(<[_]>::first).ok_or(Refusal::NoCertificate)?)?;
        let class = verifier.class_of(&leaf.id.trust_domain()).ok_or(Refusal::UnknownDomain)?;
        let group = tls.negotiated_key_exchange_group().ok_or(Refusal::Handshake)?.name();
        Ok(Self {
            principal: Arc::new(Principal { id: leaf.id, class }),
            serial: leaf.serial.into(),
            not_after: leaf.not_after,
            address,
            tls_group: group.as_str().unwrap_or("unknown"),
            post_quantum: is_post_quantum(group),
        })
    }
}

fn is_post_quantum(group: NamedGroup) -> bool {
    matches!(
        group,
        NamedGroup::X25519MLKEM768 | NamedGroup::secp256r1MLKEM768 | NamedGroup::MLKEM512 | NamedGroup::MLKEM768 | NamedGroup::MLKEM1024
    )
}
