//! Kinds of leaves: what each is for, and how long it may live.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::OfficeError;
use crate::model::Class;
use crate::pki::Usage;

/// What a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The server itself, whose ID its clients pin.
    Server,
    /// A backend.
    Workload,
    /// A person.
    Operator,
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The shortest life of a leaf: it begins a minute ago, so less would be over before it is in place.
const SHORTEST: Duration = Duration::from_secs(5 * 60);

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Workload => "workload",
            Self::Operator => "operator",
        }
    }

    /// Whose authority signs it. The server's is that of programs: it is one.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Server | Self::Workload => Class::Workload,
            Self::Operator => Class::Operator,
        }
    }

    /// Its extended key usage.
    #[must_use]
    pub const fn usage(self) -> Usage {
        match self {
            Self::Server => Usage::Server,
            Self::Workload | Self::Operator => Usage::Client,
        }
    }

    /// How long it lives if nobody says otherwise: 90 days, 30 days, 7 days.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        Duration::from_secs(
            DAY.as_secs()
                * match self {
                    Self::Server => 90,
                    Self::Workload => 30,
                    Self::Operator => 7,
                },
        )
    }

    /// How long it may live: 398 days, 90 days, 31 days.
    #[must_use]
    pub const fn longest(self) -> Duration {
        Duration::from_secs(
            DAY.as_secs()
                * match self {
                    Self::Server => 398,
                    Self::Workload => 90,
                    Self::Operator => 31,
                },
        )
    }

    pub(super) fn checked(self, lifetime: Duration) -> Result<Duration, OfficeError> {
        if lifetime < SHORTEST || lifetime > self.longest() {
            let (word, days) = (self.word(), self.longest().as_secs() / DAY.as_secs());
            return Err(OfficeError::Invalid(format!("a certificate of kind {word} lives for 5 minutes at least and {days} days at most")));
        }
        Ok(lifetime)
    }
}
