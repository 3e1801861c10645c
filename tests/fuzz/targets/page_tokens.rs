//! Page tokens: one that nobody was given, that another was given, or that was changed, is refused; one's own is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &[u8], &[u8], &str)| {
    let (principal, filter, position, changes, token) = input;
    strongroom::vault::fuzzing::page_token(principal, filter, position, token, changes);
});
