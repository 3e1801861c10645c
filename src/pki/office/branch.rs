//! One authority of the office, and its files:
//!
//! ```text
//! ca.pem  ca.key       the authority
//! register.json        every leaf that it issued, and the number of its last list
//! crl.pem              that list
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::OfficeError;
use super::register::{ListRecord, Register, Registered};
use crate::model::{Class, Timestamp, TrustDomain};
use crate::pki::files::{FILE_BYTES, read_private};
use crate::pki::{Authority, private_folder, write_private};

/// Longest books to which a leaf is added: some 180,000 of them. Taking one back must never fail for want of room, and to say so
/// takes less than 120 bytes, which is three fifths of the shortest leaf at most; so three eighths are left for that.
const ISSUE_BYTES: u64 = FILE_BYTES / 8 * 5;

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

    /// Adds a leaf to the books.
    pub(super) fn add(&self, leaf: Registered, now: Timestamp) -> Result<(), OfficeError> {
        let mut register = self.register()?;
        self.forget(&mut register, now);
        register.leaves.push(leaf);
        self.keep(&register, ISSUE_BYTES)
    }

    /// Keeps the books, and puts a new list of all that they say was taken back in its place. Its number is in the books
    /// before the list is made: whatever happens in between, no number is ever given to two lists.
    pub(super) fn next_list(&self, register: &mut Register, life: Duration, above: u64, now: Timestamp) -> Result<List, OfficeError> {
        let highest = register.list.number.max(above);
        let number = highest.checked_add(1).ok_or_else(|| OfficeError::Invalid("there is no number above that one".to_owned()))?;
        self.forget(register, now);
        register.list = ListRecord { number, this_update: now, next_update: now.plus(life) };
        self.keep(register, FILE_BYTES)?;
        let list = self.shown(&register.list);
        let text = self.authority()?.revocation_list(&register.revoked(), number, now, list.next_update)?;
        write_private(&list.path, &text)?;
        Ok(list)
    }

    /// Drops what ended long ago, if the last list of the books came to be: a crash may have left its number alone.
    fn forget(&self, register: &mut Register, now: Timestamp) {
        if number_in(&self.list()) == Some(register.list.number) {
            register.forget(now);
        }
    }

    /// No longer than they can be read again.
    fn keep(&self, register: &Register, most_bytes: u64) -> Result<(), OfficeError> {
        let text = register.text();
        if text.len() as u64 > most_bytes {
            return Err(OfficeError::Full { path: self.books(), most_mib: most_bytes >> 20 });
        }
        Ok(write_private(&self.books(), &text)?)
    }

    /// The last list, as the books have it.
    pub(super) fn shown(&self, record: &ListRecord) -> List {
        let ListRecord { number, this_update, next_update } = *record;
        List { class: self.class, path: self.list(), number, this_update, next_update }
    }
}

/// The number of the list that lies there.
pub(super) fn number_in(path: &Path) -> Option<u64> {
    let der = CertificateRevocationListDer::from_pem_file(path).ok()?;
    let (_, list) = CertificateRevocationList::from_der(&der).ok()?;
    list.crl_number()?.to_string().parse().ok()
}
