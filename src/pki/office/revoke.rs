//! Taking leaves back, and the lists that say so.

use std::path::PathBuf;
use std::time::Duration;

use super::branch::List;
use super::register::{Registered, State};
use super::{Office, OfficeError};
use crate::model::{Class, SpiffeId, Timestamp};
use crate::pki::Reason;

/// Which leaves are meant.
#[derive(Debug, Clone)]
pub enum Which {
    /// The one in this file.
    File(PathBuf),
    /// The one of this number, as `openssl` or the audit log print it.
    Serial(String),
    /// All of this ID that are good still.
    Holder(SpiffeId),
}

/// What was taken back.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The leaves; one that was taken back before keeps its time and reason.
    pub leaves: Vec<Registered>,
    /// A new list for each authority that is concerned.
    pub lists: Vec<List>,
}

impl Office {
    /// Takes leaves back, and makes a new list at once, as long-lived as the last. Doing it again makes another list and
    /// changes nothing else, so after a crash it is simply done again.
    ///
    /// # Errors
    /// No such leaf, or what the operating system says.
    pub fn revoke(&self, which: &Which, reason: Reason, now: Timestamp) -> Result<Revocation, OfficeError> {
        let mut done = Revocation { leaves: Vec::new(), lists: Vec::new() };
        let named = self.named(which, now)?;
        for branch in self.branches() {
            let mut register = branch.register()?;
            let leaves: Vec<_> = named.iter().filter_map(|serial| register.revoke(serial, now, reason).cloned()).collect();
            if !leaves.is_empty() {
                let life = register.list.next_update.since(register.list.this_update);
                done.lists.push(branch.next_list(&mut register, life, 0, now)?);
                done.leaves.extend(leaves);
            }
        }
        Ok(done)
    }

    /// New lists of what was taken back so far, good for so long. Their numbers are above the last ones, and above `above`:
    /// an office that was put back from a copy may have forgotten some.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn lists(&self, life: Duration, above: u64, now: Timestamp) -> Result<Vec<List>, OfficeError> {
        self.branches().iter().map(|branch| branch.next_list(&mut branch.register()?, life, above, now)).collect()
    }

    /// The serial numbers that are meant: one at least, and all of them in the books.
    fn named(&self, which: &Which, now: Timestamp) -> Result<Vec<String>, OfficeError> {
        let found = match which {
            Which::File(path) => return self.registered(path).map(|(_, leaf)| vec![leaf.serial]),
            Which::Serial(text) => {
                let serial: String = text.chars().filter(|&character| character != ':').collect::<String>().to_lowercase();
                self.serials(|leaf| leaf.serial == serial)?
            }
            Which::Holder(id) => self.serials(|leaf| leaf.id == *id && leaf.state(now) == State::Valid)?,
        };
        if found.is_empty() {
            let why = match which {
                Which::Holder(id) => format!("no certificate of {id} is good: `strongroom pki list` shows what is there"),
                _ => "this PKI has issued no certificate of that serial number: `strongroom pki list --all` shows what is there".to_owned(),
            };
            return Err(OfficeError::Unknown(why));
        }
        Ok(found)
    }

    fn serials(&self, is_meant: impl Fn(&Registered) -> bool) -> Result<Vec<String>, OfficeError> {
        let mut found = Vec::new();
        for class in [Class::Workload, Class::Operator] {
            let register = self.branch(class).register()?;
            found.extend(register.leaves.into_iter().filter(|leaf| is_meant(leaf)).map(|leaf| leaf.serial));
        }
        Ok(found)
    }
}
