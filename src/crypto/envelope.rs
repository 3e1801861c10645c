//! The envelope of one version of a secret: a DEK of its own, wrapped by the namespace's KEK, over metadata and payload.
//!
//! ```text
//! KEK ─ wrapped DEK (113 bytes) ─ DEK ┬─ metadata   (opened to describe)
//!                                     └─ payload    (opened to reveal or use)
//! ```
//!
//! Metadata may be sealed again under the same DEK, for a change of state. Changing the KEK touches the wrapped DEK alone.

use super::aead::{WrappedKey, decrypt, encrypt, unwrap_key, wrap_key};
use super::{Context, CryptoError, Key, Random};
use crate::model::{NamespaceId, SecretBytes, SecretId, VaultId};

/// Which version of which secret an envelope holds, and which KEK it is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeIds {
    /// The vault.
    pub vault: VaultId,
    /// The namespace.
    pub namespace: NamespaceId,
    /// The secret.
    pub secret: SecretId,
    /// The secret's version.
    pub version: u64,
    /// The version of the KEK that wraps the DEK.
    pub kek_version: u32,
}

/// A sealed version, as it lies in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The DEK under the KEK.
    pub wrapped_dek: WrappedKey,
    /// The metadata under the DEK, 81 bytes longer.
    pub meta: Vec<u8>,
    /// The payload under the DEK, 81 bytes longer.
    pub payload: Vec<u8>,
}

/// Seals a version under a new DEK. `kek` must be the KEK that `ids.kek_version` names.
///
/// # Errors
/// [`CryptoError::Random`]; nothing has been encrypted then.
pub fn seal(kek: &Key, ids: EnvelopeIds, meta: &[u8], payload: &[u8], random: &dyn Random) -> Result<Sealed, CryptoError> {
    let dek = Key::generate(random)?;
    Ok(Sealed {
        wrapped_dek: wrap_key(kek, &ids.dek(), &dek, random)?,
        meta: encrypt(&dek, &ids.meta(), meta, random)?,
        payload: encrypt(&dek, &ids.payload(), payload, random)?,
    })
}

/// Opens the metadata alone: the payload is not looked at.
///
/// # Errors
/// [`CryptoError::Refused`].
pub fn open_meta(kek: &Key, ids: EnvelopeIds, wrapped_dek: &[u8], meta: &[u8]) -> Result<SecretBytes, CryptoError> {
    decrypt(&unwrap_key(kek, &ids.dek(), wrapped_dek)?, &ids.meta(), meta)
}

/// Opens the payload alone.
///
/// # Errors
/// [`CryptoError::Refused`].
pub fn open_payload(kek: &Key, ids: EnvelopeIds, wrapped_dek: &[u8], payload: &[u8]) -> Result<SecretBytes, CryptoError> {
    decrypt(&unwrap_key(kek, &ids.dek(), wrapped_dek)?, &ids.payload(), payload)
}

/// Opens metadata and payload, in this order, with the DEK unwrapped once.
///
/// # Errors
/// [`CryptoError::Refused`] if either is not what was sealed.
pub fn open_both(
    kek: &Key,
    ids: EnvelopeIds,
    wrapped_dek: &[u8],
    meta: &[u8],
    payload: &[u8],
) -> Result<(SecretBytes, SecretBytes), CryptoError> {
    let dek = unwrap_key(kek, &ids.dek(), wrapped_dek)?;
    Ok((decrypt(&dek, &ids.meta(), meta)?, decrypt(&dek, &ids.payload(), payload)?))
}

/// Seals changed metadata under the DEK that the version has.
///
/// # Errors
/// [`CryptoError::Refused`] for the wrapped DEK; [`CryptoError::Random`].
pub fn reseal_meta(kek: &Key, ids: EnvelopeIds, wrapped_dek: &[u8], meta: &[u8], random: &dyn Random) -> Result<Vec<u8>, CryptoError> {
    encrypt(&unwrap_key(kek, &ids.dek(), wrapped_dek)?, &ids.meta(), meta, random)
}

/// Wraps the DEK of `ids` under another KEK; metadata and payload stay as they are.
///
/// # Errors
/// [`CryptoError::Refused`] for the wrapped DEK; [`CryptoError::Random`].
pub fn rewrap(
    old: &Key,
    ids: EnvelopeIds,
    wrapped_dek: &[u8],
    new: &Key,
    new_version: u32,
    random: &dyn Random,
) -> Result<WrappedKey, CryptoError> {
    let dek = unwrap_key(old, &ids.dek(), wrapped_dek)?;
    wrap_key(new, &EnvelopeIds { kek_version: new_version, ..ids }.dek(), &dek, random)
}

impl EnvelopeIds {
    const fn dek(self) -> Context<'static> {
        let Self { vault, namespace, secret, version, kek_version } = self;
        Context::Dek { vault, namespace, secret, version, kek_version }
    }

    const fn meta(self) -> Context<'static> {
        let Self { vault, namespace, secret, .. } = self;
        Context::Meta { vault, namespace, secret }
    }

    const fn payload(self) -> Context<'static> {
        let Self { vault, namespace, secret, version, .. } = self;
        Context::Payload { vault, namespace, secret, version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{BrokenRandom, CountingRandom, each_flipped_bit};

    const IDS: EnvelopeIds = EnvelopeIds {
        vault: VaultId::from_bytes([1; 16]),
        namespace: NamespaceId::from_bytes([2; 16]),
        secret: SecretId::from_bytes([3; 16]),
        version: 4,
        kek_version: 5,
    };
    const META: &[u8] = b"merchants/12345";
    const PAYLOAD: &[u8] = b"STAGE_canary";

    fn sealed() -> (Key, Sealed, CountingRandom) {
        let random = CountingRandom::new("envelope");
        let kek = Key::generate(&random).expect("it counts");
        let sealed = seal(&kek, IDS, META, PAYLOAD, &random).expect("it counts");
        (kek, sealed, random)
    }

    #[test]
    fn what_is_sealed_opens_whole_and_in_parts() {
        let (kek, sealed, _) = sealed();
        let (meta, payload) = open_both(&kek, IDS, &sealed.wrapped_dek, &sealed.meta, &sealed.payload).expect("sealed above");
        assert_eq!((meta.expose(), payload.expose()), (META, PAYLOAD));
        assert_eq!(open_meta(&kek, IDS, &sealed.wrapped_dek, &sealed.meta).expect("sealed above").expose(), META);
        assert_eq!(open_payload(&kek, IDS, &sealed.wrapped_dek, &sealed.payload).expect("sealed above").expose(), PAYLOAD);
        assert_eq!((sealed.meta.len(), sealed.payload.len()), (META.len() + 81, PAYLOAD.len() + 81));
    }

    // immune: row-38
    #[test]
    fn every_flipped_bit_is_refused() {
        let (kek, Sealed { wrapped_dek, meta, payload }, _) = sealed();
        for dek in each_flipped_bit(&wrapped_dek) {
            assert!(open_meta(&kek, IDS, &dek, &meta).is_err() && open_payload(&kek, IDS, &dek, &payload).is_err());
        }
        for meta in each_flipped_bit(&meta) {
            assert!(open_meta(&kek, IDS, &wrapped_dek, &meta).is_err() && open_both(&kek, IDS, &wrapped_dek, &meta, &payload).is_err());
        }
        for payload in each_flipped_bit(&payload) {
            assert!(open_payload(&kek, IDS, &wrapped_dek, &payload).is_err());
            assert!(open_both(&kek, IDS, &wrapped_dek, &meta, &payload).is_err());
        }
    }

    #[test]
    fn a_row_moved_elsewhere_does_not_open() {
        let (kek, Sealed { wrapped_dek, meta, payload }, _) = sealed();
        for ids in [
            EnvelopeIds { vault: VaultId::from_bytes([9; 16]), ..IDS },
            EnvelopeIds { namespace: NamespaceId::from_bytes([9; 16]), ..IDS },
            EnvelopeIds { secret: SecretId::from_bytes([9; 16]), ..IDS },
            EnvelopeIds { version: 9, ..IDS },
            EnvelopeIds { kek_version: 9, ..IDS },
        ] {
            assert!(open_meta(&kek, ids, &wrapped_dek, &meta).is_err(), "{ids:?}");
            assert!(open_payload(&kek, ids, &wrapped_dek, &payload).is_err(), "{ids:?}");
        }
    }

    #[test]
    fn parts_of_two_versions_and_of_two_kinds_do_not_mix() {
        let (kek, one, random) = sealed();
        let two = seal(&kek, IDS, META, PAYLOAD, &random).expect("it counts");
        assert!(open_meta(&kek, IDS, &one.wrapped_dek, &two.meta).is_err());
        assert!(open_payload(&kek, IDS, &one.wrapped_dek, &two.payload).is_err());
        assert!(open_payload(&kek, IDS, &one.wrapped_dek, &one.meta).is_err());
        assert!(open_meta(&kek, IDS, &one.wrapped_dek, &one.payload).is_err());
    }

    #[test]
    fn changed_metadata_leaves_the_payload_as_it_is() {
        let (kek, sealed, random) = sealed();
        let meta = reseal_meta(&kek, IDS, &sealed.wrapped_dek, b"destroyed", &random).expect("it counts");
        let (meta, payload) = open_both(&kek, IDS, &sealed.wrapped_dek, &meta, &sealed.payload).expect("sealed above");
        assert_eq!((meta.expose(), payload.expose()), (&b"destroyed"[..], PAYLOAD));
    }

    #[test]
    fn a_rewrapped_version_opens_under_the_new_key_alone() {
        let (old, sealed, random) = sealed();
        let new = Key::generate(&random).expect("it counts");
        let wrapped = rewrap(&old, IDS, &sealed.wrapped_dek, &new, 6, &random).expect("it counts");
        let ids = EnvelopeIds { kek_version: 6, ..IDS };
        let (_, payload) = open_both(&new, ids, &wrapped, &sealed.meta, &sealed.payload).expect("rewrapped above");
        assert_eq!(payload.expose(), PAYLOAD);
        assert!(open_payload(&old, ids, &wrapped, &sealed.payload).is_err());
        assert!(open_payload(&new, IDS, &wrapped, &sealed.payload).is_err());
    }

    // immune: row-35
    #[test]
    fn a_generator_that_fails_at_any_point_seals_nothing() {
        let (kek, sealed, _) = sealed();
        for calls in 0..4 {
            let random = BrokenRandom::after(calls);
            assert!(matches!(seal(&kek, IDS, META, PAYLOAD, &random), Err(CryptoError::Random(_))), "after {calls} calls");
        }
        assert!(seal(&kek, IDS, META, PAYLOAD, &BrokenRandom::after(4)).is_ok());
        assert!(reseal_meta(&kek, IDS, &sealed.wrapped_dek, META, &BrokenRandom::after(0)).is_err());
    }
}
