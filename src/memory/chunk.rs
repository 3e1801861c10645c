//! Chunks of memory for the arena: the best kind that the machine gives.
//!
//! | kind | swapped out | in a core dump | read through `/proc/…/mem`, `ptrace` or the kernel's own map |
//! |---|---|---|---|
//! | [`Backing::SecretMemory`] | no | no | no |
//! | [`Backing::Locked`] | no | no | yes, by root |
//! | [`Backing::Plain`] | yes | no | yes, by root |
//!
//! Chunks are never given back: a process has one arena, which grows to what it needed at most.

#![expect(unsafe_code, reason = "mapping memory and asking the kernel to keep it is unsafe by nature")]

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::{self, NonNull};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous};
use rustix::process::{Resource, getrlimit};

/// Bytes of a chunk. With the 16 bytes that memsec puts before it, it fills 16 pages, and its start lies on a cache line.
pub(super) const CHUNK_BYTES: usize = 64 * 1024 - 64;

/// What memsec maps for a chunk: its pages and three guards. A file size limit below that would kill the process (SIGXFSZ).
const SECRET_MAPPING_BYTES: u64 = 19 * 4096;

/// The kind of memory that keys lie in, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backing {
    /// `memfd_secret(2)`: out of the kernel's own map, so not even root's debugger reads it.
    SecretMemory,
    /// `mlock(2)` and left out of core dumps.
    Locked,
    /// Ordinary memory, left out of core dumps: the lock limit (`RLIMIT_MEMLOCK`) was too low for more.
    Plain,
}

impl Backing {
    /// The word for it, for `status`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SecretMemory => "memfd_secret",
            Self::Locked => "mlock",
            Self::Plain => "unlocked",
        }
    }

    /// A new chunk of this kind: [`CHUNK_BYTES`] that nobody else uses, for good, all zero; `None` where the machine has none. A failure
    /// costs a descriptor or an unused mapping: not to be tried again and again.
    pub(super) fn map(self) -> Option<NonNull<u8>> {
        match self {
            Self::SecretMemory => secret_memory(),
            Self::Locked => {
                let chunk = ordinary_memory()?;
                // SAFETY: the range was just mapped.
                unsafe { mlock(chunk.as_ptr().cast(), CHUNK_BYTES) }.ok()?;
                Some(chunk)
            }
            Self::Plain => ordinary_memory(),
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

fn secret_memory() -> Option<NonNull<u8>> {
    let file_size_limit = getrlimit(Resource::Fsize).current;
    if file_size_limit.is_some_and(|limit| limit < SECRET_MAPPING_BYTES) {
        return None;
    }
    // SAFETY: no precondition; the chunk is never freed.
    let chunk = unsafe { memsec::memfd_secret_sized(CHUNK_BYTES) };
    // Without /proc a program that this one starts might inherit the descriptor; the memory is still the better kind.
    let _ = keep_from_children();
    let chunk = chunk?.cast::<u8>();
    // SAFETY: the chunk is new and has this many bytes. What memsec filled it with is overwritten.
    unsafe { ptr::write_bytes(chunk.as_ptr(), 0, CHUNK_BYTES) };
    Some(chunk)
}

/// memsec opens the descriptor of secret memory without `O_CLOEXEC`, tells nobody its number, and leaves it open even if there is no
/// memory to be had: find it, and set the flag.
fn keep_from_children() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let is_secret = fs::read_link(entry.path()).is_ok_and(|target| target.starts_with("/secretmem (deleted)"));
        let number = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let (true, Some(number)) = (is_secret, number) {
            // SAFETY: descriptors of secret memory are never closed in this process, so this one is open.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}

fn ordinary_memory() -> Option<NonNull<u8>> {
    // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists. A refused advice changes
    // nothing about it.
    unsafe {
        let chunk = mmap_anonymous(ptr::null_mut(), CHUNK_BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE).ok()?;
        let _ = madvise(chunk, CHUNK_BYTES, Advice::LinuxDontDump);
        NonNull::new(chunk.cast())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::memory::alone;

    fn flags_of(address: usize) -> String {
        let maps = fs::read_to_string("/proc/self/smaps").expect("a process may read its own map");
        let mut inside = false;
        for line in maps.lines() {
            if let Some((start, end)) = line.split(' ').next().and_then(|range| range.split_once('-')) {
                let bound = |text| usize::from_str_radix(text, 16).expect("smaps has hex addresses");
                inside = bound(start) <= address && address < bound(end);
            }
            if inside && line.starts_with("VmFlags:") {
                return line.to_owned();
            }
        }
        panic!("not mapped");
    }

    #[test]
    fn every_kind_can_be_written_to_its_end_and_is_what_it_says() {
        let mut kinds = 0;
        for (kind, flags) in [(Backing::SecretMemory, vec!["dd", "lo"]), (Backing::Locked, vec!["dd", "lo"]), (Backing::Plain, vec!["dd"])]
        {
            let Some(chunk) = kind.map() else { continue };
            kinds += 1;
            // SAFETY: the chunk is this test's own, and has this many bytes.
            let bytes = unsafe { std::slice::from_raw_parts_mut(chunk.as_ptr(), CHUNK_BYTES) };
            assert!(bytes.iter().all(|byte| *byte == 0), "{kind} starts as zeros");
            bytes.fill(7);
            assert_eq!(bytes[CHUNK_BYTES - 1], 7);
            let found = flags_of(chunk.as_ptr() as usize);
            flags.iter().for_each(|flag| assert!(found.split(' ').any(|word| word == *flag), "{kind}: {flag} in {found}"));
        }
        assert!(kinds >= 1, "plain memory is always there");
    }

    /// Alone: a chunk that another thread is just making has its descriptor's flag not yet set.
    #[test]
    fn no_child_inherits_the_descriptor() {
        if alone(module_path!(), "no_child_inherits_the_descriptor") {
            Backing::SecretMemory.map();
            let listing = Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("ls is everywhere");
            let text = String::from_utf8_lossy(&listing.stdout);
            assert!(text.contains("->"), "a list of descriptors: {text}");
            assert!(!text.contains("secretmem"), "{text}");
        }
    }
}
