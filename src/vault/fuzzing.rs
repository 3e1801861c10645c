//! Doors for the fuzz targets in `tests/fuzz`, which see no private parts. Built for them alone.

use super::page::PageTokens;
use super::row::Head;
use crate::crypto::{Key, SystemRandom};
use crate::model::VaultId;
use crate::seal::Header;

/// Reads bytes as each kind of row; what is read must be written as it was.
///
/// # Panics
/// It is written otherwise.
pub fn rows(bytes: &[u8]) {
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(*head.encode(), *bytes);
    }
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
}

/// Shows a token that nobody was given.
///
/// # Panics
/// It is accepted.
pub fn page_token(token: &str) {
    let random = SystemRandom::new();
    let tokens = PageTokens::new(Key::generate(&random).expect("randomness"), VaultId::from_bytes([1; 16]));
    assert!(token.is_empty() || tokens.read("spiffe://a.test/b", "filter", token).is_err());
}
