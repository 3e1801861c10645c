//! Makes an archive as a stream: what goes in is encrypted and comes out at once.

use std::collections::BTreeMap;
use std::io::Write;

use age::stream::StreamWriter;

use super::format::{CHANGES, Class, Counts, DIGEST_BYTES, FRAME_BYTES, Kind, MAGIC, Manifest, Trailer, frame_head, put_change, put_row};
use super::{BackupError, Recipient};
use crate::crypto::Sha256;

/// An archive in the making. One that is dropped before [`ArchiveWriter::finish`] is none: whoever reads it finds it cut.
pub struct ArchiveWriter<W: Write> {
    out: StreamWriter<W>,
    digest: Sha256,
    bytes: u64,
    counts: BTreeMap<Class, Counts>,
    changes: u64,
}

/// Where the vault stood when the last row was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The store's revision.
    pub revision: u64,
    /// The policy's generation.
    pub policy_generation: u64,
    /// Everything up to this sequence of the audit log is in the rows.
    pub audit_sequence: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// An archive for these recipients, of which there must be one.
    ///
    /// # Errors
    /// [`BackupError::Key`] without a recipient; [`BackupError::Encrypt`].
    pub fn new(recipients: &[Recipient], manifest: &Manifest, out: W) -> Result<Self, BackupError> {
        let keys: Vec<_> = recipients.iter().map(Recipient::key).collect();
        let encryptor = age::Encryptor::with_recipients(keys.iter().map(|key| key as &dyn age::Recipient));
        let encryptor = encryptor.map_err(|_| BackupError::Key("a backup is encrypted to one recovery recipient at least"))?;
        let out = encryptor.wrap_output(out).map_err(BackupError::Encrypt)?;
        let mut writer = Self { out, digest: Sha256::new(), bytes: 0, counts: BTreeMap::new(), changes: 0 };
        writer.write(MAGIC)?;
        writer.frame(Kind::Manifest, &manifest.encode()?)?;
        Ok(writer)
    }

    /// Rows as the scan met them, after all those before in the order of their keys. A page of the store's.
    ///
    /// # Errors
    /// [`BackupError::Encrypt`].
    pub fn rows<'a>(&mut self, rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<(), BackupError> {
        let mut body = Vec::new();
        for (key, value) in rows {
            put_row(&mut body, key, value);
            self.counts.entry(Class::of(key)).or_default().rows += 1;
        }
        self.frame(Kind::Rows, &body)
    }

    /// What has become of rows since the scan met them, or would have.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] where there are more of them than an archive takes; [`BackupError::Encrypt`].
    pub fn changes<'a>(&mut self, changes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Result<(), BackupError> {
        let mut body = Vec::new();
        for (key, value) in changes {
            put_change(&mut body, key, value);
            let counts = self.counts.entry(Class::of(key)).or_default();
            *(if value.is_some() { &mut counts.puts } else { &mut counts.deletes }) += 1;
            self.changes += 1;
        }
        if self.changes > CHANGES {
            return Err(BackupError::Damaged("more rows change while it is made than it can hold"));
        }
        self.frame(Kind::Changes, &body)
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`BackupError::Encrypt`].
    pub fn finish(mut self, standing: Standing) -> Result<(W, Trailer), BackupError> {
        let Standing { revision, policy_generation, audit_sequence } = standing;
        let (counts, bytes) = (std::mem::take(&mut self.counts), self.bytes);
        let mut trailer = Trailer { revision, policy_generation, audit_sequence, counts, bytes, digest: [0; DIGEST_BYTES] };
        let undigested = trailer.encode_undigested();
        let mut digest = self.digest.clone();
        digest.update(&frame_head(Kind::Trailer, undigested.len() + DIGEST_BYTES));
        digest.update(&undigested);
        trailer.digest = digest.finish();
        self.frame(Kind::Trailer, &trailer.encode())?;
        let out = self.out.finish().map_err(BackupError::Encrypt)?;
        Ok((out, trailer))
    }

    fn frame(&mut self, kind: Kind, body: &[u8]) -> Result<(), BackupError> {
        if body.is_empty() {
            return Ok(());
        }
        assert!(body.len() <= FRAME_BYTES, "a frame holds a page of the store's at most");
        self.write(&frame_head(kind, body.len()))?;
        self.write(body)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(BackupError::Encrypt)
    }
}
