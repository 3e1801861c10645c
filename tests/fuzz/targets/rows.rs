//! Rows as whoever owns the disk may have changed them: refused, or read as they were written.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| strongroom::vault::fuzzing::rows(bytes));
