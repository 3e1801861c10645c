//! Memory that keeps secrets to itself. The only `unsafe` of Strongroom is here, and only for four things that safe Rust cannot say.
//!
//! | file | what |
//! |---|---|
//! | `allocator` | [`WipingAllocator`]: the global allocator; what is freed is zero first, reallocation included |
//! | `arena` | [`LockedBytes32`]: a 32-byte cell for a key, wiped when dropped; [`backing`] says what kind of memory it lies in |
//! | `chunk` | where the arena's cells come from: `memfd_secret`, else `mlock`, else ordinary memory |
//! | `harden` | [`harden`]: no core dumps, no debugger |
//!
//! `main` calls [`harden`] before anything else, then everything that is a key lives in a [`LockedBytes32`], and everything
//! else that is secret (passphrases, payloads, TLS buffers) is wiped by the allocator at the latest.

mod allocator;
mod arena;
mod chunk;
mod harden;

pub use allocator::WipingAllocator;
pub use arena::{LockedBytes32, backing};
pub use chunk::Backing;
pub use harden::{Hardening, harden};

/// The unit tests run under the allocator that the program runs under.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

/// What lies at an address of this process, read through the kernel: also what has been freed, which no reference may show.
#[cfg(test)]
pub(crate) fn bytes_at(address: usize, length: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt;

    let memory = std::fs::File::open("/proc/self/mem").expect("a process may read itself");
    let mut bytes = vec![0; length];
    memory.read_exact_at(&mut bytes, address as u64).expect("the range is mapped");
    bytes
}
