//! From the configuration's files to the server's TLS.

use std::sync::Arc;

use crate::config::{Config, Revocation as Configured, Trust};
use crate::identity::{IdentityError, Revocation, ServerTls, TrustAnchor, load_certificates, load_crls, load_private_key};
use crate::model::{Clock, Timestamp};

/// Reads the files of certificates, keys and lists, and checks that they can serve.
///
/// # Errors
/// What keeps the server from starting with them.
pub fn load_tls(config: &Config, clock: Arc<dyn Clock>) -> Result<ServerTls, IdentityError> {
    let chain = load_certificates(&config.tls.certificate)?;
    let key = load_private_key(&config.tls.key)?;
    let anchors = config.tls.trust.iter().map(|trust| anchor(trust, clock.now())).collect::<Result<Vec<_>, _>>()?;
    ServerTls::new(chain, key, anchors, clock)
}

fn anchor(trust: &Trust, now: Timestamp) -> Result<TrustAnchor, IdentityError> {
    let mut roots = Vec::new();
    for file in &trust.roots {
        roots.extend(load_certificates(file)?);
    }
    let revocation = match &trust.revocation {
        Configured::Lists(files) => {
            let mut lists = Vec::new();
            for file in files {
                lists.extend(load_crls(file)?);
            }
            Revocation::Crls(lists)
        }
        Configured::ShortLived { max_leaf_lifetime } => Revocation::ShortLived { max_lifetime: *max_leaf_lifetime },
        Configured::None => Revocation::NoneByConfiguration,
    };
    TrustAnchor::new(trust.domain.clone(), trust.class, roots, revocation, now)
}
