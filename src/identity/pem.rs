//! Certificates, keys and revocation lists out of PEM files (RFC 7468).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::IdentityError;
use crate::model::is_private;

/// Longest file that is read: a revocation list of 100,000 entries takes about half of it.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// All certificates of a PEM file, in the order in which they stand: for a chain the leaf first.
///
/// # Errors
/// Unreadable, longer than 16 MiB, not PEM, or without a certificate.
pub fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    load(path, "holds no certificate (BEGIN CERTIFICATE)")
}

/// All revocation lists of a PEM file.
///
/// # Errors
/// Unreadable, longer than 16 MiB, not PEM, or without a list.
pub fn load_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, IdentityError> {
    load(path, "holds no revocation list (BEGIN X509 CRL): make one with your CA (`strongroom pki crl`, `openssl ca -gencrl`)")
}

/// The one private key of a PEM file (PKCS#8, SEC 1 or PKCS#1).
///
/// # Errors
/// Unreadable, readable by whom it should not be, not PEM, or not exactly one key.
pub fn load_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let refused = |why| IdentityError::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    // Of the open file, not of the path, which may name another one by now.
    let metadata = file.metadata().map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    if !is_private(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw()) {
        return Err(refused("other users may read this private key: chmod 600 it"));
    }
    let content = read(file, path)?;
    let mut keys = PrivateKeyDer::pem_slice_iter(&content);
    match (keys.next(), keys.next()) {
        (Some(Ok(key)), None) => Ok(key),
        (None, _) => Err(refused("holds no private key (BEGIN PRIVATE KEY)")),
        (Some(Ok(_)), Some(Ok(_))) => Err(refused("holds more than one private key")),
        _ => Err(refused(NOT_PEM)),
    }
}

const NOT_PEM: &str = "is not well-formed PEM";

fn load<T: PemObject>(path: &Path, absent: &'static str) -> Result<Vec<T>, IdentityError> {
    let refused = |why| IdentityError::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    let content = read(file, path)?;
    // The parser's own errors quote the file, so they end here.
    let found = T::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>().map_err(|_| refused(NOT_PEM))?;
    if found.is_empty() { Err(refused(absent)) } else { Ok(found) }
}

fn read(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let mut content = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES + 1).read_to_end(&mut content).map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
    if content.len() as u64 > FILE_BYTES {
        return Err(IdentityError::File { path: path.to_owned(), why: "is longer than 16 MiB" });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n";

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file.pem");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        (folder, path)
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644] {
            let (_folder, path) = file(KEY, mode);
            let error = load_private_key(&path).expect_err("loose").to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
        for mode in [0o600, 0o400] {
            let (_folder, path) = file(KEY, mode);
            assert!(load_private_key(&path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn one_key_and_no_more() {
        assert!(load_private_key(&file("", 0o600).1).is_err());
        let (_folder, path) = file(&KEY.repeat(2), 0o600);
        assert!(load_private_key(&path).expect_err("two").to_string().contains("more than one"));
    }

    #[test]
    fn errors_name_the_file_and_never_quote_it() {
        for content in
            ["-----BEGIN CANARY", "-----BEGIN PRIVATE KEY-----\nCANARY", "-----BEGIN X509 CRL-----\n*CANARY*\n-----END X509 CRL-----"]
        {
            let (_folder, path) = file(content, 0o600);
            let errors = [
                load_certificates(&path).map(drop).expect_err("nothing there"),
                load_crls(&path).map(drop).expect_err("nothing there"),
                load_private_key(&path).map(drop).expect_err("nothing there"),
            ];
            for error in errors {
                let told = format!("{error} {error:?}");
                assert!(told.contains("file.pem") && !told.contains("CANARY"), "{told}");
            }
        }
    }
}
