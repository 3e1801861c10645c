//! What the tests of this module and of `seal` share: generators that can be foretold, flipped bits, frozen vectors.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest;
use serde_json::Value;

use super::{Random, RandomFailed};

/// SHA-256(seed ‖ counter), block after block: a new one gives the same bytes again. Each call begins a new block.
pub(crate) struct CountingRandom {
    seed: &'static str,
    counter: AtomicU64,
}

impl CountingRandom {
    pub(crate) const fn new(seed: &'static str) -> Self {
        Self { seed, counter: AtomicU64::new(0) }
    }
}

impl Random for CountingRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed> {
        for chunk in out.chunks_mut(32) {
            let counter = self.counter.fetch_add(1, Ordering::Relaxed);
            let block = digest::digest(&digest::SHA256, &[self.seed.as_bytes(), &counter.to_be_bytes()].concat());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Fails from the call after the first so many on. Until then it gives the same bytes each time.
pub(crate) struct BrokenRandom(AtomicU64);

impl BrokenRandom {
    pub(crate) const fn after(calls: u64) -> Self {
        Self(AtomicU64::new(calls))
    }
}

impl Random for BrokenRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed> {
        out.fill(7);
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| RandomFailed)
    }
}

/// The bytes with one bit changed, once for each bit.
pub(crate) fn each_flipped_bit(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    })
}

/// Compares what the code makes today with the frozen file under `tests/vectors`, and gives the file's content, to be opened.
///
/// With `STRONGROOM_WRITE_VECTORS` set it writes the file instead, and fails: a changed format never passes unseen.
pub(crate) fn frozen(file: &str, made: &Value) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    if std::env::var_os("STRONGROOM_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(made).expect("a value is always text") + "\n";
        std::fs::write(&path, text).expect("the folder is there");
        panic!("{} is written; look at its difference, and run again without STRONGROOM_WRITE_VECTORS", path.display());
    }
    let text = std::fs::read_to_string(&path).expect("the vectors are in the repository");
    let kept: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    assert!(kept == *made, "{file} is frozen, and the code makes other bytes now: {made:#}");
    kept
}

/// The bytes of a hex string in a vector.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a hex string")).expect("a hex string")
}
