//! Doors for the fuzz targets in `tests/fuzz`, which see no private parts. Built for them alone.

use std::sync::LazyLock;

use prost::Message;

use super::page::PageTokens;
use super::record::{self, Namespace, PurgeJob, SecretMeta};
use super::row::{self, Head, WRAPPED_DEK_BYTES};
use crate::access;
use crate::crypto::{Key, Keyring, SystemRandom};
use crate::model::{Clock, NamespaceId, SecretBytes, SecretId, SystemClock, VaultId};
use crate::seal::{Argon2Parameters, Header, Passphrase};
use crate::storage;

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const NAMESPACE: NamespaceId = NamespaceId::from_bytes([2; 16]);

static SYSTEM: LazyLock<Key> = LazyLock::new(|| Key::generate(&SystemRandom::new()).expect("randomness"));
static TOKENS: LazyLock<PageTokens> = LazyLock::new(|| PageTokens::new(Key::generate(&SystemRandom::new()).expect("randomness"), VAULT));

static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let head = Head {
        secret: SecretId::from_bytes([3; 16]),
        version: 3,
        kek_version: 2,
        wrapped_dek: &[9; WRAPPED_DEK_BYTES],
        meta: b"meta",
        payload: b"payload",
    };
    head.encode().to_vec()
});

static HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let passphrase = Passphrase::parse(&SecretBytes::new(b"correct horse battery staple".to_vec())).expect("long enough");
    let made = Header::create(VAULT, &passphrase, Argon2Parameters::for_throwaway(), &SystemRandom::new(), SystemClock.now());
    made.expect("randomness and 19 MiB").0.encode()
});

static KEYRING: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (random, now) = (SystemRandom::new(), SystemClock.now());
    let first = Keyring::create(VAULT, NAMESPACE, &SYSTEM, &random, now).expect("randomness");
    first.rotate(&SYSTEM, &random, now).expect("the second of many").encode()
});

/// Reads bytes as each kind of row, and a good row of each kind with those changes (three bytes each: where, and to what).
/// What is read must be written as it was.
///
/// # Panics
/// It is written otherwise.
pub fn rows(bytes: &[u8]) {
    for row in [bytes, &changed(&HEAD, bytes)] {
        if let Ok(head) = Head::decode(row) {
            assert_eq!(*head.encode(), *row);
        }
    }
    for row in [bytes, &changed(&HEADER, bytes)] {
        if let Ok(header) = Header::decode(row) {
            assert_eq!(header.encode(), row);
        }
    }
    for row in [bytes, &changed(&KEYRING, bytes)] {
        if let Ok(keyring) = Keyring::decode(VAULT, NAMESPACE, &SYSTEM, row) {
            assert_eq!(keyring.encode(), row);
        }
    }
    if let Ok(key) = storage::Key::new(bytes) {
        let _ = (row::version_number(&key), row::purge_due_ms(&key));
    }
    records(bytes);
}

/// The same for what lies in the rows once they are open. Who wrote a record's fields into it reads them out again.
fn records(bytes: &[u8]) {
    if let Ok(row) = record::Role::decode(bytes)
        && let Ok(role) = access::Role::try_from(&row)
    {
        assert_eq!(record::Role::of(&role, &row.method, Some(&row.request_id)), row);
    }
    if let Ok(row) = record::Binding::decode(bytes)
        && let Ok(binding) = access::Binding::try_from(&row)
    {
        assert_eq!(record::Binding::of(&binding, Some(&row.request_id)), row);
    }
    if let Ok(row) = Namespace::decode(bytes) {
        let _ = (row.namespace_id(), row.recovery_window());
    }
    if let Ok(row) = SecretMeta::decode(bytes) {
        let _ = (row.secret_kind(), row.expires(), row.is_expired(SystemClock.now()));
    }
    let _ = PurgeJob::decode(bytes);
}

/// A good row with changes; what is left over of them stands behind its end.
fn changed(good: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut row = good.to_vec();
    let whole = changes.chunks_exact(3);
    let behind = whole.remainder();
    for change in whole {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % row.len();
        row[at] = change[2];
    }
    row.extend_from_slice(behind);
    row
}

/// Shows a token that nobody was given, one that somebody else was given, and a good one with changes (two bytes each: where,
/// and which bits).
///
/// # Panics
/// One of them is accepted, or the good one is not.
pub fn page_token(principal: &str, filter: &str, position: &[u8], token: &str, changes: &[u8]) {
    assert!(token.is_empty() || TOKENS.read(principal, filter, token).is_err(), "from nowhere");
    let Ok(good) = TOKENS.make(principal, filter, position, &SystemRandom::new()) else { return };
    assert_eq!(TOKENS.read(principal, filter, &good).ok().flatten().as_deref(), Some(position));
    assert!(TOKENS.read(&format!("{principal}x"), filter, &good).is_err(), "another principal's");
    assert!(TOKENS.read(principal, &format!("{filter}x"), &good).is_err(), "another list's");
    if let Some(last) = principal.chars().next_back() {
        let shorter = &principal[..principal.len() - last.len_utf8()];
        assert!(TOKENS.read(shorter, &format!("{last}{filter}"), &good).is_err(), "cut elsewhere");
    }
    let mut sealed = hex::decode(&good).expect("made above");
    for change in changes.chunks_exact(2) {
        let at = usize::from(change[0]) % sealed.len();
        sealed[at] ^= change[1];
    }
    let changed = hex::encode(sealed);
    assert!(changed == good || TOKENS.read(principal, filter, &changed).is_err(), "changed");
}
