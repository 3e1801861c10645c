//! What opens one slot, all at once: for a host that restores a vault, where nobody can come by and give a share.

use super::{Added, Header, OpenSlot, Passphrase, SealError, Share};
use crate::model::SecretBytes;

/// What opens a slot. Wiped when dropped.
#[derive(Debug)]
pub enum SlotKey {
    /// The passphrase of a passphrase slot.
    Passphrase(Passphrase),
    /// As many shares of one quorum slot as it needs, or more.
    Shares(Vec<Share>),
}

impl SlotKey {
    /// A passphrase, as it was typed.
    ///
    /// # Errors
    /// As for [`Passphrase::parse`].
    pub fn passphrase(typed: &SecretBytes) -> Result<Self, SealError> {
        Passphrase::parse(typed).map(Self::Passphrase)
    }

    /// Shares, as they were typed, in any order.
    ///
    /// # Errors
    /// As for [`Share::parse`].
    pub fn shares(typed: &[SecretBytes]) -> Result<Self, SealError> {
        Ok(Self::Shares(typed.iter().map(Share::parse).collect::<Result<_, _>>()?))
    }

    /// Opens the slot of the header that this is the key of. Not for an asynchronous thread: see [`Header::open`]. Shares beyond those
    /// that the slot needs are not looked at.
    ///
    /// # Errors
    /// As for [`Header::open`] and [`Quorum::add`](super::Quorum::add); [`SealError::TooFewShares`].
    pub fn open(self, header: &Header) -> Result<OpenSlot, SealError> {
        let shares = match self {
            Self::Passphrase(passphrase) => return header.open(&passphrase),
            Self::Shares(shares) => shares,
        };
        let mut quorum = header.quorum_of(shares.first().ok_or(SealError::NoSlotOpens)?)?;
        for share in shares {
            if let Added::Open(open) = quorum.add(header, share)? {
                return Ok(open);
            }
        }
        Err(SealError::TooFewShares { given: quorum.present(), needed: quorum.size().threshold() })
    }
}
