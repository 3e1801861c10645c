//! The envelope of one version of a secret: a data key of its own, wrapped by the namespace's key-encryption key, around
//! metadata and payload.

use crate::model::SecretBytes;

use super::{Context, CryptoError, Key, OVERHEAD_BYTES, Random, SecretContext, decrypt, encrypt};

/// Bytes of a wrapped data key.
pub const WRAPPED_DEK_BYTES: usize = Key::BYTES + OVERHEAD_BYTES;

/// One sealed version.
#[derive(Debug)]
pub struct Sealed {
    /// The data key, wrapped.
    pub wrapped_dek: [u8; WRAPPED_DEK_BYTES],
    /// The metadata, encrypted: 81 bytes longer.
    pub meta: Vec<u8>,
    /// The payload, encrypted: 81 bytes longer.
    pub payload: Vec<u8>,
}

/// Seals a version under a new data key.
///
/// # Errors
/// The generator failed.
pub fn seal(kek: &Key, of: &SecretContext, meta: &[u8], payload: &[u8], random: &dyn Random) -> Result<Sealed, CryptoError> {
    let dek = Key::generate(random)?;
    let wrapped = encrypt(kek, &Context::Dek(*of), dek.expose(), random)?;
    Ok(Sealed {
        wrapped_dek: wrapped.try_into().map_err(|_| CryptoError::Malformed)?,
        meta: encrypt(&dek, &Context::Meta(*of), meta, random)?,
        payload: encrypt(&dek, &Context::Payload(*of), payload, random)?,
    })
}

/// Seals other metadata under the same data key.
///
/// # Errors
/// The wrapped key is refused, or the generator failed.
pub fn reseal_meta(kek: &Key, of: &SecretContext, wrapped_dek: &[u8], meta: &[u8], random: &dyn Random) -> Result<Vec<u8>, CryptoError> {
    encrypt(&unwrap(kek, of, wrapped_dek)?, &Context::Meta(*of), meta, random)
}

/// Opens the metadata alone.
///
/// # Errors
/// [`CryptoError::Refused`].
pub fn open_meta(kek: &Key, of: &SecretContext, wrapped_dek: &[u8], meta: &[u8]) -> Result<SecretBytes, CryptoError> {
    decrypt(&unwrap(kek, of, wrapped_dek)?, &Context::Meta(*of), meta)
}

/// Opens metadata and payload, unwrapping the data key once.
///
/// # Errors
/// [`CryptoError::Refused`].
pub fn open_both(
    kek: &Key,
    of: &SecretContext,
    wrapped_dek: &[u8],
    meta: &[u8],
    payload: &[u8],
) -> Result<(SecretBytes, SecretBytes), CryptoError> {
    let dek = unwrap(kek, of, wrapped_dek)?;
    Ok((decrypt(&dek, &Context::Meta(*of), meta)?, decrypt(&dek, &Context::Payload(*of), payload)?))
}

fn unwrap(kek: &Key, of: &SecretContext, wrapped_dek: &[u8]) -> Result<Key, CryptoError> {
    Key::from_secret(decrypt(kek, &Context::Dek(*of), wrapped_dek)?)
}
