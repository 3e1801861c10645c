//! Names and texts: what is accepted is canonical, comes back the same, and shows nothing that cannot be seen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom::model::{NamespaceName, SecretName, SecretPath, SpiffeId, Text, TrustDomain};

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
    same!(NamespaceName, SecretName, SecretPath, SpiffeId, TrustDomain);
    if let Ok(kept) = Text::<255>::parse(text) {
        assert!(kept.as_str() == text && text.len() <= 255 && !text.chars().any(char::is_control));
    }
});
