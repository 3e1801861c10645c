//! Leaves: new ones, and new ones in the place of old ones.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::branch::Branch;
use super::kind::Kind;
use super::register::Registered;
use super::{Office, OfficeError};
use crate::model::{SpiffeId, Timestamp};
use crate::pki::files::{read_private, replace_private, write_new_private};
use crate::pki::{CertificateRequest, PkiError};

/// A leaf begins so long before it is made: the vault's clock may be behind.
const BACKDATED: Duration = Duration::from_secs(60);

/// A leaf to be issued.
pub struct Order {
    /// What it is for.
    pub kind: Kind,
    /// Whose it is.
    pub id: SpiffeId,
    /// Host names of a server, for clients of other makes that look at them.
    pub dns_names: Vec<String>,
    /// Addresses of a server, for the same.
    pub addresses: Vec<IpAddr>,
    /// How long it lives, from start to end; if nobody says, as [`Kind::lifetime`].
    pub lifetime: Option<Duration>,
    /// Where the certificate goes.
    pub certificate: PathBuf,
    /// Whose key it is for.
    pub key: NewKey,
}

/// Where the key of a new leaf comes from.
pub enum NewKey {
    /// Made here, and written into this file.
    Made(PathBuf),
    /// Made by whoever sent the request, who keeps it.
    Requested(CertificateRequest),
}

/// What became of a renewal.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The new leaf.
    pub leaf: Registered,
    /// The one before, which stays good until its end unless it is revoked.
    pub before: Registered,
}

/// A leaf that is in the books and not yet out.
struct Made {
    leaf: Registered,
    certificate: String,
    /// None for a requested one.
    key: Option<Zeroizing<String>>,
}

impl Order {
    /// Whether the files that it names are free.
    ///
    /// # Errors
    /// Which one is not.
    pub fn is_free(&self) -> Result<(), OfficeError> {
        let key = if let NewKey::Made(key) = &self.key { Some(key) } else { None };
        let taken = std::iter::once(&self.certificate).chain(key).find(|path| path.symlink_metadata().is_ok());
        let why = "it is there already, and `issue` replaces nothing: `strongroom pki renew` does, or choose --name or --out";
        taken.map_or(Ok(()), |path| Err(OfficeError::InTheWay { path: path.clone(), why }))
    }
}

impl Office {
    /// Issues a leaf: into the books, then into its files, the key first.
    ///
    /// # Errors
    /// An ID of another domain, a life out of bounds, a name that is none, a file that is there already, or what the
    /// operating system says.
    pub fn issue(&self, order: &Order, now: Timestamp) -> Result<Registered, OfficeError> {
        order.is_free()?;
        let request = if let NewKey::Requested(request) = &order.key { Some(request) } else { None };
        let made = self.make(order, request, now)?;
        if let (NewKey::Made(path), Some(key)) = (&order.key, &made.key) {
            write_new_private(path, key)?;
        }
        write_new_private(&order.certificate, &made.certificate)?;
        Ok(made.leaf)
    }

    /// Puts a new leaf with a new key, for the same ID and kind, in the place of one that this office issued. Both files
    /// are written beside their places first and then moved, the key before the certificate: for the moment between the two
    /// they do not fit, and after a crash in it renewing once more mends them.
    ///
    /// # Errors
    /// A leaf that is not of this office or was revoked, no key in the place where one should be, and as [`Office::issue`].
    pub fn renew(&self, certificate: &Path, key: &Path, lifetime: Option<Duration>, now: Timestamp) -> Result<Renewed, OfficeError> {
        let (_, before) = self.registered(certificate)?;
        if let Some(revoked) = before.revoked {
            return Err(OfficeError::Revoked { serial: before.serial, since: revoked.time });
        }
        if key == certificate {
            return Err(OfficeError::Invalid("certificate and key need files of their own: name the key's with --key".to_owned()));
        }
        is_key(key)?;
        let Registered { kind, id, dns_names, addresses, .. } = before.clone();
        let life = lifetime.unwrap_or_else(|| before.not_after.since(before.not_before).min(kind.longest()));
        let (lifetime, certificate) = (Some(life), certificate.to_owned());
        let order = Order { kind, id, dns_names, addresses, lifetime, certificate, key: NewKey::Made(key.to_owned()) };
        let made = self.make(&order, None, now)?;
        let new_key = made.key.as_ref().map_or("", |key| key.as_str());
        replace_private(&[(key, new_key), (&order.certificate, &made.certificate)])?;
        Ok(Renewed { leaf: made.leaf, before })
    }

    /// The branch and the line of the books of the certificate in a file.
    pub(super) fn registered(&self, file: &Path) -> Result<(Branch, Registered), OfficeError> {
        let text = fs::read(file).map_err(|source| PkiError::File { path: file.to_owned(), source })?;
        let no_certificate = || OfficeError::Invalid(format!("{} is no certificate in PEM", file.display()));
        let der = CertificateDer::from_pem_slice(&text).map_err(|_| no_certificate())?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| no_certificate())?;
        let serial = hex::encode(certificate.raw_serial());
        for branch in self.branches() {
            // By its signature first: another authority may have given the same number.
            if branch.authority()?.has_signed(&certificate)
                && let Some(leaf) = branch.register()?.find(&serial)
            {
                return Ok((branch, leaf.clone()));
            }
        }
        Err(OfficeError::Unknown(format!("{}: the certificate is none that this PKI has issued", file.display())))
    }

    fn make(&self, order: &Order, request: Option<&CertificateRequest>, now: Timestamp) -> Result<Made, OfficeError> {
        let kind = order.kind;
        let life = kind.checked(order.lifetime.unwrap_or(kind.lifetime()))?;
        let branch = self.branch(kind.class());
        let authority = branch.authority()?;
        let domain = authority.trust_domain();
        if order.id.trust_domain() != *domain {
            let (id, kind) = (&order.id, kind.word());
            return Err(OfficeError::Invalid(format!("{id}: certificates of kind {kind} are for IDs of spiffe://{domain}/ alone")));
        }
        let mut profile = authority.profile(&order.id, kind.usage(), start(now), life)?;
        profile.dns_names.clone_from(&order.dns_names);
        profile.addresses.clone_from(&order.addresses);
        let (signed, key) = match request {
            Some(request) => (authority.issue_to(request, &profile)?, None),
            None => {
                let issued = authority.issue(&profile)?;
                let key = issued.key_pem();
                (issued.into_leaf(), Some(key))
            }
        };
        let leaf = Registered {
            serial: signed.serial(),
            id: order.id.clone(),
            kind,
            dns_names: order.dns_names.clone(),
            addresses: order.addresses.clone(),
            not_before: profile.not_before,
            not_after: profile.not_after,
            revoked: None,
        };
        branch.add(leaf.clone(), now)?;
        Ok(Made { leaf, certificate: signed.pem().to_owned(), key })
    }
}

/// In whole seconds, as certificates count.
fn start(now: Timestamp) -> Timestamp {
    let backdated = u64::try_from(BACKDATED.as_millis()).unwrap_or(0);
    Timestamp::from_unix_ms((now.unix_ms() / 1_000 * 1_000).saturating_sub(backdated)).unwrap_or_default()
}

/// What is about to be replaced is a private key and nothing else.
fn is_key(path: &Path) -> Result<(), OfficeError> {
    let refused = |why: &str| Err(OfficeError::Invalid(format!("{}: {why}", path.display())));
    if !path.exists() {
        return refused("there is no key to replace: name it with --key; who keeps the key elsewhere sends a new request to `issue --csr`");
    }
    if PrivateKeyDer::from_pem_slice(read_private(path)?.as_bytes()).is_err() {
        return refused("is no private key in PEM, and is left alone");
    }
    Ok(())
}
