//! Reads an archive from a file. The first reading goes to its end and gives nothing out but the evidence that it is whole;
//! only with that are the rows given out, in a second one.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use age::DecryptError;

use super::format::{CHANGES, Class, Counts, FRAME_BYTES, Kind, MAGIC, Manifest, Trailer, each_change, each_row, frame_head};
use super::{BackupError, Identity};
use crate::crypto::Sha256;

/// What is read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// An archive's file, and what decrypts it.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    file: File,
    identity: Identity,
}

/// The evidence that an archive is whole, and what was found.
#[derive(Debug)]
pub struct Verified {
    /// Whose rows they are.
    pub manifest: Manifest,
    /// How they stood.
    pub trailer: Trailer,
    /// Rows by class, each counted once, as a restore would make them.
    pub rows: BTreeMap<Class, u64>,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file, which its maker printed, too.
    pub sha256: [u8; 32],
    /// How many words there are on each changed key: the last one counts.
    words: HashMap<Vec<u8>, u32>,
}

/// Whether a file begins like an archive. All that can be said without an identity.
///
/// # Errors
/// [`BackupError::File`], [`BackupError::NoArchive`].
pub fn check_header(path: &Path) -> Result<(), BackupError> {
    let file = File::open(path).map_err(|source| BackupError::File { path: path.to_owned(), source })?;
    age::Decryptor::new_buffered(BufReader::new(file.take(BUFFER_BYTES as u64))).map(drop).map_err(|_| BackupError::NoArchive)
}

impl Archive {
    /// Opens the file.
    ///
    /// # Errors
    /// [`BackupError::File`].
    pub fn open(path: &Path, identity: Identity) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(|source| BackupError::File { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, identity })
    }

    /// Reads it to its end. `look` sees each row and each word on a changed key, and is to do nothing for good.
    ///
    /// # Errors
    /// [`BackupError::NotForYou`], [`BackupError::NoArchive`], [`BackupError::Damaged`], [`BackupError::Malformed`].
    pub fn verify(&mut self, mut look: impl FnMut(&[u8], Option<&[u8]>)) -> Result<Verified, BackupError> {
        let (mut rows, mut words): (BTreeMap<Class, u64>, HashMap<Vec<u8>, u32>) = (BTreeMap::new(), HashMap::new());
        let mut present: HashMap<Vec<u8>, bool> = HashMap::new();
        let (manifest, trailer, bytes, sha256) = self.pass(|item| {
            match item {
                Item::Row(key, value) => {
                    *rows.entry(Class::of(key)).or_default() += 1;
                    look(key, Some(value));
                }
                Item::Change(key, value) => {
                    *words.entry(key.to_vec()).or_default() += 1;
                    present.insert(key.to_vec(), value.is_some());
                    look(key, value);
                }
            }
            Ok::<_, BackupError>(())
        })?;
        let mut verified = Verified { manifest, trailer, rows, bytes, sha256, words };
        self.settle_counts(&mut verified, &present)?;
        Ok(verified)
    }

    /// Gives out each row once, as it stood at the archive's revision.
    ///
    /// # Errors
    /// The visitor's; [`BackupError::Damaged`] where the file has changed since it was verified, and then what was given out is
    /// worth nothing.
    pub fn rows<E: From<BackupError>>(
        &mut self,
        verified: &Verified,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = verified.words.clone();
        let (_, _, bytes, sha256) = self.pass(|item| match item {
            Item::Row(key, _) if verified.words.contains_key(key) => Ok(()),
            Item::Row(key, value) => visit(key, value),
            Item::Change(key, value) => {
                let left = left.get_mut(key).filter(|left| **left > 0).ok_or(CHANGED)?;
                *left -= 1;
                match value {
                    Some(value) if *left == 0 => visit(key, value),
                    _ => Ok(()),
                }
            }
        })?;
        if (bytes, sha256) == (verified.bytes, verified.sha256) { Ok(()) } else { Err(CHANGED.into()) }
    }

    /// From the rows that the scan met to those that there are: a second reading, where anything has changed.
    fn settle_counts(&mut self, verified: &mut Verified, present: &HashMap<Vec<u8>, bool>) -> Result<(), BackupError> {
        if present.is_empty() {
            return Ok(());
        }
        let mut met: BTreeMap<Class, u64> = BTreeMap::new();
        self.pass(|item| {
            if let Item::Row(key, _) = item
                && present.contains_key(key)
            {
                *met.entry(Class::of(key)).or_default() += 1;
            }
            Ok::<_, BackupError>(())
        })?;
        for (class, count) in met {
            *verified.rows.entry(class).or_default() -= count;
        }
        for (key, _) in present.iter().filter(|(_, is_there)| **is_there) {
            *verified.rows.entry(Class::of(key)).or_default() += 1;
        }
        verified.rows.retain(|_, count| *count > 0);
        Ok(())
    }

    /// One reading from the beginning to the end, with everything checked that one reading can check.
    fn pass<E: From<BackupError>>(
        &mut self,
        visit: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(Manifest, Trailer, u64, [u8; 32]), E> {
        let failed = |source| BackupError::File { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut hashed = Hashed { file: &self.file, digest: Sha256::new(), bytes: 0 };
        let decryptor = age::Decryptor::new_buffered(BufReader::with_capacity(BUFFER_BYTES, &mut hashed)).map_err(refusal)?;
        let plain = decryptor.decrypt(self.identity.all()).map_err(refusal)?;
        let (manifest, trailer) = Frames { plain, digest: Sha256::new(), bytes: 0, counts: BTreeMap::new() }.read(visit)?;
        Ok((manifest, trailer, hashed.bytes, hashed.digest.finish()))
    }
}

const CHANGED: BackupError = BackupError::Damaged("the file has changed since it was verified");

fn refusal(error: DecryptError) -> BackupError {
    match error {
        DecryptError::NoMatchingKeys => BackupError::NotForYou,
        DecryptError::InvalidHeader | DecryptError::UnknownFormat | DecryptError::Io(_) => BackupError::NoArchive,
        _ => BackupError::Damaged("its header was changed"),
    }
}

fn cut(error: io::Error) -> BackupError {
    match error.kind() {
        ErrorKind::UnexpectedEof => BackupError::Damaged("it was cut short"),
        _ => BackupError::Damaged("it was changed or cut, or cannot be read"),
    }
}

/// What a reading meets.
enum Item<'a> {
    Row(&'a [u8], &'a [u8]),
    Change(&'a [u8], Option<&'a [u8]>),
}

/// The file's bytes, hashed as they are read.
struct Hashed<'a> {
    file: &'a File,
    digest: Sha256,
    bytes: u64,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.digest.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// The decrypted side.
struct Frames<R> {
    plain: R,
    digest: Sha256,
    bytes: u64,
    counts: BTreeMap<Class, Counts>,
}

impl<R: Read> Frames<R> {
    fn read<E: From<BackupError>>(mut self, mut visit: impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(Manifest, Trailer), E> {
        let mut magic = [0; MAGIC.len()];
        self.take(&mut magic)?;
        if magic != MAGIC {
            return Err(BackupError::Malformed(crate::model::Invalid("it is an age file, but no backup of a vault's")).into());
        }
        let mut body = Vec::new();
        if self.frame(&mut body)? != Kind::Manifest {
            return Err(DISORDER.into());
        }
        let manifest = Manifest::decode(&body).map_err(BackupError::from)?;
        let (mut before, mut last, mut changes) = (Kind::Manifest, Vec::new(), 0);
        loop {
            let (mut digest, bytes) = (self.digest.clone(), self.bytes);
            let kind = self.frame(&mut body)?;
            if kind < before || kind == Kind::Manifest {
                return Err(DISORDER.into());
            }
            before = kind;
            match kind {
                Kind::Rows => self.rows(&body, &mut last, &mut visit)?,
                Kind::Changes => self.changes(&body, &mut changes, &mut visit)?,
                Kind::Manifest | Kind::Trailer => {
                    let trailer = Trailer::decode(&body).map_err(BackupError::from)?;
                    digest.update(&frame_head(kind, body.len()));
                    digest.update(&trailer.encode_undigested());
                    self.check(&trailer, &digest, bytes)?;
                    return Ok((manifest, trailer));
                }
            }
        }
    }

    fn rows<E: From<BackupError>>(
        &mut self,
        body: &[u8],
        last: &mut Vec<u8>,
        visit: &mut impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let counts = &mut self.counts;
        each_row(body, |key, value| {
            if *last.as_slice() >= *key {
                return Err(DISORDER.into());
            }
            last.clear();
            last.extend_from_slice(key);
            counts.entry(Class::of(key)).or_default().rows += 1;
            visit(Item::Row(key, value))
        })
    }

    fn changes<E: From<BackupError>>(
        &mut self,
        body: &[u8],
        changes: &mut u64,
        visit: &mut impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let counts = &mut self.counts;
        each_change(body, |key, value| {
            *changes += 1;
            if *changes > CHANGES {
                return Err(BackupError::Damaged("it has more changes than a backup may have").into());
            }
            let counts = counts.entry(Class::of(key)).or_default();
            *(if value.is_some() { &mut counts.puts } else { &mut counts.deletes }) += 1;
            visit(Item::Change(key, value))
        })
    }

    /// The trailer says what was read, and nothing follows it.
    fn check(&mut self, trailer: &Trailer, digest: &Sha256, bytes: u64) -> Result<(), BackupError> {
        if (trailer.bytes, trailer.digest) != (bytes, digest.finish()) {
            return Err(BackupError::Damaged("its checksum is another"));
        }
        if trailer.counts != self.counts {
            return Err(BackupError::Damaged("it does not hold as many rows as it says"));
        }
        match self.plain.read(&mut [0]).map_err(cut)? {
            0 => Ok(()),
            _ => Err(BackupError::Damaged("something follows its end")),
        }
    }

    fn frame(&mut self, body: &mut Vec<u8>) -> Result<Kind, BackupError> {
        let mut head = [0; 5];
        self.take(&mut head)?;
        let [kind, length @ ..] = head;
        let (kind, length) = (Kind::of(kind)?, u32::from_be_bytes(length) as usize);
        if length > FRAME_BYTES {
            return Err(BackupError::Damaged("a frame is longer than any"));
        }
        body.resize(length, 0);
        self.take(body)?;
        Ok(kind)
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        self.plain.read_exact(buffer).map_err(cut)?;
        self.digest.update(buffer);
        self.bytes += buffer.len() as u64;
        Ok(())
    }
}

const DISORDER: BackupError = BackupError::Damaged("its parts do not stand in their order");
