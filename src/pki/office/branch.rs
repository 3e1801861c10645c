//! One authority of the office, and its files:
//!
//! ```text
//! ca.pem  ca.key       the authority
//! register.json        every leaf that it issued, and the number of its last list
//! crl.pem              that list
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::OfficeError;
use super::register::{ListRecord, Register};
use crate::model::{Class, Timestamp, TrustDomain};
use crate::pki::files::read_private;
use crate::pki::{Authority, PkiError, private_folder, write_private};

/// One half of the office.
pub(super) struct Branch {
    class: Class,
    folder: PathBuf,
}

/// A revocation list that lies in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Whose certificates it takes back.
    pub class: Class,
    /// Where it is.
    pub path: PathBuf,
    /// Its number: each is higher than every one before.
    pub number: u64,
    /// Its start.
    pub this_update: Timestamp,
    /// Its end: by then the server needs the next.
    pub next_update: Timestamp,
}

impl Branch {
    pub(super) fn of(class: Class, office: &Path) -> Self {
        let name = match class {
            Class::Workload => "workloads",
            Class::Operator => "operators",
        };
        Self { class, folder: office.join(name) }
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(super) fn list(&self) -> PathBuf {
        self.folder.join("crl.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    fn books(&self) -> PathBuf {
        self.folder.join("register.json")
    }

    /// Makes the authority, empty books and list number 1.
    pub(super) fn create(&self, name: &str, domain: TrustDomain, now: Timestamp, life_of_list: Duration) -> Result<(), OfficeError> {
        private_folder(&self.folder)?;
        Authority::create(name, domain, now)?.save(&self.certificate(), &self.key())?;
        let mut register = Register::new(ListRecord { number: 0, this_update: now, next_update: now });
        self.next_list(&mut register, life_of_list, 0, now).map(drop)
    }

    pub(super) fn authority(&self) -> Result<Authority, OfficeError> {
        Ok(Authority::load(&self.certificate(), &self.key())?)
    }

    pub(super) fn register(&self) -> Result<Register, OfficeError> {
        let path = self.books();
        Register::parse(&read_private(&path)?).map_err(|why| OfficeError::Damaged { path, why })
    }

    pub(super) fn keep(&self, register: &Register) -> Result<(), PkiError> {
        write_private(&self.books(), &register.text())
    }

    /// Keeps the books, and puts a new list of all that they say was taken back in its place. Its number is in the books
    /// before the list is made: whatever happens in between, no number is ever given to two lists.
    pub(super) fn next_list(&self, register: &mut Register, life: Duration, above: u64, now: Timestamp) -> Result<List, OfficeError> {
        let highest = register.list.number.max(above);
        let number = highest.checked_add(1).ok_or_else(|| OfficeError::Invalid("there is no number above that one".to_owned()))?;
        register.list = ListRecord { number, this_update: now, next_update: now.plus(life) };
        self.keep(register)?;
        let list = self.shown(&register.list);
        let text = self.authority()?.revocation_list(&register.revoked(), number, now, list.next_update)?;
        write_private(&list.path, &text)?;
        Ok(list)
    }

    /// The last list, as the books have it.
    pub(super) fn shown(&self, record: &ListRecord) -> List {
        let ListRecord { number, this_update, next_update } = *record;
        List { class: self.class, path: self.list(), number, this_update, next_update }
    }
}
