//! The global allocator: the system's, but whatever is freed has been overwritten with zeros first.
//!
//! Values that know that they are secret wipe themselves. This is for all the rest: the buffers of TLS, HTTP/2 and protobuf,
//! vectors that grew and left their old bytes behind, key schedules of libraries that forget to wipe.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait; there is no safe way to write one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::{ptr, slice};

/// The system's allocator, wiping on deallocation. To be installed by the binary with `#[global_allocator]`.
///
/// `realloc` is not forwarded on purpose: the trait's own version allocates, copies and calls `dealloc` of this type, so that the
/// old place is wiped; the system's would leave the old bytes where they were.
#[derive(Debug, Clone, Copy, Default)]
pub struct WipingAllocator;

// SAFETY: memory comes from and goes back to `System` with the same layout, which keeps its contract; between the two,
// `dealloc` writes inside the block only.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller gives the block up, so nothing else refers to its `layout.size()` bytes; it was allocated by
        // `System` with this layout.
        unsafe {
            wipe(pointer, layout.size());
            System.dealloc(pointer, layout);
        }
    }
}

/// Zeros, in one `memset`. The barrier makes the compiler believe that somebody reads them, or it would drop a store before a free.
///
/// # Safety
/// `length` bytes at `pointer` may be written and are used by nobody else.
unsafe fn wipe(pointer: *mut u8, length: usize) {
    // SAFETY: demanded of the caller; after the write every byte is initialised, so a slice may show them.
    unsafe {
        ptr::write_bytes(pointer, 0, length);
        zeroize::optimization_barrier(slice::from_raw_parts(pointer, length));
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;
    use crate::memory::bytes_at;

    /// The system's allocator keeps its own links in the first 16 bytes of a freed block.
    const LINKS: usize = 16;

    #[test]
    fn what_is_freed_is_zero() {
        for length in [40, 256, 4096, 65_536] {
            let block = vec![0xA5_u8; length];
            let address = black_box(&block).as_ptr() as usize;
            drop(block);
            assert!(!bytes_at(address, length)[LINKS..].contains(&0xA5), "{length} bytes");
        }
    }

    #[test]
    fn what_moves_leaves_zeros_behind() {
        let mut block = black_box(vec![0xA5_u8; 1000]);
        let (address, neighbour) = (block.as_ptr() as usize, vec![1_u8; 1000]);
        block.reserve_exact(100_000);
        assert_ne!(block.as_ptr() as usize, address);
        assert!(!bytes_at(address, 1000)[LINKS..].contains(&0xA5));
        assert_eq!((block.len(), block[999], neighbour[0]), (1000, 0xA5, 1));
    }

    #[test]
    fn zeroed_and_aligned_blocks_are_what_they_should_be() {
        let layout = Layout::from_size_align(4096, 4096).expect("a power of two");
        // SAFETY: the layout is not empty; the block is freed with the layout that it was allocated with.
        unsafe {
            let block = WipingAllocator.alloc_zeroed(layout);
            assert_eq!((block as usize) % 4096, 0);
            assert!(slice::from_raw_parts(block, 4096).iter().all(|byte| *byte == 0));
            WipingAllocator.dealloc(block, layout);
        }
    }
}
