//! Memory that keeps secrets to itself. The only `unsafe` of Strongroom is here, and only for five things that safe Rust cannot say.
//!
//! | file | what |
//! |---|---|
//! | `allocator` | [`WipingAllocator`]: the global allocator; what is freed is zero first, reallocation included |
//! | `arena` | [`LockedBytes32`]: a 32-byte cell for a key, wiped when dropped; [`backing`] says what kind of memory it lies in |
//! | `chunk` | where the arena's cells come from: `memfd_secret`, else `mlock`, else ordinary memory |
//! | `stack` | [`leaving_no_trace`]: wipes the stack that a computation used |
//! | `heap` | [`keep_heap_small`]: the system's heap gives back what is freed |
//! | `harden` | [`harden()`]: no core dumps, no debugger |
//!
//! `main` calls [`harden()`] and [`keep_heap_small`] before anything else, then everything that is a key lives in a [`LockedBytes32`], and everything
//! else that is secret (passphrases, payloads, TLS buffers) is wiped by the allocator at the latest.

mod allocator;
mod arena;
mod chunk;
mod harden;
mod heap;
mod stack;

pub use allocator::WipingAllocator;
pub use arena::{LockedBytes32, backing};
pub use chunk::Backing;
pub use harden::{Hardening, harden};
pub use heap::keep_heap_small;
pub use stack::leaving_no_trace;

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

/// Runs a test alone, in a process of its own: gives true there, where the test does its work, and elsewhere false, once the other
/// process has passed. For what changes the whole process, or must not be disturbed by the tests beside it.
#[cfg(test)]
fn alone(module: &str, test: &str) -> bool {
    const CHILD: &str = "STRONGROOM_TEST_ALONE";

    let path = format!("{module}::{test}");
    let (_, name) = path.split_once("::").expect("the crate's name comes first");
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("the test's own program");
    let child = std::process::Command::new(program).args(["--exact", name]).env(CHILD, "1").output().expect("it starts again");
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
    false
}
