//! The stack after a computation: libraries leave keys and their schedules there, which no destructor wipes.

/// Runs `work` in a frame of its own, then wipes `BYTES` of the stack below the caller, where it was. `BYTES` must be more than
/// `work` uses. What `work` returns is the caller's to look after.
pub fn leaving_no_trace<const BYTES: usize, T>(work: impl FnOnce() -> T) -> T {
    let result = in_own_frame(work);
    zeroize::zeroize_stack::<BYTES>();
    result
}

#[inline(never)]
fn in_own_frame<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;
    use crate::memory::bytes_at;

    #[inline(never)]
    fn careless() {
        black_box(&[black_box(0xA5_u8); 3000]);
    }

    /// How often the mark is found twice in a row below the caller's frame.
    #[inline(never)]
    fn traces(work: impl FnOnce()) -> usize {
        let here = black_box(0_u8);
        work();
        let below = bytes_at(std::ptr::from_ref(&here) as usize - 16_384, 16_384);
        below.windows(2).filter(|bytes| *bytes == [0xA5, 0xA5]).count()
    }

    #[test]
    fn what_was_on_the_stack_is_wiped() {
        assert!(traces(careless) > 1000, "careless work leaves traces, or this test shows nothing");
        assert_eq!(traces(|| leaving_no_trace::<8192, _>(careless)), 0);
    }
}
