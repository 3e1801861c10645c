//! Encrypting to a person: the age format (age-encryption.org/v1, C2SP), X25519 recipients, by the crate `age`.
//!
//! For what leaves the vault on paper or in files and that only one person may read, who has an identity file of their own; the vault
//! knows the public half alone. The crate draws its randomness from the operating system by itself, and stops the program where there
//! is none: the one place that [`Random`](super::Random) does not reach.

use std::fmt;
use std::str::FromStr;

use super::CryptoError;
use crate::model::{Invalid, SecretBytes};

/// Longest text of a recipient that is looked at.
const TEXT_BYTES: usize = 128;

/// Whom something is encrypted to: an X25519 public key as text, `age1…`, 62 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient(String);

impl Recipient {
    /// Encrypts to this recipient alone. The result is an armored age file, which says of the plaintext how long it is, and no more.
    ///
    /// # Errors
    /// [`CryptoError::Refused`], which the crate has no reason for.
    pub fn encrypt(&self, plaintext: &SecretBytes) -> Result<Vec<u8>, CryptoError> {
        let armored = age::encrypt_and_armor(&self.key(), plaintext.expose()).map_err(|_| CryptoError::Refused)?;
        Ok(armored.into_bytes())
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key, for who encrypts a stream to several.
    pub(crate) fn key(&self) -> age::x25519::Recipient {
        self.0.parse().expect("it was parsed when it was made")
    }
}

impl FromStr for Recipient {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WHY: Invalid =
            Invalid("an age recipient is `age1…`, 62 characters, as age-keygen prints it: the public key, not the identity");
        if text.len() > TEXT_BYTES {
            return Err(WHY);
        }
        let key: age::x25519::Recipient = text.parse().map_err(|_| WHY)?;
        // One spelling each: Bech32 may be written in capitals, too.
        if key.to_string() == text { Ok(Self(text.to_owned())) } else { Err(WHY) }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_identity_opens_what_was_encrypted() {
        let (identity, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let recipient: Recipient = identity.to_public().to_string().parse().expect("an age recipient");
        let file = recipient.encrypt(&SecretBytes::new(b"STAGE_canary".to_vec())).expect("encrypted");
        assert!(file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
        assert_eq!(age::decrypt(&identity, &file).expect("its own"), b"STAGE_canary");
        assert!(age::decrypt(&other, &file).is_err());
        assert_eq!(recipient.to_string(), identity.to_public().to_string());
    }

    #[test]
    fn an_identity_or_anything_else_is_no_recipient() {
        use age::secrecy::ExposeSecret;
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        for text in [
            identity.to_string().expose_secret(),
            "",
            "age1",
            &recipient[..61],
            &recipient.to_uppercase(),
            &format!("{recipient}q"),
            &"a".repeat(1_000),
        ] {
            assert!(text.parse::<Recipient>().is_err());
        }
    }
}
