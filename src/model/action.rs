//! Actions: the one closed list of what a principal can be allowed to do.

use std::fmt;
use std::str::FromStr;

use super::Invalid;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $bit:literal, $word:literal;)+) => {
        /// What a call wants to do. No action implies another; [`Action::Reveal`], by which plaintext leaves, least of all.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Action {
            $($(#[$doc])* $variant = $bit,)+
        }

        impl Action {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it, as it stands in roles, audit entries and errors.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl FromStr for Action {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Invalid("not an action: they are describe, reveal, use, create, update, destroy, verify, rotate, administer, approve, audit, operate")),
                }
            }
        }
    };
}

actions! {
    /// See that a secret exists, its state, times, labels, provider and subject; never its value.
    Describe = 0, "describe";
    /// Receive a value in the clear.
    Reveal = 1, "reveal";
    /// Have the vault use a value on the caller's behalf, without receiving it.
    Use = 2, "use";
    /// Store a value under a name that holds none.
    Create = 3, "create";
    /// Replace a value, or change its labels, expiry or state.
    Update = 4, "update";
    /// Destroy, restore or purge a secret.
    Destroy = 5, "destroy";
    /// Compare a password with a stored one.
    Verify = 6, "verify";
    /// Make and list key versions.
    Rotate = 7, "rotate";
    /// Create namespaces; make roles and bind them to principals.
    Administer = 8, "administer";
    /// Confirm what another person proposed.
    Approve = 9, "approve";
    /// Read the audit log.
    Audit = 10, "audit";
    /// See the vault's condition, seal and unseal it.
    Operate = 11, "operate";
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A set of actions: one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ActionSet(u16);

impl ActionSet {
    /// No action at all.
    pub const EMPTY: Self = Self(0);

    /// The set of the actions given.
    #[must_use]
    pub const fn of(actions: &[Action]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < actions.len() {
            bits |= 1 << actions[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// Whether the action is in it.
    #[must_use]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions in it, in the order of [`Action::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.iter().copied().filter(move |action| self.contains(*action))
    }

    /// The bits, as they stand in policy rows: bit n is the action with number n.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set with these bits.
    ///
    /// # Errors
    /// A bit that is no action's.
    pub fn from_bits(bits: u16) -> Result<Self, Invalid> {
        if bits >> Action::ALL.len() != 0 {
            return Err(Invalid("a bit that is no action's"));
        }
        Ok(Self(bits))
    }
}

impl FromIterator<Action> for ActionSet {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Self::EMPTY, |set, action| set.union(Self::of(&[action])))
    }
}

impl fmt::Debug for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(Action::word).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_exact() {
        for action in Action::ALL {
            assert_eq!(action.word().parse::<Action>(), Ok(*action));
        }
        // immune: row-18
        for spelling in ["Reveal", "REVEAL", "reveal ", " reveal", "ｒeveal", "", "*"] {
            assert!(spelling.parse::<Action>().is_err(), "{spelling:?}");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set = ActionSet::of(&[Action::Describe, Action::Operate]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Action::Describe, Action::Operate]);
        assert_eq!(ActionSet::from_bits(set.bits()), Ok(set));
        assert!(ActionSet::from_bits(1 << 12).is_err());
        assert_eq!(set.to_string(), "describe, operate");
    }
}
