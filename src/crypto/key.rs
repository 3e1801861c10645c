//! A key: 32 uniform bytes in the locked arena. All keys of the vault have this one size; what a key is for, its
//! [`Context`](super::Context) says wherever it is used.

use std::fmt;

use zeroize::Zeroize;

use super::{Random, RandomFailed};
use crate::memory::LockedBytes32;

/// 32 secret bytes, wiped when dropped. No `Clone`, no `==`; `Debug` shows nothing.
pub struct Key(LockedBytes32);

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomFailed> {
        let mut bytes = LockedBytes32::zeroed();
        random.fill(bytes.expose_mut())?;
        Ok(Self(bytes))
    }

    /// Moves the bytes into the arena: the source is wiped.
    #[must_use]
    pub fn from_bytes(source: &mut [u8; 32]) -> Self {
        let mut bytes = LockedBytes32::zeroed();
        bytes.expose_mut().copy_from_slice(source);
        source.zeroize();
        Self(bytes)
    }

    /// Lets `fill` write the bytes in place, so that they never lie anywhere else.
    pub(crate) fn try_fill<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut bytes = LockedBytes32::zeroed();
        fill(bytes.expose_mut())?;
        Ok(Self(bytes))
    }

    /// The bytes. Named so that each place that opens a key can be found by a search.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{BrokenRandom, CountingRandom};

    #[test]
    fn the_source_is_wiped_and_nothing_shows() {
        let mut source = [0xA5; 32];
        let key = Key::from_bytes(&mut source);
        assert_eq!(source, [0; 32]);
        assert_eq!(key.expose(), &[0xA5; 32]);
        assert_eq!(format!("{key:?}"), "Key(..)");
    }

    // immune: row-35
    #[test]
    fn no_randomness_no_key() {
        assert!(Key::generate(&BrokenRandom::after(0)).is_err());
        let random = CountingRandom::new("keys");
        let (one, two) = (Key::generate(&random).expect("it counts"), Key::generate(&random).expect("it counts"));
        assert_ne!(one.expose(), two.expose());
    }
}
