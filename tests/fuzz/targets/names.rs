//! Names and texts: what is accepted is canonical, comes back the same, and shows nothing that cannot be seen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom::model::{NamespaceName, PathPattern, RoleName, SecretName, SecretPath, SpiffeId, Text, TrustDomain};

fuzz_target!(|text: &str| {
    macro_rules! same {
        ($($kind:ty),*) => {$(
            if let Ok(name) = text.parse::<$kind>() {
                assert_eq!(name.to_string(), text);
                assert!(!text.chars().any(char::is_control));
                assert_eq!(name.to_string().parse::<$kind>().as_ref(), Ok(&name));
            }
        )*};
    }
    same!(NamespaceName, RoleName, SecretName, SecretPath, PathPattern, SpiffeId, TrustDomain);
    if let Ok(path) = text.parse::<SecretPath>() {
        assert_eq!(path.segments().collect::<Vec<_>>().join("/"), text);
        let prefix = SecretPath::parse_prefix(text).expect("a path is a prefix");
        assert!(path.starts_with(&prefix) && PathPattern::everything().matches(&path));
    }
    if let Ok(kept) = Text::<255>::parse(text) {
        assert!(kept.as_str() == text && text.len() <= 255 && !text.chars().any(char::is_control));
    }
});
