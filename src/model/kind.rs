//! What a secret is, and which world it belongs to.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

/// What a secret's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// Bytes that mean nothing to the vault.
    Opaque,
    /// A token of a provider, with subject, scopes, type and expiry.
    AccessToken,
}

impl SecretKind {
    /// The word for it in tables and audit entries.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::AccessToken => "access_token",
        }
    }
}

/// Stage and production are separate worlds: a token of the one is refused by a namespace of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Play money.
    Stage,
    /// Real money.
    Production,
}

impl Environment {
    /// The word for it in tables, configuration and audit entries.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Production => "production",
        }
    }

    /// The environment that a token names by its own prefix, if it names one: `STAGE_` and `PRODUCTION_` are WePay's
    /// user tokens, `stage_` and `prod_` its application tokens.
    #[must_use]
    pub fn named_by(token: &[u8]) -> Option<Self> {
        let starts = |prefix: &str| token.starts_with(prefix.as_bytes());
        if starts("STAGE_") || starts("stage_") {
            Some(Self::Stage)
        } else if starts("PRODUCTION_") || starts("production_") || starts("prod_") || starts("PROD_") {
            Some(Self::Production)
        } else {
            None
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Environment {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "stage" => Ok(Self::Stage),
            "production" => Ok(Self::Production),
            _ => Err(Invalid("an environment is stage or production")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_names_the_world() {
        assert_eq!(Environment::named_by(b"STAGE_0a"), Some(Environment::Stage));
        assert_eq!(Environment::named_by(b"prod_0a"), Some(Environment::Production));
        assert_eq!(Environment::named_by(b"PRODUCTION_0a"), Some(Environment::Production));
        assert_eq!(Environment::named_by(b"xPRODUCTION_0a"), None);
        assert_eq!(Environment::named_by(b""), None);
    }
}
