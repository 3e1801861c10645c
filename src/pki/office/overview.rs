//! What is there, and what needs somebody's hand soon.

use std::path::PathBuf;
use std::time::Duration;

use super::branch::{List, number_in};
use super::register::{Registered, State};
use super::{Office, OfficeError};
use crate::model::{Class, Timestamp, TrustDomain};

/// Whatever ends so soon is spoken of, once half of its life is over.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// An authority is spoken of a year before its end: its successor must be trusted everywhere by then.
const LAST_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// All that the books say.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The authorities.
    pub authorities: Vec<Standing>,
    /// All leaves that the books have: every one whose end is no more than a year ago, and maybe older ones. What ends soonest is
    /// first.
    pub leaves: Vec<Registered>,
    /// What to see to, in sentences.
    pub warnings: Vec<String>,
}

/// One authority.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The class of whom it certifies.
    pub class: Class,
    /// Whose IDs it signs.
    pub domain: TrustDomain,
    /// The file of its certificate: the root to trust.
    pub certificate: PathBuf,
    /// Its end.
    pub not_after: Timestamp,
    /// Its last list.
    pub list: List,
}

impl Office {
    /// What is there by `now`.
    ///
    /// # Errors
    /// What the operating system says, or books that cannot be read.
    pub fn overview(&self, now: Timestamp) -> Result<Overview, OfficeError> {
        let (mut authorities, mut leaves, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for branch in self.branches() {
            let (authority, register) = (branch.authority()?, branch.register()?);
            let list = branch.shown(&register.list);
            let (domain, certificate) = (authority.trust_domain().clone(), branch.certificate());
            let standing = Standing { class: list.class, domain, certificate, not_after: authority.not_after(), list };
            warnings.extend(standing.warnings(now));
            authorities.push(standing);
            leaves.extend(register.leaves);
        }
        leaves.sort_by(|one, other| (one.not_after, &one.serial).cmp(&(other.not_after, &other.serial)));
        warnings.extend(leaves.iter().filter(|leaf| needs_renewal(leaf, &leaves, now)).map(|leaf| {
            let (kind, id, when) = (leaf.kind.word(), &leaf.id, leaf.not_after);
            format!("the {kind} certificate of {id} ends on {when}: renew it")
        }));
        Ok(Overview { authorities, leaves, warnings })
    }
}

impl Standing {
    fn warnings(&self, now: Timestamp) -> Vec<String> {
        let (class, list) = (self.class.word(), &self.list);
        let mut warnings = Vec::new();
        if self.not_after.since(now) < LAST_YEAR {
            warnings.push(format!("the authority of class {class} ends on {}: let a new PKI be trusted beside it in time", self.not_after));
        }
        if ends_soon(list.this_update, list.next_update, now) {
            let end = list.next_update;
            warnings.push(format!("the revocation list of class {class} ends on {end}: `strongroom pki crl`, then give it to the server"));
        }
        if number_in(&list.path) != Some(list.number) {
            let path = list.path.display();
            warnings
                .push(format!("{path} is not list number {}, the last of the register: `strongroom pki crl` makes another", list.number));
        }
        warnings
    }
}

/// Whether it ends soon, and no other leaf takes its place.
fn needs_renewal(leaf: &Registered, leaves: &[Registered], now: Timestamp) -> bool {
    let replaces = |other: &Registered| {
        other.id == leaf.id && other.kind == leaf.kind && other.not_after > leaf.not_after && other.state(now) == State::Valid
    };
    leaf.state(now) == State::Valid && ends_soon(leaf.not_before, leaf.not_after, now) && !leaves.iter().any(replaces)
}

fn ends_soon(start: Timestamp, end: Timestamp, now: Timestamp) -> bool {
    let rest = end.since(now);
    rest <= SOON && rest <= end.since(start) / 2
}
