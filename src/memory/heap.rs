//! The system's heap: how it is told not to keep more than is in use.
//!
//! glibc gives threads heaps of their own, up to eight for each processor, and lets freed blocks of some megabytes grow the
//! part that never shrinks. A store's cache is allocated by one thread and freed by another, in between blocks that stay: with
//! a million rows and 64 MiB of cache the process took 550 MiB.

#![cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "the C library's own setting, for which no crate that we use has a function"))]

/// Two heaps for all threads, and a place of its own, given back when it is freed, to each block of 256 KiB and more. To be
/// called before there is a second thread. Where the C library is another than glibc, it does nothing.
pub fn keep_heap_small() {
    #[cfg(target_env = "gnu")]
    {
        use std::ffi::c_int;

        // Of malloc.h.
        const M_MMAP_THRESHOLD: c_int = -3;
        const M_ARENA_MAX: c_int = -8;
        const HEAPS: c_int = 2;
        const LARGE_BYTES: c_int = 256 * 1024;

        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }

        for (parameter, value) in [(M_ARENA_MAX, HEAPS), (M_MMAP_THRESHOLD, LARGE_BYTES)] {
            // SAFETY: the function takes two numbers, whatever they are, under a lock of its own. 0: it knows no such
            // parameter, and all that is lost is memory.
            let _ = unsafe { mallopt(parameter, value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of that size begin right after a header of their own mapping.
    #[cfg(target_env = "gnu")]
    #[test]
    fn large_blocks_go_back_when_they_are_freed() {
        const LARGE_BYTES: usize = 1024 * 1024;

        if !super::super::alone(module_path!(), "large_blocks_go_back_when_they_are_freed") {
            return;
        }
        keep_heap_small();
        // Without the setting, the first block that is freed raises the size from which blocks have a place of their own.
        drop(vec![1_u8; 4 * LARGE_BYTES]);
        let block = vec![1_u8; LARGE_BYTES];
        let address = block.as_ptr() as usize;
        drop(block);
        let memory = std::fs::File::open("/proc/self/mem").expect("a process may read itself");
        let read = std::os::unix::fs::FileExt::read_exact_at(&memory, &mut [0; 8], (address + LARGE_BYTES / 2) as u64);
        assert!(read.is_err(), "it is still mapped");
    }
}
