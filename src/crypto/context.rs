//! Every label and every authenticate context. Two ciphertexts of different kinds, places or owners never have the same
//! one, so none can stand for another.
//!
//! Made by hand, byte by byte: protobuf is not canonical. Integers are big-endian, ids have 16 bytes, `lp` is a u16 length
//! before the bytes; what has a variable length comes last or behind its length.

use crate::model::{NamespaceId, SecretId, SlotId, VaultId};

/// What a ciphertext is and where it belongs.
#[derive(Debug, Clone, Copy)]
pub enum Context<'a> {
    /// The root key, in a slot: `root`.
    Root {
        /// The vault.
        vault: VaultId,
        /// The slot.
        slot: SlotId,
        /// The slot's kind.
        kind: u8,
        /// The slot's parameters, as encoded.
        parameters: &'a [u8],
    },
    /// The system key, in the header: `system`.
    System {
        /// The vault.
        vault: VaultId,
        /// The header's epoch.
        epoch: u64,
    },
    /// One of the vault's own secrets: `secret`.
    Secret {
        /// The vault.
        vault: VaultId,
        /// The secret's name.
        name: &'a str,
        /// The header's epoch.
        epoch: u64,
    },
    /// A key-encryption key: `kek`.
    Kek {
        /// The vault.
        vault: VaultId,
        /// The namespace.
        namespace: NamespaceId,
        /// The key's version.
        version: u32,
    },
    /// A namespace's index key: `index`.
    Index {
        /// The vault.
        vault: VaultId,
        /// The namespace.
        namespace: NamespaceId,
        /// The index's epoch.
        epoch: u64,
    },
    /// A data key: `dek`.
    Dek(SecretContext),
    /// A version's metadata: `meta`. Not bound to the version, whose data key is its own.
    Meta(SecretContext),
    /// A version's payload: `payload`.
    Payload(SecretContext),
    /// A row of the vault's own, under the system key: `row`.
    Row {
        /// The vault.
        vault: VaultId,
        /// The row's key.
        key: &'a [u8],
    },
    /// A page token: `page`.
    Page {
        /// The vault.
        vault: VaultId,
        /// Who asked.
        principal: &'a [u8],
        /// What was asked for.
        filter: &'a [u8],
    },
}

/// The ids of one version of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretContext {
    /// The vault.
    pub vault: VaultId,
    /// The namespace.
    pub namespace: NamespaceId,
    /// The secret.
    pub secret: SecretId,
    /// The version.
    pub version: u64,
    /// The version of the key-encryption key.
    pub kek_version: u32,
}

impl Context<'_> {
    /// `"strongroom/1 " ‖ label ‖ 00 ‖ context`: HKDF's info before the salt, and the AAD.
    pub(super) fn info(&self) -> Vec<u8> {
        let mut info = Vec::with_capacity(128);
        info.extend_from_slice(b"strongroom/1 ");
        info.extend_from_slice(self.label().as_bytes());
        info.push(0);
        self.write(&mut info);
        info
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::Root { .. } => "root",
            Self::System { .. } => "system",
            Self::Secret { .. } => "secret",
            Self::Kek { .. } => "kek",
            Self::Index { .. } => "index",
            Self::Dek(_) => "dek",
            Self::Meta(_) => "meta",
            Self::Payload(_) => "payload",
            Self::Row { .. } => "row",
            Self::Page { .. } => "page",
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Root { vault, slot, kind, parameters } => {
                put(out, &[vault.as_bytes(), slot.as_bytes(), &[*kind]]);
                put_prefixed(out, parameters);
            }
            Self::System { vault, epoch } => put(out, &[vault.as_bytes(), &epoch.to_be_bytes()]),
            Self::Secret { vault, name, epoch } => {
                put(out, &[vault.as_bytes()]);
                put_prefixed(out, name.as_bytes());
                put(out, &[&epoch.to_be_bytes()]);
            }
            Self::Kek { vault, namespace, version } => put(out, &[vault.as_bytes(), namespace.as_bytes(), &version.to_be_bytes()]),
            Self::Index { vault, namespace, epoch } => put(out, &[vault.as_bytes(), namespace.as_bytes(), &epoch.to_be_bytes()]),
            Self::Dek(of) => {
                put(out, &[of.vault.as_bytes(), of.namespace.as_bytes(), of.secret.as_bytes()]);
                put(out, &[&of.version.to_be_bytes(), &of.kek_version.to_be_bytes()]);
            }
            Self::Meta(of) => put(out, &[of.vault.as_bytes(), of.namespace.as_bytes(), of.secret.as_bytes()]),
            Self::Payload(of) => put(out, &[of.vault.as_bytes(), of.namespace.as_bytes(), of.secret.as_bytes(), &of.version.to_be_bytes()]),
            Self::Row { vault, key } => {
                put(out, &[vault.as_bytes()]);
                put_prefixed(out, key);
            }
            Self::Page { vault, principal, filter } => {
                put(out, &[vault.as_bytes()]);
                put_prefixed(out, principal);
                put_prefixed(out, filter);
            }
        }
    }
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// `lp`: a u16 length before the bytes.
pub(super) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("row keys, names, parameters, principals and filters stay far under 64 KiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
