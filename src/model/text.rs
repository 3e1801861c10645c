//! Bounded free text: reasons, tickets, labels, providers, subjects.

use std::fmt;

use super::Invalid;

/// Free text of at most `MAX` bytes, not empty, without control characters, and without anything that looks like an
/// access token: these texts stand in the audit log and in metadata, where no token belongs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text, checked.
    ///
    /// # Errors
    /// Empty, too long, a control character, or the look of a token.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid("must not be empty"));
        }
        if text.len() > MAX {
            return Err(Invalid("too long"));
        }
        if text.trim().is_empty() {
            return Err(Invalid("must not be blank"));
        }
        if text.chars().any(is_invisible) {
            return Err(Invalid("must not contain control or invisible characters"));
        }
        if looks_like_token(text) {
            return Err(Invalid("looks like an access token, which has no place in this field"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The same, where no text at all is allowed too: `None` for the empty one.
    ///
    /// # Errors
    /// As for [`Text::parse`], but for the empty text.
    pub fn parse_optional(text: &str) -> Result<Option<Self>, Invalid> {
        if text.is_empty() { Ok(None) } else { Self::parse(text).map(Some) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character shows nothing or steers how others show: control characters, zero-width and bidirectional ones.
pub(super) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a text has a part with the look of an access token: a known prefix before at least 16 hex digits, or 40 hex
/// digits on end (no id of the vault is that long). People paste tokens where they should not.
#[must_use]
pub fn looks_like_token(text: &str) -> bool {
    const PREFIXES: [&[u8]; 4] = [b"stage_", b"production_", b"prod_", b"bearer "];
    // Every name of every call comes by here: each run of hex digits is looked at where it ends, and nothing is copied.
    let mut run = 0;
    for (at, byte) in text.bytes().chain([b' ']).enumerate() {
        if byte.is_ascii_hexdigit() {
            run += 1;
            continue;
        }
        let before = &text.as_bytes()[..at - run];
        let prefixed = || PREFIXES.iter().any(|prefix| ends_with_any_case(before, prefix));
        if run >= 40 || run >= 16 && prefixed() {
            return true;
        }
        run = 0;
    }
    false
}

fn ends_with_any_case(text: &[u8], end: &[u8]) -> bool {
    text.len() >= end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_hold_at_the_edge() {
        assert!(Text::<4>::parse("abcd").is_ok());
        assert_eq!(Text::<4>::parse("abcde"), Err(Invalid("too long")));
        assert!(Text::<4>::parse("").is_err());
        assert_eq!(Text::<4>::parse_optional(""), Ok(None));
    }

    // immune: row-43
    #[test]
    fn nothing_that_could_forge_a_line_passes() {
        for text in ["a\nb", "a\rb", "a\u{1b}[2Jb", "a\0b", "a\u{202e}b", "a\u{200b}b", "a\u{2028}b"] {
            assert!(Text::<64>::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_look_of_a_token_is_what_a_plain_search_finds(text in "(stage_|PROD_|production_|Bearer |[0-9a-fA-F]{1,20}|[ -~ä]){0,6}") {
            let lower = text.to_ascii_lowercase();
            let digits = |after: usize| lower.as_bytes()[after..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let mut prefixes = ["stage_", "production_", "prod_", "bearer "].iter();
            let prefixed = prefixes.any(|prefix| lower.match_indices(prefix).any(|(at, found)| digits(at + found.len()) >= 16));
            let long = lower.as_bytes().split(|byte| !byte.is_ascii_hexdigit()).any(|run| run.len() >= 40);
            prop_assert_eq!(looks_like_token(&text), prefixed || long);
        }
    }

    #[test]
    fn what_shows_nothing_is_refused() {
        let hidden = [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200f}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{206a}',
            '\u{206f}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{e01ef}',
        ];
        for character in hidden {
            assert!(Text::<64>::parse(&format!("a{character}b")).is_err(), "{character:?}");
            assert!(format!("a{character}b").parse::<crate::model::SecretPath>().is_err(), "{character:?}");
        }
        for blank in [" ", "\u{a0}", "\u{3000} ", "\t"] {
            assert!(Text::<64>::parse(blank).is_err(), "{blank:?}");
        }
        for text in ["größe", "名前", "नमस्ते", "Ωmega ⟨x⟩", "🦀"] {
            assert!(Text::<64>::parse(text).is_ok(), "{text}");
        }
    }

    // immune: row-40
    #[test]
    fn a_token_in_the_wrong_field_is_refused() {
        let token = format!("STAGE_{}", "0123456789abcdef".repeat(4));
        for text in
            [token.clone(), format!("see {token} please"), token.to_lowercase(), "a1".repeat(20), "Bearer 0123456789abcdef".to_owned()]
        {
            assert!(Text::<512>::parse(&text).is_err(), "{text}");
        }
        for text in ["case 4711", "wepay-stage_old", "0123456789abcdef0123456789abcdef", "stage_ready", "STAGE_0123456789abcde"] {
            assert!(Text::<512>::parse(text).is_ok(), "{text}");
        }
    }
}
