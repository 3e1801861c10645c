//! Hardening of the process: what would write its memory to a disk, or let another process read it, is switched off.

use std::fmt;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// What [`harden`] achieved, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardening {
    /// `RLIMIT_CORE` is 0, also for what this process starts: no core file is written.
    pub core_limit_zero: bool,
    /// `PR_SET_DUMPABLE` is 0: no core goes to a collector either (which the limit does not stop), and only root may attach a
    /// debugger or open this process's `/proc` files.
    pub undumpable: bool,
}

impl Hardening {
    /// Whether everything worked.
    #[must_use]
    pub const fn complete(self) -> bool {
        self.core_limit_zero && self.undumpable
    }
}

impl fmt::Display for Hardening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.core_limit_zero, self.undumpable) {
            (true, true) => "core dumps off, debuggers refused",
            (false, true) => "core limit could not be set, debuggers refused",
            (true, false) => "core files off, but debuggers and core collectors allowed",
            (false, false) => "core dumps and debuggers allowed",
        })
    }
}

/// Switches core dumps and debuggers off for this process. To be called first of all, before any secret is read. It does not fail:
/// a sandbox may forbid either step, and the operator learns from the answer.
#[must_use]
pub fn harden() -> Hardening {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    Hardening {
        core_limit_zero: setrlimit(Resource::Core, nothing).is_ok(),
        undumpable: set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;
    use crate::memory::alone;

    /// Alone: other tests read `/proc/self/mem`, which a hardened process may not.
    #[test]
    fn dumps_and_debuggers_are_off() {
        if alone(module_path!(), "dumps_and_debuggers_are_off") {
            let done = harden();
            assert!(done.complete(), "{done}");
            assert_eq!(getrlimit(Resource::Core).current, Some(0));
            assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        }
    }

    #[test]
    fn the_words_tell_what_did_not_work() {
        let half = Hardening { core_limit_zero: true, undumpable: false };
        assert!(!half.complete());
        assert!(half.to_string().contains("debuggers and core collectors allowed"));
    }
}
