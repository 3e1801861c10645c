//! Where randomness comes from. A trait, since ring's is sealed and a failing generator must be tested.

use ring::rand::SecureRandom;

/// The generator gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the random generator failed")]
pub struct RandomFailed;

/// A source of uniform bytes, fit for keys.
pub trait Random: Send + Sync + 'static {
    /// Fills `out`, or fails; then `out` must not be used.
    ///
    /// # Errors
    /// The generator gave nothing.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed>;
}

/// The operating system's generator, through ring.
#[expect(clippy::disallowed_types, reason = "this is its one home")]
pub struct SystemRandom(ring::rand::SystemRandom);

impl SystemRandom {
    /// The generator.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "this is its one home")]
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
