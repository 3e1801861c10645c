//! Ids: 16 random bytes, written as 32 lowercase hex digits. Each has its own type, so that one cannot stand for another.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps 16 bytes that came from a random generator or from a row.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, as they stand in rows and authenticate contexts.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                const WHY: Invalid = Invalid("an id is 32 lowercase hex digits");
                if text.len() != 32 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    return Err(WHY);
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| WHY)?;
                Ok(Self(bytes))
            }
        }
    )+};
}

ids! {
    /// One vault: born by `init`, pinned in the configuration, part of every authenticate context.
    VaultId,
    /// One namespace. Bindings and rows refer to it, so a namespace made again under an old name inherits nothing.
    NamespaceId,
    /// One secret, whatever its versions.
    SecretId,
    /// One slot: an independent way to the root key.
    SlotId,
    /// One binding of a role to a principal.
    BindingId,
    /// One proposal: what somebody wants to be done, for another person to confirm.
    ProposalId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        let id = NamespaceId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string().parse::<NamespaceId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<NamespaceId>().is_err());
        assert!("ab".parse::<NamespaceId>().is_err());
        assert!("zz".repeat(16).parse::<NamespaceId>().is_err());
    }
}
