//! Randomness, behind a trait of our own: ring's is sealed, and a generator that fails must be testable.

use ring::rand::SecureRandom;

/// The generator gave no bytes. Whoever meets it must give up what it was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the random generator failed")]
pub struct RandomFailed;

/// A source of uniform bytes that nobody can predict.
pub trait Random: Send + Sync + 'static {
    /// Fills `out`.
    ///
    /// # Errors
    /// The generator failed; what `out` then holds must not be used.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed>;
}

/// The operating system's generator, `getrandom(2)`.
#[expect(clippy::disallowed_types, reason = "the one home of ring's generator")]
#[derive(Debug, Clone)]
pub struct SystemRandom(ring::rand::SystemRandom);

#[expect(clippy::disallowed_types, reason = "the one home of ring's generator")]
impl SystemRandom {
    /// The generator; it is seeded by the kernel and has no state here.
    #[must_use]
    pub fn new() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed> {
        self.0.fill(out).map_err(|_| RandomFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_bytes_differ_each_time() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        SystemRandom::new().fill(&mut one).expect("the kernel has randomness");
        SystemRandom::new().fill(&mut two).expect("the kernel has randomness");
        assert_ne!(one, two);
        assert_ne!(one, [0; 32]);
    }
}
