//! A key: 32 uniform bytes in locked memory.

use zeroize::Zeroize;

use crate::memory::LockedBytes32;
use crate::model::SecretBytes;

use super::{CryptoError, Random};

/// 32 uniform bytes in locked memory, wiped when dropped. No `Clone`, no `==`; `Debug` shows nothing.
#[derive(Debug)]
pub struct Key(LockedBytes32);

impl Key {
    /// Bytes of a key.
    pub const BYTES: usize = 32;

    /// A new key.
    ///
    /// # Errors
    /// The generator failed.
    pub fn generate(random: &dyn Random) -> Result<Self, CryptoError> {
        let mut bytes = LockedBytes32::zeroed();
        random.fill(bytes.expose_mut())?;
        Ok(Self(bytes))
    }

    /// A key out of 32 bytes that were unwrapped or derived; the source is wiped.
    #[must_use]
    pub fn from_bytes(source: &mut [u8; Self::BYTES]) -> Self {
        let mut bytes = LockedBytes32::zeroed();
        bytes.expose_mut().copy_from_slice(source);
        source.zeroize();
        Self(bytes)
    }

    /// A key out of what was unwrapped.
    ///
    /// # Errors
    /// Not 32 bytes.
    pub fn from_secret(secret: SecretBytes) -> Result<Self, CryptoError> {
        let source: &[u8; Self::BYTES] = secret.expose().try_into().map_err(|_| CryptoError::Malformed)?;
        let mut bytes = LockedBytes32::zeroed();
        bytes.expose_mut().copy_from_slice(source);
        Ok(Self(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::BYTES] {
        self.0.expose()
    }
}
