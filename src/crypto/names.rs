//! Names as keyed hashes: prefix scans work, and a dump of the store shows no name.

use crate::model::NamespaceId;

use super::context::put_prefixed;
use super::{Key, hmac_sha256};

/// The key under which names are hashed: one for each namespace, and one for the names of namespaces and roles.
pub struct IndexKey(Key);

impl IndexKey {
    /// Bytes of a tag: HMAC-SHA-256, cut to its first 16.
    pub const TAG_BYTES: usize = 16;

    /// Over a key.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self(key)
    }

    /// `h ‖ ns_id ‖ t1 … tn`, with `t0 = ns_id` and `ti = HMAC(IK, "name" ‖ 00 ‖ t(i-1) ‖ segment)[..16]`. Over fewer
    /// segments it is the prefix of everything below them.
    #[must_use]
    pub fn head_key<S: AsRef<str>>(&self, namespace: NamespaceId, segments: &[S]) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + Self::TAG_BYTES * (1 + segments.len()));
        key.push(b'h');
        key.extend_from_slice(namespace.as_bytes());
        let mut parent = *namespace.as_bytes();
        for segment in segments {
            parent = self.tag_of(&[b"name\0", &parent, segment.as_ref().as_bytes()]);
            key.extend_from_slice(&parent);
        }
        key
    }

    /// `i ‖ ns_id ‖ HMAC(IK, "lookup" ‖ 00 ‖ lp(provider) ‖ lp(subject))[..16]`. Provider and subject have at most 64 KiB.
    #[must_use]
    pub fn lookup_prefix(&self, namespace: NamespaceId, provider: &str, subject: &str) -> Vec<u8> {
        let mut named = Vec::new();
        put_prefixed(&mut named, provider.as_bytes());
        put_prefixed(&mut named, subject.as_bytes());
        [&b"i"[..], namespace.as_bytes(), &self.tag_of(&[b"lookup\0", &named])[..]].concat()
    }

    /// `HMAC(key, label ‖ 00 ‖ name)[..16]`: names of namespaces and roles.
    #[must_use]
    pub fn tag(&self, label: &str, name: &str) -> [u8; Self::TAG_BYTES] {
        self.tag_of(&[label.as_bytes(), &[0], name.as_bytes()])
    }

    pub(super) const fn key(&self) -> &Key {
        &self.0
    }

    fn tag_of(&self, parts: &[&[u8]]) -> [u8; Self::TAG_BYTES] {
        let full = hmac_sha256(self.0.expose(), parts);
        *full.first_chunk().expect("HMAC-SHA-256 gives 32 bytes")
    }
}
