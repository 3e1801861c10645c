//! Rows: their keys, and the codec of a secret's head. All rows lie in one ordered table; a key's first byte is its class.
//!
//! | class | key | value |
//! |---|---|---|
//! | `H` | alone | the vault's header, the one row in the clear (`seal::Header`) |
//! | `h` | `ns_id ‖ t1 … tn` | a secret's newest version (this file) |
//! | `v` | `ns_id ‖ secret_id ‖ version` | an older version: the bytes that its head had |
//! | `i` | `ns_id ‖ tag ‖ secret_id` | the key of the head of an access token |
//! | `k` | `ns_id` | a namespace's keyring, under the system key |
//! | `n` | `tag of its name` | a namespace, under the system key |
//! | `p` | alone, `r ‖ tag`, `b ‖ binding_id` | the policy's head, a role, a binding, under the system key |
//! | `s` | a name | one of the vault's own secrets, wrapped by the system key |
//! | `t` | `ns_id ‖ version` | the newest statement of a key version's retirement, under the system key |
//! | `u` | `slot_id` | when a slot last opened, under the system key |
//! | `q` | `proposal_id` | what somebody proposed and who agreed, under the system key |
//! | `w` | `ns_id` | a namespace's newest rewrap, under the system key |
//! | `e` | 16 bytes of a recipient's SHA-256 | a recovery recipient, under the system key |
//! | `a` | `time ‖ backup_id ‖ part` | a backup that was made, under the system key |
//! | `j` | `time ‖ ns_id ‖ secret_id` | a purge that is due then, under the system key |
//!
//! Integers are big-endian. `tag`s are 16 bytes of an HMAC (`crypto::IndexKey`).

use crate::model::{BindingId, NamespaceId, ProposalId, SecretId, SlotId, Timestamp};
use crate::storage::{Key, Value};

use super::Error;

/// The vault's header.
pub(super) fn header_key() -> Key {
    key(&[b"H"])
}

/// An older version of a secret.
pub(super) fn version_key(namespace: NamespaceId, secret: SecretId, version: u64) -> Key {
    key(&[b"v", namespace.as_bytes(), secret.as_bytes(), &version.to_be_bytes()])
}

/// All older versions of a secret.
pub(super) fn versions_prefix(namespace: NamespaceId, secret: SecretId) -> Key {
    key(&[b"v", namespace.as_bytes(), secret.as_bytes()])
}

/// The number of an older version.
pub(super) fn version_number(key: &Key) -> Result<u64, Error> {
    key.as_bytes().last_chunk().map(|bytes| u64::from_be_bytes(*bytes)).ok_or(Error::Integrity("an older version's key"))
}

/// All secrets' newest versions of a namespace.
pub(super) fn heads_prefix(namespace: NamespaceId) -> Key {
    key(&[b"h", namespace.as_bytes()])
}

/// All older versions of a namespace's secrets.
pub(super) fn all_versions_prefix(namespace: NamespaceId) -> Key {
    key(&[b"v", namespace.as_bytes()])
}

/// A namespace's newest rewrap.
pub(super) fn rewrap_key(namespace: NamespaceId) -> Key {
    key(&[b"w", namespace.as_bytes()])
}

/// All rewraps.
pub(super) fn rewraps_prefix() -> Key {
    key(&[b"w"])
}

/// The statement of a key version's retirement.
pub(super) fn statement_key(namespace: NamespaceId, version: u32) -> Key {
    key(&[b"t", namespace.as_bytes(), &version.to_be_bytes()])
}

/// A namespace's keyring.
pub(super) fn keyring_key(namespace: NamespaceId) -> Key {
    key(&[b"k", namespace.as_bytes()])
}

/// A namespace, by the tag of its name: the store itself keeps names unique.
pub(super) fn namespace_key(tag: &[u8; 16]) -> Key {
    key(&[b"n", tag])
}

/// All namespaces.
pub(super) fn namespaces_prefix() -> Key {
    key(&[b"n"])
}

/// The policy's head.
pub(super) fn policy_key() -> Key {
    key(&[b"p"])
}

/// A role, by the tag of its name.
pub(super) fn role_key(tag: &[u8; 16]) -> Key {
    key(&[b"pr", tag])
}

/// All roles.
pub(super) fn roles_prefix() -> Key {
    key(&[b"pr"])
}

/// A binding.
pub(super) fn binding_key(id: BindingId) -> Key {
    key(&[b"pb", id.as_bytes()])
}

/// All bindings.
pub(super) fn bindings_prefix() -> Key {
    key(&[b"pb"])
}

/// One of the vault's own secrets.
pub(super) fn own_secret_key(name: &str) -> Key {
    key(&[b"s", name.as_bytes()])
}

/// When a slot last opened.
pub(super) fn slot_proof_key(slot: SlotId) -> Key {
    key(&[b"u", slot.as_bytes()])
}

/// A proposal.
pub(super) fn proposal_key(id: ProposalId) -> Key {
    key(&[b"q", id.as_bytes()])
}

/// All proposals.
pub(super) fn proposals_prefix() -> Key {
    key(&[b"q"])
}

/// A purge that is due at that time.
pub(super) fn purge_key(due: Timestamp, namespace: NamespaceId, secret: SecretId) -> Key {
    key(&[b"j", &due.unix_ms().to_be_bytes(), namespace.as_bytes(), secret.as_bytes()])
}

/// All purges, the earliest first.
pub(super) fn purges_prefix() -> Key {
    key(&[b"j"])
}

/// When a purge is due.
pub(super) fn purge_due_ms(key: &Key) -> Result<u64, Error> {
    let time = key.as_bytes().get(1..9).and_then(|bytes| bytes.try_into().ok());
    time.map(u64::from_be_bytes).ok_or(Error::Integrity("a purge row's key"))
}

/// A recovery recipient.
pub(super) fn recipient_key(recipient: &str) -> Key {
    let digest = crate::crypto::sha256(recipient.as_bytes());
    key(&[b"e", digest.first_chunk::<16>().expect("32 bytes")])
}

/// All recovery recipients.
pub(super) fn recipients_prefix() -> Key {
    key(&[b"e"])
}

/// A part of what is noted of a backup.
pub(super) fn backup_key(created: Timestamp, id: &[u8; 16], part: u16) -> Key {
    key(&[b"a", &created.unix_ms().to_be_bytes(), id, &part.to_be_bytes()])
}

/// All backups, the earliest first.
pub(super) fn backups_prefix() -> Key {
    key(&[b"a"])
}

/// The namespace of a secret's row.
pub(super) fn namespace_of(key: &[u8]) -> Result<NamespaceId, Error> {
    let id = key.get(1..17).and_then(|id| id.try_into().ok());
    id.map(NamespaceId::from_bytes).ok_or(Error::Integrity("a secret's key"))
}

/// What becomes of a row when its vault is restored from a backup, by its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restored {
    /// It lies under a namespace's keys: it stays byte for byte.
    AsItIs,
    /// The header, of which there is a new one.
    Header,
    /// A keyring: its keys are wrapped anew, by the new system key.
    Keyring,
    /// One of the vault's own secrets: wrapped anew, under the new epoch.
    OwnSecret,
    /// The policy: bindings are suspended, and it gets a new generation.
    Policy,
    /// Encrypted anew, under the new system key.
    Reencrypted,
    /// Void: sessions, proposals, approvals and everything that counts once belong to the epoch that has ended.
    Void,
}

/// By a key's class. One that is not known here is encrypted anew, and refused where that cannot be.
pub(super) fn when_restored(key: &[u8]) -> Restored {
    match key.first() {
        Some(b'h' | b'v' | b'i') => Restored::AsItIs,
        Some(b'H') => Restored::Header,
        Some(b'k') => Restored::Keyring,
        Some(b's') => Restored::OwnSecret,
        Some(b'p') => Restored::Policy,
        // `o` is kept for what counts once; `q` are proposals, and who approved them.
        Some(b'o' | b'q') => Restored::Void,
        _ => Restored::Reencrypted,
    }
}

/// A key out of parts whose lengths this file fixes, all far below the bound.
pub(super) fn key(parts: &[&[u8]]) -> Key {
    Key::new(parts.concat()).expect("the keys of this file have 1 to 100 bytes, head keys at most 145")
}

/// A secret's newest version as it lies in its row. Format 1:
///
/// ```text
/// 01 ‖ secret_id (16) ‖ version (8) ‖ kek_version (4) ‖ wrapped DEK (113) ‖ length of meta (4) ‖ meta ‖ payload
/// ```
/// Every byte of it is authenticated: ids and numbers by the context of the wrapped DEK and of meta and payload; the
/// length by both ciphertexts, which no other cut makes whole; the format byte because only one is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) secret: SecretId,
    pub(super) version: u64,
    pub(super) kek_version: u32,
    pub(super) wrapped_dek: &'a [u8; WRAPPED_DEK_BYTES],
    pub(super) meta: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// A wrapped key: 32 bytes and the overhead of the one construction.
pub(super) const WRAPPED_DEK_BYTES: usize = 113;
const FORMAT: u8 = 1;
const FIXED_BYTES: usize = 1 + 16 + 8 + 4 + WRAPPED_DEK_BYTES + 4;

impl<'a> Head<'a> {
    pub(super) fn encode(&self) -> Value {
        let mut row = Vec::with_capacity(FIXED_BYTES + self.meta.len() + self.payload.len());
        row.push(FORMAT);
        row.extend_from_slice(self.secret.as_bytes());
        row.extend_from_slice(&self.version.to_be_bytes());
        row.extend_from_slice(&self.kek_version.to_be_bytes());
        row.extend_from_slice(self.wrapped_dek);
        let meta_length = u32::try_from(self.meta.len()).expect("metadata is bounded to some 16 KiB before it is sealed");
        row.extend_from_slice(&meta_length.to_be_bytes());
        row.extend_from_slice(self.meta);
        row.extend_from_slice(self.payload);
        row.into()
    }

    pub(super) fn decode(row: &'a [u8]) -> Result<Self, Error> {
        Self::split(row).ok_or(Error::Integrity("a secret's row"))
    }

    fn split(row: &'a [u8]) -> Option<Self> {
        let (format, rest) = row.split_first()?;
        let (secret, rest) = rest.split_first_chunk::<16>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (kek_version, rest) = rest.split_first_chunk::<4>()?;
        let (wrapped_dek, rest) = rest.split_first_chunk::<WRAPPED_DEK_BYTES>()?;
        let (meta_length, rest) = rest.split_first_chunk::<4>()?;
        let (meta, payload) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*meta_length)).ok()?)?;
        (*format == FORMAT).then_some(Self {
            secret: SecretId::from_bytes(*secret),
            version: u64::from_be_bytes(*version),
            kek_version: u32::from_be_bytes(*kek_version),
            wrapped_dek,
            meta,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head<'a>(wrapped_dek: &'a [u8; WRAPPED_DEK_BYTES], meta: &'a [u8], payload: &'a [u8]) -> Head<'a> {
        Head { secret: SecretId::from_bytes([7; 16]), version: 3, kek_version: 2, wrapped_dek, meta, payload }
    }

    #[test]
    fn a_row_reads_back_as_written() {
        let row = head(&[9; WRAPPED_DEK_BYTES], b"meta", b"payload").encode();
        let read = Head::decode(&row).expect("just written");
        assert_eq!((read.version, read.kek_version, read.meta, read.payload), (3, 2, &b"meta"[..], &b"payload"[..]));
        assert_eq!(row.len(), FIXED_BYTES + 4 + 7);
    }

    /// Frozen: a byte that moved would make every secret of every vault unreadable.
    #[test]
    fn format_1_is_this() {
        let row = head(&[9; WRAPPED_DEK_BYTES], b"meta", b"payload").encode();
        let expected = [
            "01",
            &"07".repeat(16),
            "0000000000000003",
            "00000002",
            &"09".repeat(WRAPPED_DEK_BYTES),
            "00000004",
            "6d657461",
            "7061796c6f6164",
        ];
        assert_eq!(hex::encode(&row[..]), expected.concat());
        let mut other = row.to_vec();
        other[0] = 2;
        assert!(Head::decode(&other).is_err(), "a format of another day");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(row in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(head) = Head::decode(&row) {
                prop_assert_eq!(&*head.encode(), &row[..]);
            }
        }
    }
}
