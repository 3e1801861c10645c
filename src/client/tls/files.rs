//! Certificates and keys out of PEM files (RFC 7468).

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

use super::ConnectError;
use crate::model::is_private;

/// Longest PEM file that is read.
const FILE_BYTES: u64 = 1024 * 1024;

/// Where the parts of a [`ClientTls`](super::ClientTls) lie, each in PEM.
#[derive(Debug, Clone)]
pub struct ClientFiles {
    /// The CAs that may have issued the server's certificate.
    pub roots: PathBuf,
    /// The client's certificate, followed by intermediate ones.
    pub certificate: PathBuf,
    /// The client's private key, readable by its owner alone, or root's and readable by a group.
    pub key: PathBuf,
}

/// What the files hold.
pub(super) struct Material {
    pub(super) roots: Vec<CertificateDer<'static>>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl ClientFiles {
    pub(super) fn load(&self) -> Result<Material, ConnectError> {
        let key_refused = |why| ConnectError::File { path: self.key.clone(), why };
        let (content, metadata) = read(&self.key)?;
        if !is_private(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw()) {
            return Err(key_refused("other users may read this private key: chmod 600 it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&content).map_err(|_| key_refused("holds no private key in PEM"))?;
        Ok(Material { roots: load_certificates(&self.roots)?, chain: load_certificates(&self.certificate)?, key })
    }
}

/// Public keys (SubjectPublicKeyInfo) out of a PEM file: at least one.
pub(super) fn load_public_keys(path: &Path) -> Result<Vec<SubjectPublicKeyInfoDer<'static>>, ConnectError> {
    let (content, _) = read(path)?;
    match SubjectPublicKeyInfoDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(ConnectError::File { path: path.to_owned(), why: "holds no public key in PEM" }),
    }
}

fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let (content, _) = read(path)?;
    // The parser's own errors quote the file, so they end here.
    match CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(ConnectError::File { path: path.to_owned(), why: "holds no certificate in PEM" }),
    }
}

/// What a file holds, and whose it is.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, Metadata), ConnectError> {
    let failed = |source| ConnectError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut content = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES).read_to_end(&mut content).map_err(failed)?;
    Ok((content, metadata))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_others_may_read_is_refused_and_no_file_is_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let files = ClientFiles { roots: at("ca.pem"), certificate: at("client.pem"), key: at("client.key") };
        fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n").expect("written");
        fs::write(&files.roots, "-----BEGIN CERTIFICATE-----\n*CANARY*\n-----END CERTIFICATE-----\n").expect("written");
        fs::set_permissions(&files.key, Permissions::from_mode(0o640)).expect("set");
        let error = files.load().map(drop).expect_err("loose").to_string();
        assert!(error.contains("client.key") && error.contains("chmod 600"), "{error}");

        fs::set_permissions(&files.key, Permissions::from_mode(0o600)).expect("set");
        let error = files.load().map(drop).expect_err("not PEM");
        let told = format!("{error} {error:?}");
        assert!(told.contains("ca.pem") && !told.contains("CANARY"), "{told}");
    }
}
