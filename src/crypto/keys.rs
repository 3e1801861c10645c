//! Every label and every authenticate context of the vault. A key is used in no other way than one of these.
//!
//! A context says what a ciphertext is and where it belongs; one that was moved elsewhere does not open. Labels end with a zero
//! byte and hold none, so no label is the beginning of another. Integers are big-endian, ids 16 bytes, `lp(x)` is the `u16` length
//! of `x` and then `x`. Contexts are built by hand: the bytes of a protobuf message are not canonical.

use ring::{hkdf, hmac};

use super::codec::put_length_prefixed;
use super::{CryptoError, Key};
use crate::model::{NamespaceId, SecretId, SlotId, VaultId};

/// Begins the info string of every ciphertext; 1 is the format.
const FORMAT: &[u8] = b"strongroom/1 ";

/// `HKDF-Expand(root key, this)` is the key of the header's HMAC. It is no ciphertext's label.
const HEADER_MAC_INFO: &[u8] = b"strongroom/1 header\0";

/// Begins what an HSM authenticates with the secret of a slot, which it encrypts under a key of its own. It is no label of ours.
const TOKEN_INFO: &[u8] = b"strongroom/1 hsm\0";

/// Begins what is hashed for a path's segment.
pub(super) const NAME_LABEL: &[u8] = b"name\0";

/// Begins what is hashed for a look-up by provider and subject.
pub(super) const LOOKUP_LABEL: &[u8] = b"lookup\0";

/// What a ciphertext is and where it belongs. The key that encrypts it stands in brackets.
#[derive(Debug, Clone, Copy)]
pub enum Context<'a> {
    /// The root key in a slot (the slot's secret): `vault_id ‖ slot_id ‖ kind ‖ lp(parameters)`.
    Root {
        /// The vault.
        vault: VaultId,
        /// The slot.
        slot: SlotId,
        /// The slot's type byte.
        kind: u8,
        /// The slot's encoded parameters.
        parameters: &'a [u8],
    },
    /// The system key in the header (the root key): `vault_id ‖ epoch u64`.
    System {
        /// The vault.
        vault: VaultId,
        /// The system key's number.
        epoch: u64,
    },
    /// One of the vault's own secrets (the system key): `vault_id ‖ lp(name) ‖ epoch u64`.
    Secret {
        /// The vault.
        vault: VaultId,
        /// The secret's name, e.g. `audit-signing`.
        name: &'a str,
        /// The secret's number, counted up when it is replaced.
        epoch: u64,
    },
    /// A KEK in its keyring (the system key): `vault_id ‖ ns_id ‖ version u32`.
    Kek {
        /// The vault.
        vault: VaultId,
        /// The namespace.
        namespace: NamespaceId,
        /// The KEK's version.
        version: u32,
    },
    /// An index key in its keyring (the system key): `vault_id ‖ ns_id ‖ epoch u64`.
    Index {
        /// The vault.
        vault: VaultId,
        /// The namespace.
        namespace: NamespaceId,
        /// The index key's number.
        epoch: u64,
    },
    /// A DEK in its row (the KEK): `vault_id ‖ ns_id ‖ secret_id ‖ version u64 ‖ kek_version u32`.
    Dek {
        /// The vault.
        vault: VaultId,
        /// The namespace.
        namespace: NamespaceId,
        /// The secret.
        secret: SecretId,
        /// The secret's version.
        version: u64,
        /// The KEK's version.
        kek_version: u32,
    },
    /// A version's metadata (the DEK): `vault_id ‖ ns_id ‖ secret_id`.
    Meta {
        /// The vault.
        vault: VaultId,
        /// The namespace.
        namespace: NamespaceId,
        /// The secret.
        secret: SecretId,
    },
    /// A version's payload (the DEK): `vault_id ‖ ns_id ‖ secret_id ‖ version u64`.
    Payload {
        /// The vault.
        vault: VaultId,
        /// The namespace.
        namespace: NamespaceId,
        /// The secret.
        secret: SecretId,
        /// The secret's version.
        version: u64,
    },
    /// The value of a row that is no secret's: keyring, policy, namespace, system, job, once (the system key):
    /// `vault_id ‖ lp(row key)`.
    Row {
        /// The vault.
        vault: VaultId,
        /// The row's whole key.
        key: &'a [u8],
    },
    /// A page token (the page-token key): `vault_id ‖ lp(principal) ‖ lp(filter)`.
    Page {
        /// The vault.
        vault: VaultId,
        /// Whom the token was given to.
        principal: &'a str,
        /// The list that it continues.
        filter: &'a [u8],
    },
}

/// What a keyed hash of a name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagLabel {
    /// The name of a namespace.
    Namespace,
    /// The name of a role.
    Role,
    /// A value's fingerprint, by which people compare values that they may not see.
    Fingerprint,
}

impl TagLabel {
    pub(super) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Namespace => b"namespace\0",
            Self::Role => b"role\0",
            Self::Fingerprint => b"fingerprint\0",
        }
    }
}

impl Context<'_> {
    const fn label(&self) -> &'static [u8] {
        match self {
            Self::Root { .. } => b"root\0",
            Self::System { .. } => b"system\0",
            Self::Secret { .. } => b"secret\0",
            Self::Kek { .. } => b"kek\0",
            Self::Index { .. } => b"index\0",
            Self::Dek { .. } => b"dek\0",
            Self::Meta { .. } => b"meta\0",
            Self::Payload { .. } => b"payload\0",
            Self::Row { .. } => b"row\0",
            Self::Page { .. } => b"page\0",
        }
    }

    /// `"strongroom/1 " ‖ label ‖ 00 ‖ context`: HKDF's info and the AEAD's associated data.
    ///
    /// # Errors
    /// [`CryptoError::ContextTooLong`]: a part of more than 65,535 bytes.
    pub(super) fn info(&self) -> Result<Vec<u8>, CryptoError> {
        let info = Info::begin(self.label());
        let info = match *self {
            Self::Root { vault, slot, kind, parameters } => {
                info.put(vault.as_bytes()).put(slot.as_bytes()).put(&[kind]).put_prefixed(parameters)?
            }
            Self::System { vault, epoch } => info.put(vault.as_bytes()).put(&epoch.to_be_bytes()),
            Self::Secret { vault, name, epoch } => info.put(vault.as_bytes()).put_prefixed(name.as_bytes())?.put(&epoch.to_be_bytes()),
            Self::Kek { vault, namespace, version } => info.put(vault.as_bytes()).put(namespace.as_bytes()).put(&version.to_be_bytes()),
            Self::Index { vault, namespace, epoch } => info.put(vault.as_bytes()).put(namespace.as_bytes()).put(&epoch.to_be_bytes()),
            Self::Dek { vault, namespace, secret, version, kek_version } => {
                info.secret(vault, namespace, secret).put(&version.to_be_bytes()).put(&kek_version.to_be_bytes())
            }
            Self::Meta { vault, namespace, secret } => info.secret(vault, namespace, secret),
            Self::Payload { vault, namespace, secret, version } => info.secret(vault, namespace, secret).put(&version.to_be_bytes()),
            Self::Row { vault, key } => info.put(vault.as_bytes()).put_prefixed(key)?,
            Self::Page { vault, principal, filter } => {
                info.put(vault.as_bytes()).put_prefixed(principal.as_bytes())?.put_prefixed(filter)?
            }
        };
        Ok(info.0)
    }
}

/// An info string being written.
struct Info(Vec<u8>);

impl Info {
    fn begin(label: &[u8]) -> Self {
        Self(Vec::with_capacity(128)).put(FORMAT).put(label)
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn secret(self, vault: VaultId, namespace: NamespaceId, secret: SecretId) -> Self {
        self.put(vault.as_bytes()).put(namespace.as_bytes()).put(secret.as_bytes())
    }

    fn put_prefixed(mut self, bytes: &[u8]) -> Result<Self, CryptoError> {
        put_length_prefixed(&mut self.0, bytes).map_err(|_| CryptoError::ContextTooLong)?;
        Ok(self)
    }
}

/// The key of the header's HMAC-SHA-256, out of the root key (RFC 5869, section 2.3).
pub(crate) fn header_mac_key(root: &Key) -> hmac::Key {
    let root = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, root.expose());
    root.expand(&[HEADER_MAC_INFO], hmac::HMAC_SHA256).expect("32 bytes are fewer than 255 hashes").into()
}

/// What an HSM authenticates with the secret of this slot: `"strongroom/1 hsm" ‖ 00 ‖ vault_id ‖ slot_id`.
pub(crate) fn token_context(vault: VaultId, slot: SlotId) -> Vec<u8> {
    [TOKEN_INFO, vault.as_bytes(), slot.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: VaultId = VaultId::from_bytes([1; 16]);

    #[test]
    fn the_info_string_is_what_the_documentation_says() {
        let info = Context::Secret { vault: VAULT, name: "ab", epoch: 3 }.info().expect("short");
        let expected = [&b"strongroom/1 secret\0"[..], &[1; 16], &[0, 2], b"ab", &[0, 0, 0, 0, 0, 0, 0, 3]].concat();
        assert_eq!(info, expected);
    }

    #[test]
    fn parts_cannot_run_into_each_other() {
        let page = |principal, filter| Context::Page { vault: VAULT, principal, filter }.info().expect("short");
        assert_ne!(page("a", b"bc"), page("ab", b"c"));
    }

    #[test]
    fn a_part_too_long_for_its_length_is_refused() {
        let key = vec![0; 65_536];
        assert_eq!(Context::Row { vault: VAULT, key: &key }.info(), Err(CryptoError::ContextTooLong));
        assert!(Context::Row { vault: VAULT, key: &key[1..] }.info().is_ok());
    }
}
