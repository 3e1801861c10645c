//! Keys, values, rows, pages and revisions.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::model::{Invalid, limits};

/// Longest key, in bytes.
pub const KEY_BYTES: usize = 512;
/// Longest value, in bytes: the longest payload and metadata, and 8 KiB for keys, ids and tags around them. The embedded
/// store relies on it: a leaf of its tree holds some 20 rows and must stay under a quarter of a segment.
pub const VALUE_BYTES: usize = limits::PAYLOAD_BYTES + limits::METADATA_BYTES + 8 * 1024;
/// Keys of one [`Store::get`](super::Store::get): etcd's bound for the operations of one transaction.
pub const GET_KEYS: usize = 128;
/// Rows of one page.
pub const PAGE_ROWS: usize = limits::PAGE_ITEMS;
/// Bytes of values after which a page ends early.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The key of a row: 1 to [`KEY_BYTES`] bytes. Cloning it shares the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

/// The value of a row: ciphertext. Cloning it shares the bytes; a value that was read shares them with the store's cache.
#[derive(Clone)]
pub struct Value(Arc<dyn AsRef<[u8]> + Send + Sync>);

/// The store's number of a commit, and so of a row's last change; 0 = there is no such row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(u64);

/// What lies under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Of the commit that wrote it last.
    pub revision: Revision,
    /// The bytes.
    pub value: Value,
}

/// How many rows a page may have: 1 to [`PAGE_ROWS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(usize);

/// Rows in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Possibly fewer than asked for, but never none while there is more.
    pub rows: Vec<(Key, Row)>,
    /// Whether rows follow: ask again after the last key.
    pub more: bool,
}

impl Key {
    /// From bytes.
    ///
    /// # Errors
    /// None, or more than [`KEY_BYTES`].
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, Invalid> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > KEY_BYTES {
            return Err(Invalid("a key is 1 to 512 bytes"));
        }
        Ok(Self(bytes))
    }

    /// The prefix of every key. It is itself the key of no row.
    #[must_use]
    pub fn everything() -> Self {
        Self(Arc::from([]))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Value {
    /// Over bytes that somebody else holds, without a copy.
    pub(super) fn sharing(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::sharing(bytes)
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl Revision {
    /// Of no row: expected where none may be.
    pub const ABSENT: Self = Self(0);

    /// From its number.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after it.
    pub(super) fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("2^64 commits outlast every disk"))
    }
}

impl PageSize {
    /// The longest page.
    pub const MAX: Self = Self(PAGE_ROWS);

    /// From a number of rows.
    ///
    /// # Errors
    /// 0, or more than [`PAGE_ROWS`].
    pub fn new(rows: usize) -> Result<Self, Invalid> {
        if rows == 0 || rows > PAGE_ROWS { Err(Invalid("a page has 1 to 1000 rows")) } else { Ok(Self(rows)) }
    }

    /// The number of rows.
    #[must_use]
    pub const fn rows(self) -> usize {
        self.0
    }
}

impl Page {
    /// Takes rows in order until a bound is reached. `rows` are those that follow the page's start, and may go on for ever.
    pub(super) fn gather<E>(rows: impl Iterator<Item = Result<(Key, Row), E>>, limit: PageSize) -> Result<Self, E> {
        let mut page = Self { rows: Vec::new(), more: false };
        let mut bytes = 0;
        for row in rows {
            let (key, row) = row?;
            if page.rows.len() == limit.rows() || bytes >= PAGE_BYTES {
                page.more = true;
                break;
            }
            bytes += row.value.len();
            page.rows.push((key, row));
        }
        Ok(page)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// In hexadecimal.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// The length alone.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_the_edge() {
        assert!(Key::new(vec![0; KEY_BYTES]).is_ok());
        assert!(Key::new(vec![0; KEY_BYTES + 1]).is_err());
        assert!(Key::new(Vec::new()).is_err());
        assert!(PageSize::new(PAGE_ROWS).is_ok());
        assert!(PageSize::new(PAGE_ROWS + 1).is_err());
        assert!(PageSize::new(0).is_err());
    }

    #[test]
    fn a_page_ends_early_rather_than_fill_the_memory() {
        let row = |number: u32| {
            let key = Key::new(number.to_be_bytes().to_vec()).expect("4 bytes");
            Ok::<_, ()>((key, Row { revision: Revision(1), value: vec![0; VALUE_BYTES].into() }))
        };
        let page = Page::gather((0..).map(row), PageSize::MAX).expect("no errors");
        assert_eq!(page.rows.len(), PAGE_BYTES.div_ceil(VALUE_BYTES));
        assert!(page.more);
    }

    #[test]
    fn a_value_shows_its_length_alone() {
        assert_eq!(format!("{:?}", Value::from(b"canary".to_vec())), "Value(6 bytes)");
    }
}
