//! The arena: 32-byte cells for keys, in memory that is kept out of swap, dumps and, where the kernel can, debuggers.
//!
//! One arena a process. Taking and returning a cell takes a lock for a few nanoseconds; reading a key is a pointer's dereference.
//! Invariant: a free cell is zero.

#![expect(unsafe_code, reason = "cells are raw memory outside the allocator")]

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

use super::chunk::{Backing, CHUNK_BYTES};

/// Bytes of a cell: every key of the vault has this size.
const CELL_BYTES: usize = 32;

/// Cells of a chunk.
const CELLS: usize = CHUNK_BYTES / CELL_BYTES;

static ARENA: Mutex<Arena> = Mutex::new(Arena { free: Vec::new(), cells: 0, weakest: Backing::SecretMemory });

/// 32 bytes in the arena: zero at first, wiped and given back when dropped. No `Clone`; `Debug` shows nothing.
pub struct LockedBytes32(Cell);

impl LockedBytes32 {
    /// A cell of zeros. Ends the process, as any allocation does, if the machine has no memory left at all.
    #[must_use]
    pub fn zeroed() -> Self {
        Self(arena().take())
    }

    /// The bytes. Named so that each place that opens a key can be found by a search.
    #[must_use]
    pub fn expose(&self) -> &[u8; CELL_BYTES] {
        // SAFETY: the cell is mapped for good, initialised, and this value's alone until it is dropped.
        unsafe { self.0.0.as_ref() }
    }

    /// The bytes, to be filled in place.
    pub fn expose_mut(&mut self) -> &mut [u8; CELL_BYTES] {
        // SAFETY: as above, and the exclusive borrow of this value is one of the cell.
        unsafe { self.0.0.as_mut() }
    }
}

impl Drop for LockedBytes32 {
    fn drop(&mut self) {
        self.expose_mut().zeroize();
        arena().free.push(self.0);
    }
}

impl fmt::Debug for LockedBytes32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedBytes32(..)")
    }
}

/// The weakest kind of memory that the arena has had to use so far, for `status`. Makes the first chunk if there is none.
#[must_use]
pub fn backing() -> Backing {
    drop(LockedBytes32::zeroed());
    arena().weakest
}

struct Arena {
    /// Room for every cell that exists, so that giving one back never allocates.
    free: Vec<Cell>,
    cells: usize,
    weakest: Backing,
}

#[derive(Clone, Copy)]
struct Cell(NonNull<[u8; CELL_BYTES]>);

// SAFETY: a cell is plain memory without ties to a thread; who holds it owns its bytes.
unsafe impl Send for Cell {}
// SAFETY: through a shared reference its bytes can only be read.
unsafe impl Sync for Cell {}

/// The lock is never held where anything could panic half-way, so a poisoned one still guards a whole arena.
fn arena() -> MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arena {
    fn take(&mut self) -> Cell {
        if self.free.is_empty() {
            self.grow();
        }
        self.free.pop().expect("grow has just added a chunk of cells")
    }

    fn grow(&mut self) {
        let kinds = [Backing::SecretMemory, Backing::Locked, Backing::Plain].into_iter();
        // What has once failed is not tried again.
        let found = kinds.skip_while(|kind| *kind < self.weakest).find_map(|kind| kind.map().map(|chunk| (kind, chunk)));
        let Some((kind, chunk)) = found else { handle_alloc_error(Layout::new::<[u8; CHUNK_BYTES]>()) };
        self.weakest = self.weakest.max(kind);
        self.cells += CELLS;
        self.free.reserve_exact(self.cells);
        // SAFETY: each offset lies inside the chunk, with a whole cell after it.
        let cells = (0..CELLS).map(|index| unsafe { Cell(chunk.add(index * CELL_BYTES).cast()) });
        self.free.extend(cells);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn free_cells_are_zero() -> bool {
        // SAFETY: a free cell is mapped, and the lock keeps others from taking it.
        arena().free.iter().all(|cell| unsafe { cell.0.as_ref() } == &[0; CELL_BYTES])
    }

    #[test]
    fn a_cell_is_zero_before_and_after_its_use() {
        let mut cell = LockedBytes32::zeroed();
        assert_eq!(cell.expose(), &[0; CELL_BYTES]);
        cell.expose_mut().fill(0xA5);
        assert_eq!(format!("{cell:?}"), "LockedBytes32(..)");
        drop(cell);
        assert!(free_cells_are_zero());
    }

    #[test]
    fn it_grows_and_no_two_threads_share_a_cell() {
        let threads: Vec<_> = (0..4_u8)
            .map(|mark| {
                thread::spawn(move || {
                    for round in 0..3 {
                        let mut cells: Vec<_> = (0..=CELLS).map(|_| LockedBytes32::zeroed()).collect();
                        cells.iter().for_each(|cell| assert_eq!(cell.expose(), &[0; CELL_BYTES]));
                        cells.iter_mut().for_each(|cell| cell.expose_mut().fill(mark + round + 1));
                        thread::yield_now();
                        cells.iter().for_each(|cell| assert_eq!(cell.expose(), &[mark + round + 1; CELL_BYTES]));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no thread saw another's bytes"));
        assert!(free_cells_are_zero());
        let arena = arena();
        assert!(arena.cells > CELLS && arena.free.capacity() >= arena.cells);
    }

    #[test]
    fn the_backing_has_a_word() {
        assert!(["memfd_secret", "mlock", "unlocked"].contains(&backing().word()));
    }
}
