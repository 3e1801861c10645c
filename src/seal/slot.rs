//! A slot: one independent way to the root key, as in LUKS. Each has an id, a kind with its parameters, and the root key wrapped
//! under the secret that the kind leads to. Who opens one slot has the root key; a burnt slot is removed from the header.

use subtle::ConstantTimeEq;

use super::{Argon2Parameters, Passphrase, SealError, Share, TokenCiphertext, TokenError, TokenKey, TokenLabel, TokenLabels};
use crate::crypto::codec::{Reader, put_length_prefixed};
use crate::crypto::{Context, CryptoError, Key, QuorumSize, Random, WrappedKey, split_key, token_context, unwrap_key, wrap_key};
use crate::model::{Invalid, SlotId, Timestamp, VaultId};

/// The kinds of slots. The type byte and the parameters are authenticated with the wrapped root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotKind {
    /// Type byte 1: a passphrase, through Argon2id of this cost.
    Passphrase(Argon2Parameters),
    /// Type byte 2: so many of so many shares of a random secret.
    Quorum(QuorumSize),
    /// Type byte 3: a key in an HSM, through PKCS#11.
    Token(TokenLabels),
}

impl SlotKind {
    /// The word for it, for `status`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::Quorum(_) => "quorum",
            Self::Token(_) => "pkcs11",
        }
    }
}

/// A slot that was opened: the root key, and the slot's own secret. The proof that a ceremony demands, to be held only as long as it
/// lasts: both are wiped when this is dropped. `Debug` shows the slot's id alone.
#[derive(Debug)]
pub struct OpenSlot {
    pub(super) id: SlotId,
    pub(super) secret: Key,
    pub(super) root: Key,
}

impl OpenSlot {
    /// Which slot it is.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.id
    }
}

/// One slot of a header.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) created: Timestamp,
    lock: Lock,
    wrapped_root: WrappedKey,
}

/// What stands between a slot and its secret.
#[derive(Debug, Clone)]
enum Lock {
    Passphrase { cost: Argon2Parameters, salt: [u8; 32] },
    Quorum(QuorumSize),
    Token { labels: TokenLabels, ciphertext: TokenCiphertext },
}

impl Slot {
    /// A new passphrase slot for this root key, and its secret.
    pub(super) fn for_passphrase(
        vault: VaultId,
        root: &Key,
        passphrase: &Passphrase,
        parameters: Argon2Parameters,
        random: &dyn Random,
        created: Timestamp,
    ) -> Result<(Self, Key), SealError> {
        let (mut id, mut salt) = ([0; 16], [0; 32]);
        random.fill(&mut id)?;
        random.fill(&mut salt)?;
        let secret = parameters.derive(passphrase, &salt)?;
        let lock = Lock::Passphrase { cost: parameters, salt };
        let slot = Self { id: SlotId::from_bytes(id), created, lock, wrapped_root: [0; _] }.rewrapped(vault, &secret, root, random)?;
        Ok((slot, secret))
    }

    /// A new quorum slot for this root key, its secret, and the shares of it, which exist nowhere else.
    pub(super) fn for_quorum(
        vault: VaultId,
        root: &Key,
        size: QuorumSize,
        random: &dyn Random,
        created: Timestamp,
    ) -> Result<(Self, Key, Vec<Share>), SealError> {
        let mut id = [0; 16];
        random.fill(&mut id)?;
        let (id, secret) = (SlotId::from_bytes(id), Key::generate(random)?);
        let shares = split_key(&secret, size, random)?.into_iter().map(|point| Share::new(vault, id, point)).collect();
        let slot = Self { id, created, lock: Lock::Quorum(size), wrapped_root: [0; _] }.rewrapped(vault, &secret, root, random)?;
        Ok((slot, secret, shares))
    }

    /// A new token slot for this root key. The HSM must give back at once what it was given, or there is no slot.
    pub(super) async fn for_token(
        vault: VaultId,
        root: &Key,
        token: &dyn TokenKey,
        random: &dyn Random,
        created: Timestamp,
    ) -> Result<Self, SealError> {
        let (mut id, mut iv) = ([0; 16], [0; 12]);
        random.fill(&mut id)?;
        random.fill(&mut iv)?;
        let (id, secret) = (SlotId::from_bytes(id), Key::generate(random)?);
        let context = token_context(vault, id);
        let ciphertext = token.encrypt(iv, &context, &secret).await?;
        let again = token.decrypt(&context, &ciphertext).await?;
        let hidden = !ciphertext.bytes.windows(secret.expose().len()).any(|bytes| bytes == secret.expose());
        if !hidden || !bool::from(again.expose().ct_eq(secret.expose())) {
            return Err(TokenError::WrongAnswer.into());
        }
        let lock = Lock::Token { labels: token.labels(), ciphertext };
        Self { id, created, lock, wrapped_root: [0; _] }.rewrapped(vault, &secret, root, random)
    }

    /// The same slot for another root key: whatever opened it opens it still.
    pub(super) fn rewrapped(mut self, vault: VaultId, secret: &Key, root: &Key, random: &dyn Random) -> Result<Self, SealError> {
        self.wrapped_root = wrap_key(secret, &self.context(vault, &self.lock.parameters()), root, random)?;
        Ok(self)
    }

    pub(super) const fn kind(&self) -> SlotKind {
        match self.lock {
            Lock::Passphrase { cost, .. } => SlotKind::Passphrase(cost),
            Lock::Quorum(size) => SlotKind::Quorum(size),
            Lock::Token { labels, .. } => SlotKind::Token(labels),
        }
    }

    /// What a passphrase leads to here, whether or not it is the right one; nothing if the slot is of another kind.
    pub(super) fn secret(&self, passphrase: &Passphrase) -> Result<Option<Key>, SealError> {
        match &self.lock {
            Lock::Passphrase { cost, salt } => cost.derive(passphrase, salt).map(Some),
            Lock::Quorum(_) | Lock::Token { .. } => Ok(None),
        }
    }

    /// What the HSM makes of this slot's ciphertext, right or wrong; nothing if the slot is of another kind or another key's.
    pub(super) async fn token_secret(&self, vault: VaultId, token: &dyn TokenKey) -> Result<Option<Key>, SealError> {
        match &self.lock {
            Lock::Token { labels, ciphertext } if *labels == token.labels() => {
                Ok(Some(token.decrypt(&token_context(vault, self.id), ciphertext).await?))
            }
            _ => Ok(None),
        }
    }

    /// The root key, if this is the slot's secret.
    pub(super) fn open(&self, vault: VaultId, secret: &Key) -> Result<Key, CryptoError> {
        unwrap_key(secret, &self.context(vault, &self.lock.parameters()), &self.wrapped_root)
    }

    /// `id 16 ‖ type u8 ‖ created u64 ‖ lp(parameters) ‖ wrapped root key 113`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.push(self.lock.type_byte());
        out.extend_from_slice(&self.created.unix_ms().to_be_bytes());
        put_length_prefixed(out, &self.lock.parameters()).expect("parameters of a slot are 160 bytes at most");
        out.extend_from_slice(&self.wrapped_root);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Invalid> {
        let (id, kind) = (SlotId::from_bytes(reader.array()?), reader.u8()?);
        let created = Timestamp::from_unix_ms(reader.u64()?)?;
        let lock = Lock::decode(kind, reader.length_prefixed()?)?;
        Ok(Self { id, created, lock, wrapped_root: reader.array()? })
    }

    const fn context<'a>(&self, vault: VaultId, parameters: &'a [u8]) -> Context<'a> {
        Context::Root { vault, slot: self.id, kind: self.lock.type_byte(), parameters }
    }
}

impl Lock {
    const fn type_byte(&self) -> u8 {
        match self {
            Self::Passphrase { .. } => 1,
            Self::Quorum(_) => 2,
            Self::Token { .. } => 3,
        }
    }

    /// A passphrase's: `memory in KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt 32`. A quorum's: `threshold u8 ‖ shares u8`. A token's:
    /// `lp(token label) ‖ lp(key label) ‖ iv 12 ‖ ciphertext 48`.
    fn parameters(&self) -> Vec<u8> {
        match self {
            Self::Passphrase { cost, salt } => [&cost.encode()[..], salt].concat(),
            Self::Quorum(size) => vec![size.threshold(), size.shares()],
            Self::Token { labels, ciphertext } => {
                let mut out = Vec::new();
                for label in [labels.token.as_str(), labels.key.as_str()] {
                    put_length_prefixed(&mut out, label.as_bytes()).expect("labels have 64 bytes at most");
                }
                out.extend_from_slice(&ciphertext.iv);
                out.extend_from_slice(&ciphertext.bytes);
                out
            }
        }
    }

    fn decode(kind: u8, parameters: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(parameters);
        let lock = match kind {
            1 => Self::Passphrase { cost: Argon2Parameters::read(reader.u32()?, reader.u32()?, reader.u32()?)?, salt: reader.array()? },
            2 => Self::Quorum(QuorumSize::new(reader.u8()?, reader.u8()?)?),
            3 => {
                let labels = TokenLabels { token: label(&mut reader)?, key: label(&mut reader)? };
                Self::Token { labels, ciphertext: TokenCiphertext { iv: reader.array()?, bytes: reader.array()? } }
            }
            _ => return Err(Invalid("unknown type of slot")),
        };
        reader.finish()?;
        Ok(lock)
    }
}

fn label<const MAX: usize>(reader: &mut Reader<'_>) -> Result<TokenLabel<MAX>, Invalid> {
    let text = std::str::from_utf8(reader.length_prefixed()?).map_err(|_| Invalid("a label that is not UTF-8"))?;
    TokenLabel::parse(text)
}
