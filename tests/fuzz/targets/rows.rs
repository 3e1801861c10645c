//! Rows, and lines of the log, as whoever owns the disk may have changed them: refused, or read as they were written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom::audit::Entry;
use strongroom::identity::HighestLists;

fuzz_target!(|bytes: &[u8]| {
    strongroom::vault::fuzzing::rows(bytes);
    if let Ok(entry) = serde_json::from_slice::<Entry>(bytes) {
        let line = entry.to_line();
        assert!(!line.contains(&b'\n'));
        assert_eq!(serde_json::from_slice::<Entry>(&line).expect("just written"), entry);
    }
    if let Some(highest) = std::str::from_utf8(bytes).ok().and_then(HighestLists::parse) {
        assert_eq!(HighestLists::parse(&highest.to_string()), Some(highest));
    }
});
