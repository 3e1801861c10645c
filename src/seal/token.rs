//! What a token slot asks of a key that lies in an HSM. Which library talks to the HSM is nobody's business here: [`TokenKey`] is
//! all that is known of it.
//!
//! ```text
//! making a slot:  32 random bytes ─ the HSM encrypts them ─> they stand in the slot's parameters; the HSM must give them back at once
//! opening it:     what stands there ─ the HSM decrypts it ─> slot secret ─ our own committing construction ─> root key
//! ```
//!
//! An HSM that answers with other bytes leads nowhere: the commitment of the wrapped root key finds it out.

use std::fmt;

use async_trait::async_trait;

use crate::crypto::Key;
use crate::model::Invalid;

/// Bytes of an encrypted slot secret: 32, and the tag of AES-GCM.
pub const TOKEN_CIPHERTEXT_BYTES: usize = 48;

/// A label in an HSM, of 1 to `MAX` bytes. Printable, so that it may stand in a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenLabel<const MAX: usize> {
    bytes: [u8; MAX],
    length: u8,
}

impl<const MAX: usize> TokenLabel<MAX> {
    /// The label, checked.
    ///
    /// # Errors
    /// Empty, longer than `MAX` bytes, a character that is not printable ASCII, or a blank at either end, which an HSM would lose.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const { assert!(MAX <= u8::MAX as usize, "the length is a byte") };
        if text.is_empty() || text.len() > MAX {
            return Err(Invalid("a label in an HSM has 1 to 32 bytes if it is a token's, 1 to 64 if it is a key's"));
        }
        if text.trim() != text || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Invalid("a label in an HSM is printable ASCII without a blank at either end"));
        }
        let mut bytes = [0; MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: u8::try_from(text.len()).expect("at most MAX, which a byte holds") })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("it was made of ASCII")
    }
}

impl<const MAX: usize> fmt::Display for TokenLabel<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const MAX: usize> fmt::Debug for TokenLabel<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Where a key lies: by labels, since the numbers of slots change from start to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLabels {
    /// The token's.
    pub token: TokenLabel<32>,
    /// The key's in it.
    pub key: TokenLabel<64>,
}

/// A slot secret as the HSM has encrypted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCiphertext {
    /// The initialization vector that was used; some HSMs insist on one of their own.
    pub iv: [u8; 12],
    /// The secret's ciphertext, then the tag.
    pub bytes: [u8; TOKEN_CIPHERTEXT_BYTES],
}

/// An AES-256 key in an HSM that never leaves it. What it answers is believed in nothing. A call takes as long as the HSM does, up to
/// a deadline; who drops the future has ended it.
#[async_trait]
pub trait TokenKey: Send + Sync {
    /// Where the key lies.
    fn labels(&self) -> TokenLabels;

    /// Makes the key in the HSM if it is not there, one that cannot leave it, and looks at it if it is. For whoever is about to make
    /// a slot.
    ///
    /// # Errors
    /// Each [`TokenError`].
    async fn make_key(&self) -> Result<(), TokenError>;

    /// AES-256-GCM with a tag of 128 bits. `context` is authenticated, and never empty.
    ///
    /// # Errors
    /// Each [`TokenError`].
    async fn encrypt(&self, iv: [u8; 12], context: &[u8], secret: &Key) -> Result<TokenCiphertext, TokenError>;

    /// The reverse.
    ///
    /// # Errors
    /// Each [`TokenError`].
    async fn decrypt(&self, context: &[u8], ciphertext: &TokenCiphertext) -> Result<Key, TokenError>;
}

/// Why an HSM did not do it. No variant holds a word that the HSM has said: those may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its library is not there, is none, or is open to anybody's pen.
    #[error("the PKCS#11 module cannot be loaded: `module` must name a shared object that nobody at large may write")]
    Module,
    /// The PIN is not to be had.
    #[error("the PIN file cannot be used: it must be there, for its owner alone (chmod 600), with 1 to 255 bytes in one line")]
    PinFile,
    /// The token is away.
    #[error("no token has the configured label: is the HSM there, and was its token initialised?")]
    NoToken,
    /// A label that is not one token's.
    #[error("several tokens have the configured label: give each its own")]
    SeveralTokens,
    /// The PIN is wrong.
    #[error("the HSM refuses the PIN: a token locks itself after a few wrong ones, so put the right one into the PIN file first")]
    WrongPin,
    /// The token has locked itself.
    #[error("the HSM has locked the PIN: its security officer unlocks it")]
    PinLocked,
    /// The key is not there.
    #[error("the token has no AES key with the configured label")]
    NoKey,
    /// A label that is not one key's.
    #[error("several keys have the configured label: give each its own")]
    SeveralKeys,
    /// A key that could leave the HSM.
    #[error("the key is none that stays in the HSM: it must be AES of 256 bits, sensitive, and not extractable")]
    LooseKey,
    /// It answered with an error, by its name in PKCS#11.
    #[error("the HSM answers {0}")]
    Failed(&'static str),
    /// It answered with what cannot be right.
    #[error(
        "the HSM answers with other bytes than it was given: it errs or lies, it is not the one that made the slot, or somebody changed the slot"
    )]
    WrongAnswer,
    /// It did not answer.
    #[error("the HSM did not answer in time: see timeout_s")]
    TimedOut,
    /// Its library ended the process in which it ran.
    #[error("the PKCS#11 module crashed")]
    Crashed,
    /// There is no process for it.
    #[error("no process can be started for the PKCS#11 module: raise the bound on tasks, `TasksMax=` of strongroom.service")]
    NoProcess,
}

impl TokenError {
    /// The word for it, for the audit log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::PinFile => "pin_file",
            Self::NoToken => "no_token",
            Self::SeveralTokens => "several_tokens",
            Self::WrongPin => "wrong_pin",
            Self::PinLocked => "pin_locked",
            Self::NoKey => "no_key",
            Self::SeveralKeys => "several_keys",
            Self::LooseKey => "loose_key",
            Self::Failed(_) => "hsm_failed",
            Self::WrongAnswer => "wrong_answer",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::NoProcess => "no_process",
        }
    }

    /// Whether it may do harm to ask again: tokens lock themselves after some wrong PINs.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::WrongPin | Self::PinLocked)
    }
}

#[cfg(test)]
mod tests;
