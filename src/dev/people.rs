//! Who is in a throwaway vault.

use crate::model::{SpiffeId, TrustDomain};

/// The domain of programs, the server's included.
pub(super) const WORKLOADS: &str = "apps.dev";
/// The domain of people.
pub(super) const OPERATORS: &str = "people.dev";
/// The namespace that is there from the start.
pub(super) const NAMESPACE: &str = "wepay-stage";

/// Somebody with a certificate and a profile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    pub(super) name: &'static str,
    domain: &'static str,
}

/// Stores and reads tokens.
pub(super) const BACKEND: Person = Person { name: "backend", domain: WORKLOADS };
/// Has no role.
pub(super) const OUTSIDER: Person = Person { name: "outsider", domain: WORKLOADS };
/// Has no role until an administrator gives one.
pub(super) const OPERATOR: Person = Person { name: "operator", domain: OPERATORS };
/// Administers access, and unseals.
pub(super) const ADMIN: Person = Person { name: "admin", domain: OPERATORS };
/// Rotates keys.
pub(super) const KEY_ADMIN: Person = Person { name: "key-admin", domain: OPERATORS };
/// Reads the audit log.
pub(super) const AUDITOR: Person = Person { name: "auditor", domain: OPERATORS };

/// All of them.
pub(super) const ALL: [Person; 6] = [BACKEND, OUTSIDER, OPERATOR, ADMIN, KEY_ADMIN, AUDITOR];

impl Person {
    pub(super) fn id(self) -> SpiffeId {
        format!("spiffe://{}/{}", self.domain, self.name).parse().expect("the names of this file are canonical")
    }

    pub(super) fn is_operator(self) -> bool {
        self.domain == OPERATORS
    }
}

/// The server's own id, which every profile pins.
pub(super) fn server_id() -> SpiffeId {
    format!("spiffe://{WORKLOADS}/strongroom").parse().expect("the names of this file are canonical")
}

pub(super) fn domain(text: &str) -> TrustDomain {
    text.parse().expect("the domains of this file are canonical")
}
