//! Page tokens that nobody was given: none is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|token: &str| strongroom::vault::fuzzing::page_token(token));
