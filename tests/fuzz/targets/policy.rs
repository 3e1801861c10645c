//! Patterns: what is accepted comes back the same, and matches no path that it should not, against a matcher of another make.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom::model::{PathPattern, SecretPath};

/// Segment by segment: `*` is one, `**` at the end is one or more of what follows.
fn matches(pattern: &[&str], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (Some((&"**", [])), path) => path.is_some(),
        (Some((&"*", pattern)), Some((_, path))) => matches(pattern, path),
        (Some((word, pattern)), Some((segment, path))) => word == segment && matches(pattern, path),
        (None, None) => true,
        _ => false,
    }
}

fuzz_target!(|texts: (&str, &str)| {
    let (Ok(pattern), Ok(path)) = (texts.0.parse::<PathPattern>(), texts.1.parse::<SecretPath>()) else { return };
    assert_eq!(pattern.to_string(), texts.0);
    let words: Vec<_> = texts.0.split('/').collect();
    assert_eq!(pattern.matches(&path), matches(&words, path.segments()));
});
