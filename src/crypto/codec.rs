//! Reading and writing the hand-written records: integers big-endian, `lp` a `u16` length and then the bytes.
//!
//! Every record has exactly one encoding: a reader that accepts bytes re-encodes them to the same bytes, so that what was
//! authenticated is what was read.

use crate::model::Invalid;

/// Reads a record from its start; every step is bounds-checked.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `length` bytes.
    pub(crate) fn slice(&mut self, length: usize) -> Result<&'a [u8], Invalid> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Invalid("cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Invalid("cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    /// A byte.
    pub(crate) fn u8(&mut self) -> Result<u8, Invalid> {
        self.array().map(|[byte]| byte)
    }

    /// Two bytes.
    pub(crate) fn u16(&mut self) -> Result<u16, Invalid> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32, Invalid> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub(crate) fn u64(&mut self) -> Result<u64, Invalid> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length and that many bytes.
    pub(crate) fn length_prefixed(&mut self) -> Result<&'a [u8], Invalid> {
        let length = self.u16()?;
        self.slice(usize::from(length))
    }

    /// What follows.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The record ends here.
    pub(crate) fn finish(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid("bytes after the end")) }
    }
}

/// Appends `lp(bytes)`.
pub(crate) fn put_length_prefixed(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Invalid> {
    let length = u16::try_from(bytes.len()).map_err(|_| Invalid("longer than 65,535 bytes"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_goes_past_the_end_and_none_is_left() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 1, 9]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert!(reader.u32().is_err());
        assert_eq!(reader.length_prefixed(), Ok(&[9][..]));
        assert!(reader.u8().is_err());
        assert_eq!(reader.finish(), Ok(()));
        assert!(Reader::new(&[0]).finish().is_err());
        assert!(Reader::new(&[255, 255, 0]).length_prefixed().is_err());
    }

    #[test]
    fn a_length_that_does_not_fit_is_refused_not_cut() {
        let mut out = Vec::new();
        assert!(put_length_prefixed(&mut out, &[0; 65_536]).is_err());
        assert!(put_length_prefixed(&mut out, &[7; 65_535]).is_ok());
        assert_eq!(out.len(), 2 + 65_535);
    }
}
