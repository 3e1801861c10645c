//! Secret bytes: wiped on drop, never shown, never copied by accident.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret value of any length. Wiped when dropped; `Debug` shows its length alone; there is no `Clone`,
/// no `Serialize` and no `==`: compare with [`SecretBytes::same_as`], which takes constant time.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over; the vector's memory is wiped when this value is dropped.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value itself. Named so that each place that opens a secret can be found by a search.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes away, to a place that wipes them itself or lets the wiping allocator do it.
    #[must_use]
    pub fn into_exposed(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Comparison in constant time for equal lengths.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_alone() {
        let secret = SecretBytes::new(b"STAGE_canary".to_vec());
        assert_eq!(format!("{secret:?}"), "SecretBytes(12 bytes)");
    }

    #[test]
    fn comparison_looks_at_every_byte_and_at_the_length() {
        let a = SecretBytes::new(b"abc".to_vec());
        assert!(a.same_as(&SecretBytes::new(b"abc".to_vec())));
        assert!(!a.same_as(&SecretBytes::new(b"abd".to_vec())));
        assert!(!a.same_as(&SecretBytes::new(b"abcd".to_vec())));
    }
}
