//! One entry, one line: JSON in which nothing can end the line, move the cursor or turn the text around.
//!
//! Beyond what RFC 8259 wants escaped (`"`, `\`, U+0000 to U+001F), every character that shows nothing or steers how others
//! show is written as `\u` and four digits of lowercase hex, as UTF-16 where it lies above U+FFFF. All else stands as it is,
//! so that names can be read. The rule is frozen: a line without its newline is a leaf of the log's Merkle tree.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// `value` as JSON on one line, without a newline, appended to `out`.
pub(super) fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    value.serialize(&mut Serializer::with_formatter(out, OneLine)).expect("entries have string keys, and a Vec takes every byte");
}

struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return out.write_all(fragment.as_bytes());
        }
        let mut plain_from = 0;
        for (at, character) in fragment.char_indices().filter(|(_, character)| must_be_escaped(*character)) {
            out.write_all(&fragment.as_bytes()[plain_from..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain_from = at + character.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[plain_from..])
    }
}

/// Control characters, line and paragraph separators, zero-width, bidirectional and tag characters.
fn must_be_escaped(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, &text);
        String::from_utf8(out).expect("UTF-8")
    }

    // immune: row-43
    #[test]
    fn what_shows_nothing_is_spelled_out() {
        for (text, expected) in [
            ("a\nb\r\0", r#""a\nb\r\u0000""#),
            ("\u{1b}[2J\u{7f}\u{9b}31m", r#""\u001b[2J\u007f\u009b31m""#),
            ("\"\\\"", r#""\"\\\"""#),
            ("a\u{202e}b\u{2028}c\u{2029}\u{85}", r#""a\u202eb\u2028c\u2029\u0085""#),
            ("\u{feff}\u{200b}\u{61c}\u{e0041}", r#""\ufeff\u200b\u061c\udb40\udc41""#),
            ("münchen/Ωμέγα/日本", "\"münchen/Ωμέγα/日本\""),
        ] {
            assert_eq!(line(text), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn every_text_comes_back_and_takes_one_line(text in any::<String>()) {
            let line = line(&text);
            prop_assert!(!line.chars().any(must_be_escaped));
            prop_assert_eq!(serde_json::from_str::<String>(&line).expect("valid JSON"), text);
        }
    }
}
