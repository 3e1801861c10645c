//! Names: canonical or refused. There is one spelling of each, so a policy decides on what the store will look up.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::is_nfc;

use super::text::is_invisible;
use super::{Invalid, limits, looks_like_token};

/// The name of a namespace: 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceName(String);

/// The name of a role: spelled as a namespace is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleName(String);

/// The name that the configuration gives an HSM: spelled as a namespace is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HsmName(String);

/// The path of a secret inside its namespace: 1 to 8 segments of 1 to 128 bytes, in NFC, without empty, `.`, `..`,
/// control, invisible or wildcard characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPath(Box<str>);

/// A secret's whole name: `namespace/path/segments`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName {
    /// The namespace, by name.
    pub namespace: NamespaceName,
    /// The path inside it.
    pub path: SecretPath,
}

/// Which paths a grant covers: segments, where `*` stands for any one segment and a last `**` for one or more.
/// `**` alone covers the whole namespace.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathPattern {
    parts: Vec<Part>,
    open_end: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Exactly(String),
    Any,
}

impl SecretPath {
    /// The segments, with slashes between them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, from the outside in.
    pub fn segments(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('/')
    }

    /// Whether `prefix`'s segments are the first of this path's; the empty prefix is that of all.
    #[must_use]
    pub fn starts_with(&self, prefix: &[String]) -> bool {
        self.segments().take(prefix.len()).eq(prefix)
    }

    /// The segments of a prefix: as a path, but none at all is allowed.
    ///
    /// # Errors
    /// As for a path.
    pub fn parse_prefix(text: &str) -> Result<Vec<String>, Invalid> {
        if text.is_empty() { Ok(Vec::new()) } else { text.parse::<Self>().map(|path| path.segments().map(str::to_owned).collect()) }
    }
}

impl PathPattern {
    /// The pattern `**`: the whole namespace.
    #[must_use]
    pub fn everything() -> Self {
        Self { parts: Vec::new(), open_end: true }
    }

    /// Whether this is `**`.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether the path is covered.
    #[must_use]
    pub fn matches(&self, path: &SecretPath) -> bool {
        let mut segments = path.segments();
        self.parts.iter().all(|part| segments.next().is_some_and(|segment| part.matches(segment)))
            && segments.next().is_some() == self.open_end
    }

    /// Whether some path below the prefix (its segments first) could be covered: what a list may begin to look at.
    #[must_use]
    pub fn could_match_below(&self, prefix: &[String]) -> bool {
        let long_enough = self.open_end || prefix.len() < self.parts.len();
        long_enough && self.parts.iter().zip(prefix).all(|(part, segment)| part.matches(segment))
    }
}

impl Part {
    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => wanted == segment,
        }
    }
}

fn check_segment(segment: &str) -> Result<(), Invalid> {
    if segment.is_empty() {
        return Err(Invalid("a segment is empty: no leading, trailing or double slash"));
    }
    if segment.len() > limits::SEGMENT_BYTES {
        return Err(Invalid("a segment is longer than 128 bytes"));
    }
    if segment == "." || segment == ".." {
        return Err(Invalid("`.` and `..` are no segments"));
    }
    if segment.chars().any(|character| matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\')) {
        return Err(Invalid("a segment has a wildcard character: * ? [ ] { } \\"));
    }
    if segment.chars().any(is_invisible) {
        return Err(Invalid("a segment has a control or invisible character"));
    }
    if segment.trim() != segment {
        return Err(Invalid("a segment begins or ends with white space"));
    }
    if !is_nfc(segment) {
        return Err(Invalid("a segment is not in Unicode normalization form C"));
    }
    Ok(())
}

fn checked_plain(text: &str) -> Result<String, Invalid> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > limits::NAME_BYTES || !text.bytes().all(plain) || text.starts_with('-') {
        return Err(Invalid("a name is 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit"));
    }
    if looks_like_token(text) {
        return Err(Invalid("looks like an access token, which has no place in a name"));
    }
    Ok(text.to_owned())
}

impl FromStr for NamespaceName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        checked_plain(text).map(Self)
    }
}

impl FromStr for RoleName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        checked_plain(text).map(Self)
    }
}

impl FromStr for HsmName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        checked_plain(text).map(Self)
    }
}

impl FromStr for SecretPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > limits::PATH_SEGMENTS * (limits::SEGMENT_BYTES + 1) {
            return Err(Invalid("a path has at most 8 segments of 128 bytes"));
        }
        if looks_like_token(text) {
            return Err(Invalid("looks like an access token, which has no place in a name"));
        }
        text.split('/').try_for_each(check_segment)?;
        if text.split('/').count() > limits::PATH_SEGMENTS {
            return Err(Invalid("a path has at most 8 segments"));
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for SecretName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (namespace, path) = text.split_once('/').ok_or(Invalid("a secret's name is namespace/path"))?;
        Ok(Self { namespace: namespace.parse()?, path: path.parse()? })
    }
}

impl FromStr for PathPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > limits::PATH_SEGMENTS * (limits::SEGMENT_BYTES + 1) || looks_like_token(text) {
            return Err(Invalid("a pattern has at most 8 segments of 128 bytes, and no token in it"));
        }
        let (head, open_end) = match text.strip_suffix("**") {
            Some("") => return Ok(Self::everything()),
            Some(head) => (head.strip_suffix('/').ok_or(Invalid("`**` is a whole segment, and the last"))?, true),
            None => (text, false),
        };
        let part = |segment: &str| match segment {
            "*" => Ok(Part::Any),
            _ => check_segment(segment).map(|()| Part::Exactly(segment.to_owned())),
        };
        let parts = head.split('/').map(part).collect::<Result<Vec<_>, _>>()?;
        if parts.len() + usize::from(open_end) > limits::PATH_SEGMENTS {
            return Err(Invalid("a pattern has at most 8 segments"));
        }
        Ok(Self { parts, open_end })
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HsmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.path)
    }
}

impl From<&SecretName> for String {
    fn from(name: &SecretName) -> Self {
        [name.namespace.0.as_str(), name.path.as_str()].join("/")
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|part| match part {
            Part::Exactly(segment) => segment.as_str(),
            Part::Any => "*",
        });
        let all: Vec<_> = parts.chain(self.open_end.then_some("**")).collect();
        f.write_str(&all.join("/"))
    }
}

macro_rules! debug_as_display {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.to_string())
            }
        }
    )+};
}

debug_as_display!(NamespaceName, RoleName, HsmName, SecretPath, SecretName, PathPattern);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> SecretPath {
        text.parse().expect("a test's own path")
    }

    fn pattern(text: &str) -> PathPattern {
        text.parse().expect("a test's own pattern")
    }

    // immune: row-21
    #[test]
    fn a_path_has_one_spelling() {
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "a/../b",
            "a/./b",
            "a/..",
            "e\u{301}",
            "a\u{200b}",
            "a\nb",
            "a\0",
            " a",
            "a ",
            "a/\u{a0}b",
        ] {
            assert!(text.parse::<SecretPath>().is_err(), "{text:?}");
        }
        assert_eq!(path("merchants/12345/é").to_string(), "merchants/12345/é");
        assert_ne!(path("Merchants"), path("merchants"));
    }

    // immune: row-23
    #[test]
    fn wildcards_are_never_names_and_other_signs_are_only_themselves() {
        for text in ["*", "**", "a/*", "a?", "[a]", "{a}", "a\\b"] {
            assert!(text.parse::<SecretPath>().is_err(), "{text:?}");
        }
        assert!(!pattern("+").matches(&path("a")));
        assert!(!pattern("a,b").matches(&path("a")));
        assert!(!pattern("a/b").matches(&path("a")));
        assert!(pattern("a,b").matches(&path("a,b")));
    }

    #[test]
    fn bounds_hold_at_the_edge() {
        let segment = "s".repeat(128);
        assert!([segment.as_str(); 8].join("/").parse::<SecretPath>().is_ok());
        assert!(["x"; 9].join("/").parse::<SecretPath>().is_err());
        assert!("x".repeat(129).parse::<SecretPath>().is_err());
        assert!("x".repeat(63).parse::<NamespaceName>().is_ok());
        assert!("x".repeat(64).parse::<NamespaceName>().is_err());
        assert!("-x".parse::<NamespaceName>().is_err());
        assert!(["*"; 8].join("/").parse::<PathPattern>().is_ok());
        assert!(format!("{}/**", ["*"; 8].join("/")).parse::<PathPattern>().is_err());
    }

    // immune: row-18
    #[test]
    fn role_names_have_no_second_spelling() {
        for spelling in ["ROOT", "Reader", "reader ", "ｒeader", "reader\0", "read/er", ""] {
            assert!(spelling.parse::<RoleName>().is_err(), "{spelling:?}");
        }
    }

    #[test]
    fn patterns_cover_what_they_say() {
        for (text, covered, not) in [
            ("**", vec!["a", "a/b/c"], vec![]),
            ("a/**", vec!["a/b", "a/b/c"], vec!["a", "b/a", "ab/c"]),
            ("a/*", vec!["a/b"], vec!["a", "a/b/c"]),
            ("*/token", vec!["x/token"], vec!["x/y/token", "token"]),
            ("a/b", vec!["a/b"], vec!["a", "a/b/c", "A/b"]),
        ] {
            assert_eq!(pattern(text).to_string(), text);
            covered.iter().for_each(|one| assert!(pattern(text).matches(&path(one)), "{text} covers {one}"));
            not.iter().for_each(|one| assert!(!pattern(text).matches(&path(one)), "{text} does not cover {one}"));
        }
        for text in ["a**", "**/a", "a/**/b", "a*", "", "/", "a/"] {
            assert!(text.parse::<PathPattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_list_begins_only_where_something_could_be_covered() {
        let below = |text: &str, prefix: &str| pattern(text).could_match_below(&SecretPath::parse_prefix(prefix).expect("valid"));
        for (text, prefix) in [("**", ""), ("**", "a/b"), ("a/**", ""), ("a/**", "a"), ("a/**", "a/b/c"), ("a/*", "a"), ("*/token", "x")] {
            assert!(below(text, prefix), "{text} below {prefix:?}");
        }
        for (text, prefix) in [("a/**", "b"), ("a/*", "b"), ("a/*", "a/b"), ("a/b", "a/b"), ("*/token", "x/token"), ("a/b/c", "a/x")] {
            assert!(!below(text, prefix), "{text} below {prefix:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_back_the_same(text in "\\PC{0,40}") {
            if let Ok(path) = text.parse::<SecretPath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }

        #[test]
        fn a_covered_path_lies_below_each_of_its_prefixes(segments in proptest::collection::vec("[ab]", 1..4), parts in proptest::collection::vec("[ab*]", 0..3), open in any::<bool>()) {
            let text = parts.iter().cloned().chain(open.then(|| "**".to_owned())).collect::<Vec<_>>().join("/");
            let (Ok(pattern), Ok(path)) = (text.parse::<PathPattern>(), segments.join("/").parse::<SecretPath>()) else { return Ok(()) };
            if pattern.matches(&path) {
                for length in 0..segments.len() {
                    prop_assert!(pattern.could_match_below(&segments[..length]));
                }
            }
        }
    }
}
