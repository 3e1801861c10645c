//! Passphrases, and how one is made into a key: Argon2id (RFC 9106), version 0x13, with 32 bytes of salt.
//!
//! The `argon2` crate does not wipe the memory that it fills, so it is given ours, which wipes itself.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::SealError;
use crate::crypto::Key;
use crate::memory::leaving_no_trace;
use crate::model::{Invalid, SecretBytes};

/// Fewest characters of a passphrase that is all there is between a thief and the keys (NIST SP 800-63B-4, section 3.1.1.2).
const MIN_CHARACTERS: usize = 15;
const MAX_BYTES: usize = 1024;

/// More of the stack than Argon2 uses: 13 KiB, its blocks of 1 KiB among them.
const STACK_BYTES: usize = 65_536;

/// A passphrase in the one form that is hashed: UTF-8 in NFKC, so that every keyboard gives the same bytes (SP 800-63B-4, section
/// 3.1.1.2). `Debug` shows its length alone.
#[derive(Debug)]
pub struct Passphrase(SecretBytes);

impl Passphrase {
    /// Takes a passphrase as it was typed or read from a file; the caller has cut the line's end off.
    ///
    /// # Errors
    /// [`SealError::Passphrase`]: not UTF-8, fewer than 15 characters, or more than 1,024 bytes.
    pub fn parse(typed: &SecretBytes) -> Result<Self, SealError> {
        let refuse = |why| Err(SealError::Passphrase(Invalid(why)));
        let Ok(text) = std::str::from_utf8(typed.expose()) else { return refuse("not UTF-8") };
        if text.len() > MAX_BYTES {
            return refuse("more than 1,024 bytes");
        }
        // What the string leaves behind while it grows, the wiping allocator wipes.
        let normal = SecretBytes::new(text.nfkc().collect::<String>().into_bytes());
        let characters = std::str::from_utf8(normal.expose()).map_or(0, |text| text.chars().count());
        if characters < MIN_CHARACTERS {
            return refuse("fewer than 15 characters");
        }
        Ok(Self(normal))
    }
}

/// What one hashing costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Parameters {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The bytes of encoded parameters.
const ENCODED_BYTES: usize = 12;

impl Argon2Parameters {
    /// 64 MiB, 3 passes, 4 lanes: the second recommended option of RFC 9106, section 4, and the least that [`Argon2Parameters::new`]
    /// gives.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// The most that a header may demand: beyond it, a changed header could only keep the machine busy.
    const MOST: Self = Self { memory_kib: 2 * 1024 * 1024, passes: 32, lanes: 16 };

    /// Memory of one try, in KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over it.
    #[must_use]
    pub const fn passes(self) -> u32 {
        self.passes
    }

    /// The least that a header may demand: OWASP's, 19 MiB, 2 passes, 1 lane. For vaults that are thrown away: `dev` and tests.
    #[must_use]
    pub const fn for_throwaway() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }

    /// Parameters for a vault that is kept.
    ///
    /// # Errors
    /// [`SealError::Parameters`]: less than 64 MiB, 3 passes or 4 lanes; more than 2 GiB, 32 passes or 16 lanes.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, SealError> {
        let asked = Self { memory_kib, passes, lanes };
        let bounds = Invalid("64 MiB to 2 GiB, 3 to 32 passes, 4 to 16 lanes");
        if asked.lies_between(&Self::DEFAULT, &Self::MOST) { Ok(asked) } else { Err(SealError::Parameters(bounds)) }
    }

    /// The key of a passphrase: 32 bytes. Takes the memory and, at 64 MiB and 3 passes, a tenth of a second or more: not for an
    /// asynchronous thread.
    ///
    /// # Errors
    /// [`SealError::OutOfMemory`].
    pub(super) fn derive(self, passphrase: &Passphrase, salt: &[u8; 32]) -> Result<Key, SealError> {
        leaving_no_trace::<STACK_BYTES, _>(|| Key::try_fill(|out| self.hash(passphrase, salt, out)))
    }

    fn hash(self, passphrase: &Passphrase, salt: &[u8; 32], out: &mut [u8; 32]) -> Result<(), SealError> {
        let parameters = Params::new(self.memory_kib, self.passes, self.lanes, Some(out.len())).expect("within Argon2's own bounds");
        let mut memory = Zeroizing::new(Vec::new());
        memory.try_reserve_exact(parameters.block_count()).map_err(|_| SealError::OutOfMemory)?;
        memory.resize(parameters.block_count(), Block::new());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let hashed = argon2.hash_password_into_with_memory(passphrase.0.expose(), salt, out, memory.as_mut_slice());
        hashed.expect("salt, passphrase and output have lengths that Argon2 takes, and the memory is what it asked for");
        Ok(())
    }

    /// `memory in KiB u32 ‖ passes u32 ‖ lanes u32`.
    pub(super) fn encode(self) -> [u8; ENCODED_BYTES] {
        let mut out = [0; ENCODED_BYTES];
        let numbers = [self.memory_kib, self.passes, self.lanes].map(u32::to_be_bytes);
        out.copy_from_slice(numbers.as_flattened());
        out
    }

    /// From the numbers of a header, which nobody has authenticated yet.
    pub(super) fn read(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Invalid> {
        let found = Self { memory_kib, passes, lanes };
        if found.lies_between(&Self::for_throwaway(), &Self::MOST) { Ok(found) } else { Err(Invalid("Argon2id parameters out of bounds")) }
    }

    const fn lies_between(&self, least: &Self, most: &Self) -> bool {
        least.memory_kib <= self.memory_kib
            && self.memory_kib <= most.memory_kib
            && least.passes <= self.passes
            && self.passes <= most.passes
            && least.lanes <= self.lanes
            && self.lanes <= most.lanes
    }
}

impl Default for Argon2Parameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Passphrase, SealError> {
        Passphrase::parse(&SecretBytes::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_passphrase_has_15_characters_at_least() {
        assert!(parse("correct horse").is_err());
        assert!(parse(&"x".repeat(14)).is_err());
        assert!(parse(&"x".repeat(15)).is_ok());
        assert!(parse(&"é".repeat(14)).is_err(), "characters count, not bytes");
        assert!(parse(&"é".repeat(15)).is_ok());
        assert!(parse(&"x".repeat(1024)).is_ok());
        assert!(parse(&"x".repeat(1025)).is_err());
        assert!(Passphrase::parse(&SecretBytes::new(vec![0xFF; 20])).is_err());
        assert_eq!(format!("{:?}", parse(&"x".repeat(15)).expect("long enough")), "Passphrase(SecretBytes(15 bytes))");
    }

    #[test]
    fn two_keyboards_give_one_passphrase() {
        let (composed, decomposed) = ("caf\u{e9} au lait, deux", "cafe\u{301} au lait, deux");
        assert!(parse(composed).expect("long enough").0.same_as(&parse(decomposed).expect("long enough").0));
        assert!(!parse(composed).expect("long enough").0.same_as(&parse("Caf\u{e9} au lait, deux").expect("long enough").0));
    }

    #[test]
    fn parameters_are_bounded_on_both_sides() {
        assert_eq!(Argon2Parameters::new(65_536, 3, 4), Ok(Argon2Parameters::default()));
        assert!(Argon2Parameters::new(2_097_152, 32, 16).is_ok());
        for (memory, passes, lanes) in
            [(65_535, 3, 4), (65_536, 2, 4), (65_536, 3, 3), (2_097_153, 3, 4), (65_536, 33, 4), (65_536, 3, 17), (u32::MAX, 3, 4)]
        {
            assert!(Argon2Parameters::new(memory, passes, lanes).is_err(), "{memory} {passes} {lanes}");
        }
        assert_eq!(Argon2Parameters::read(19_456, 2, 1), Ok(Argon2Parameters::for_throwaway()));
        for (memory, passes, lanes) in [(19_455, 2, 1), (19_456, 1, 1), (19_456, 2, 0), (u32::MAX, 2, 1)] {
            assert!(Argon2Parameters::read(memory, passes, lanes).is_err(), "{memory} {passes} {lanes}");
        }
    }

    #[test]
    fn salt_passphrase_and_each_parameter_count() {
        let (one, two) = (parse("one passphrase of a test").expect("long"), parse("two passphrases of tests").expect("long"));
        let least = Argon2Parameters::for_throwaway();
        let keys = [
            least.derive(&one, &[1; 32]),
            least.derive(&one, &[2; 32]),
            least.derive(&two, &[1; 32]),
            Argon2Parameters { memory_kib: 19_464, ..least }.derive(&one, &[1; 32]),
            Argon2Parameters { passes: 3, ..least }.derive(&one, &[1; 32]),
            Argon2Parameters { lanes: 2, ..least }.derive(&one, &[1; 32]),
        ]
        .map(|key| key.expect("19 MiB are to be had"));
        for (at, key) in keys.iter().enumerate() {
            keys[..at].iter().for_each(|other| assert_ne!(key.expose(), other.expose()));
        }
    }
}
