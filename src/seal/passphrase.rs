//! The passphrase slot: Argon2id (RFC 9106) turns a passphrase into the slot's secret.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{Key, Random};
use crate::model::SecretBytes;

use super::SealError;

/// Shortest passphrase: NIST SP 800-63B-4 for a single factor.
const PASSPHRASE_MIN_BYTES: usize = 15;
const PASSPHRASE_MAX_BYTES: usize = 1024;
const SALT_BYTES: usize = 32;

/// What Argon2id costs, within bounds: a header that was altered must neither make it cheap nor exhaust the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Parameters {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Parameters {
    /// Least memory that is read: OWASP's floor, 19 MiB.
    const MEMORY_MIN_KIB: u32 = 19 * 1024;
    const MEMORY_MAX_KIB: u32 = 1024 * 1024;
    const PASSES: std::ops::RangeInclusive<u32> = 2..=64;
    const LANES: std::ops::RangeInclusive<u32> = 1..=64;
    /// Encoded: memory in KiB (4), passes (4), lanes (4), big-endian.
    const BYTES: usize = 12;

    /// For a vault: 64 MiB, 3 passes, 4 lanes (RFC 9106, section 4, second choice).
    #[must_use]
    pub const fn for_vault() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }

    /// For a throwaway vault that starts at once: OWASP's floor, 19 MiB, 2 passes, 1 lane.
    #[must_use]
    pub const fn for_throwaway() -> Self {
        Self { memory_kib: Self::MEMORY_MIN_KIB, passes: 2, lanes: 1 }
    }

    fn check(self) -> Result<Self, SealError> {
        let memory_fits = (Self::MEMORY_MIN_KIB..=Self::MEMORY_MAX_KIB).contains(&self.memory_kib);
        let fits = memory_fits && Self::PASSES.contains(&self.passes) && Self::LANES.contains(&self.lanes);
        if fits { Ok(self) } else { Err(SealError::Parameters) }
    }

    fn encode(self) -> [u8; Self::BYTES] {
        let numbers = [self.memory_kib, self.passes, self.lanes];
        let mut out = [0; Self::BYTES];
        out.chunks_exact_mut(4).zip(numbers).for_each(|(bytes, number)| bytes.copy_from_slice(&number.to_be_bytes()));
        out
    }

    fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, SealError> {
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self { memory_kib: number(0), passes: number(4), lanes: number(8) }.check()
    }
}

/// A passphrase slot's parameters: what Argon2id costs, and its salt. 44 bytes: costs (12), salt (32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PassphraseSlot {
    cost: Argon2Parameters,
    salt: [u8; SALT_BYTES],
}

impl PassphraseSlot {
    pub(super) const BYTES: usize = Argon2Parameters::BYTES + SALT_BYTES;

    pub(super) fn new(cost: Argon2Parameters, random: &dyn Random) -> Result<Self, SealError> {
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt).map_err(|error| SealError::Crypto(error.into()))?;
        Ok(Self { cost: cost.check()?, salt })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.cost.encode()[..], &self.salt].concat()
    }

    pub(super) fn decode(parameters: &[u8]) -> Result<Self, SealError> {
        let (cost, salt) = parameters.split_first_chunk().ok_or(SealError::Damaged)?;
        Ok(Self { cost: Argon2Parameters::decode(cost)?, salt: salt.try_into().map_err(|_| SealError::Damaged)? })
    }

    /// The slot's secret. Takes the memory and the time that the parameters say.
    pub(super) fn secret(&self, passphrase: &SecretBytes) -> Result<Key, SealError> {
        if passphrase.len() < PASSPHRASE_MIN_BYTES || passphrase.len() > PASSPHRASE_MAX_BYTES {
            return Err(SealError::PassphraseLength);
        }
        let params =
            Params::new(self.cost.memory_kib, self.cost.passes, self.cost.lanes, Some(Key::BYTES)).map_err(|_| SealError::Parameters)?;
        let mut blocks = Blocks::new(params.block_count())?;
        let mut secret = Zeroizing::new([0; Key::BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.expose(), &self.salt, &mut *secret, &mut blocks.0)
            .map_err(|_| SealError::Parameters)?;
        Ok(Key::from_bytes(&mut secret))
    }
}

/// Argon2id's memory, which holds what the passphrase became: wiped here, since the crate may not.
struct Blocks(Vec<Block>);

impl Blocks {
    fn new(count: usize) -> Result<Self, SealError> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| SealError::Memory)?;
        blocks.resize(count, Block::default());
        Ok(Self(blocks))
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|block| block.as_mut().zeroize());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SystemRandom;

    #[test]
    fn a_passphrase_has_15_to_1024_bytes() {
        let slot = PassphraseSlot::new(Argon2Parameters::for_throwaway(), &SystemRandom::new()).expect("the generator works");
        for (length, fits) in [(0, false), (14, false), (15, true), (1024, true), (1025, false)] {
            assert_eq!(slot.secret(&SecretBytes::new(vec![b'x'; length])).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn parameters_out_of_bounds_are_refused_before_any_work() {
        let salt = [0; SALT_BYTES];
        for (memory_kib, passes, lanes) in
            [(19 * 1024 - 1, 2, 1), (1024 * 1024 + 1, 2, 1), (19 * 1024, 1, 1), (19 * 1024, 65, 1), (19 * 1024, 2, 0), (19 * 1024, 2, 65)]
        {
            let slot = PassphraseSlot { cost: Argon2Parameters { memory_kib, passes, lanes }, salt };
            assert!(matches!(PassphraseSlot::decode(&slot.encode()), Err(SealError::Parameters)), "{memory_kib} {passes} {lanes}");
        }
        let slot = PassphraseSlot { cost: Argon2Parameters::for_vault(), salt };
        assert_eq!(PassphraseSlot::decode(&slot.encode()).expect("in bounds"), slot);
        assert_eq!(slot.encode().len(), PassphraseSlot::BYTES);
    }
}
