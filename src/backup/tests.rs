//! Archives as a whole: what is written is read, and what was cut or changed is refused.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use proptest::prelude::*;

use super::format::CHANGES;
use super::*;
use crate::model::{SecretBytes, Timestamp, VaultId};

/// For the frozen vector: an identity that nobody uses.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

struct Pair {
    identity: String,
    recipient: Recipient,
}

fn pair() -> Pair {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string().parse().expect("a recipient");
    Pair { identity: identity.to_string().expose_secret().to_owned(), recipient }
}

fn identity(text: &str) -> Identity {
    Identity::parse(&SecretBytes::new(text.as_bytes().to_vec())).expect("an identity")
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(ms).expect("a time")
}

fn manifest() -> Manifest {
    Manifest { vault: VaultId::from_bytes([7; 16]), epoch: 3, created: at(1_000), expires: at(9_000), server_version: "0.1.0".to_owned() }
}

const STANDING: Standing = Standing { revision: 42, policy_generation: 5, audit_sequence: 17 };

/// Rows `h0 …`, of which some change and some go while they are read.
fn made(recipients: &[Recipient], rows: usize) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(recipients, &manifest(), Vec::new()).expect("an archive");
    let names: Vec<String> = (0..rows).map(|number| format!("h{number:06}")).collect();
    for page in names.chunks(100) {
        writer.rows(page.iter().map(|name| (name.as_bytes(), b"old value".as_slice()))).expect("written");
    }
    let new: &[u8] = b"new";
    writer.changes([(b"h000001".as_slice(), Some(b"between".as_slice())), (b"h000002", None), (b"v-new", Some(new))]).expect("written");
    writer.changes([(b"h000001".as_slice(), Some(new)), (b"v-gone", None)]).expect("written");
    writer.finish(STANDING).expect("ended").0
}

fn file(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("backup.age");
    fs::write(&path, bytes).expect("written");
    path
}

fn rows_of(archive: &mut Archive, verified: &Verified) -> Result<Vec<(String, String)>, BackupError> {
    let mut rows = Vec::new();
    archive.rows(verified, |key, value| {
        rows.push((String::from_utf8_lossy(key).into_owned(), String::from_utf8_lossy(value).into_owned()));
        Ok::<_, BackupError>(())
    })?;
    Ok(rows)
}

#[test]
fn each_row_is_given_out_once_as_it_stood_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two, stranger) = (pair(), pair(), pair());
    let path = file(folder.path(), &made(&[one.recipient, two.recipient], 250));
    assert!(check_header(&path).is_ok());
    for who in [&one.identity, &two.identity] {
        let mut archive = Archive::open(&path, identity(who)).expect("there");
        let verified = archive.verify(|_, _| {}).expect("whole");
        assert_eq!((&verified.manifest, verified.trailer.revision), (&manifest(), 42));
        assert_eq!((verified.trailer.policy_generation, verified.trailer.audit_sequence), (5, 17));
        assert_eq!(verified.rows.iter().map(|(class, count)| (class.0, *count)).collect::<Vec<_>>(), [(b'h', 249), (b'v', 1)]);
        let rows = rows_of(&mut archive, &verified).expect("as verified");
        assert_eq!(rows.len(), 250);
        let value = |key: &str| rows.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
        assert_eq!((value("h000000"), value("h000001")), (vec!["old value"], vec!["new"]));
        assert_eq!((value("h000002"), value("v-new"), value("v-gone")), (vec![], vec!["new"], vec![]));
    }
    let refused = Archive::open(&path, identity(&stranger.identity)).expect("there").verify(|_, _| {});
    assert!(matches!(refused, Err(BackupError::NotForYou)), "its maker, too, cannot read it: {refused:?}");
}

#[test]
fn an_archive_has_one_recipient_at_least() {
    assert!(matches!(ArchiveWriter::new(&[], &manifest(), Vec::new()).err(), Some(BackupError::Key(_))));
}

#[test]
fn what_was_cut_is_refused_wherever_it_was_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = pair();
    let whole = made(std::slice::from_ref(&one.recipient), 12_000);
    assert!(whole.len() > 200_000, "several chunks of age's: {}", whole.len());
    let boundaries = (0..whole.len()).step_by(4096).chain([whole.len() - 1, whole.len() - 17]);
    for length in boundaries {
        let path = file(folder.path(), &whole[..length]);
        let mut archive = Archive::open(&path, identity(&one.identity)).expect("there");
        let error = archive.verify(|_, _| {}).expect_err("cut");
        assert!(matches!(error, BackupError::Damaged(_) | BackupError::NoArchive), "{length}: {error}");
    }
    let longer = [whole.as_slice(), b"x"].concat();
    let path = file(folder.path(), &longer);
    assert!(Archive::open(&path, identity(&one.identity)).expect("there").verify(|_, _| {}).is_err(), "something follows it");
}

#[test]
fn a_file_that_changes_between_the_readings_gives_nothing_that_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = pair();
    let recipients = std::slice::from_ref(&one.recipient);
    let path = file(folder.path(), &made(recipients, 10));
    let mut archive = Archive::open(&path, identity(&one.identity)).expect("there");
    let verified = archive.verify(|_, _| {}).expect("whole");
    // Another whole archive in its place, in the very file.
    fs::write(&path, made(recipients, 10)).expect("written");
    assert!(matches!(rows_of(&mut archive, &verified), Err(BackupError::Damaged(_))));
}

/// An archive around plaintext of the test's choice.
fn around(recipient: &Recipient, plain: &[u8]) -> Vec<u8> {
    let key: age::x25519::Recipient = recipient.as_str().parse().expect("a recipient");
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&key as &dyn age::Recipient)).expect("one recipient");
    let mut out = encryptor.wrap_output(Vec::new()).expect("a header");
    out.write_all(plain).expect("written");
    out.finish().expect("ended")
}

/// What is inside of one.
fn plain(archive: &[u8], who: &str) -> Vec<u8> {
    let key: age::x25519::Identity = who.parse().expect("an identity");
    let decryptor = age::Decryptor::new_buffered(archive).expect("a header");
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut decryptor.decrypt(std::iter::once(&key as &dyn age::Identity)).expect("for it"), &mut out)
        .expect("whole");
    out
}

/// Whoever has an identity and a recipient can make an archive: what is inside is checked as well.
#[test]
fn what_is_inside_has_one_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = pair();
    let inside = plain(&made(std::slice::from_ref(&one.recipient), 10), &one.identity);
    let verify = |bytes: &[u8]| {
        let path = file(folder.path(), &around(&one.recipient, bytes));
        Archive::open(&path, identity(&one.identity)).expect("there").verify(|_, _| {}).map(drop)
    };
    assert!(verify(&inside).is_ok());
    for position in 0..inside.len() {
        let mut changed = inside.clone();
        changed[position] ^= 1;
        assert!(verify(&changed).is_err(), "byte {position} of {}", inside.len());
        assert!(verify(&inside[..position]).is_err(), "cut at {position}");
    }
    assert!(verify(&[inside.as_slice(), &[4, 0, 0, 0, 0]].concat()).is_err(), "a frame behind the trailer");
}

#[test]
fn changes_have_an_end() {
    let one = pair();
    let mut writer = ArchiveWriter::new(&[one.recipient], &manifest(), std::io::sink()).expect("an archive");
    let change = (b"h".as_slice(), None);
    for _ in 0..CHANGES / 1024 {
        writer.changes(std::iter::repeat_n(change, 1024)).expect("within the bound");
    }
    assert!(matches!(writer.changes([change]), Err(BackupError::Damaged(_))), "and one more");
}

/// Frozen: an archive of this day is read on every later one.
#[test]
fn format_1_is_this() {
    let vector = include_str!("../../tests/vectors/backup.txt");
    let [recipient, inside] = [0, 1].map(|line| vector.lines().filter(|line| !line.starts_with('#')).nth(line).expect("a line"));
    let key: age::x25519::Identity = IDENTITY.parse().expect("an identity");
    assert_eq!(key.to_public().to_string(), recipient);
    let made = made(&[recipient.parse().expect("a recipient")], 4);
    assert_eq!(hex::encode(plain(&made, IDENTITY)), inside);
}

#[test]
fn a_file_has_its_name_once_it_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, part) = (folder.path().join("backup.age"), folder.path().join("backup.age.part"));
    let names = || fs::read_dir(folder.path()).expect("a folder").count();
    let mut file = PartFile::create(&path, Steps::default()).expect("new");
    file.write(b"half").expect("written");
    assert!(part.exists() && !path.exists());
    drop(file);
    assert_eq!(names(), 0, "one that is given up is removed");

    fs::write(&part, "what a killed run has left").expect("written");
    let mut file = PartFile::create(&path, Steps::default()).expect("again");
    file.write(b"ab").expect("written");
    file.write(b"c").expect("written");
    let saved = file.finish().expect("whole");
    assert_eq!((saved.bytes, saved.sha256), (3, crate::crypto::sha256(b"abc")));
    assert_eq!((fs::read(&path).expect("there"), names()), (b"abc".to_vec(), 1));
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(matches!(PartFile::create(&path, Steps::default()), Err(BackupError::Exists(_))));
    assert_eq!(fs::read(&path).expect("there"), b"abc", "it stays");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Of the file as it lies on the disk.
    #[test]
    fn any_changed_byte_is_noticed(position in any::<prop::sample::Index>(), bit in 0u8..8) {
        let folder = tempfile::tempdir().expect("a folder");
        let one = pair();
        let mut bytes = made(std::slice::from_ref(&one.recipient), 50);
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        let path = file(folder.path(), &bytes);
        let refused = Archive::open(&path, identity(&one.identity)).expect("there").verify(|_, _| {}).is_err();
        prop_assert!(refused, "byte {}", position);
    }

    #[test]
    fn no_bytes_make_it_panic(inside in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().expect("a folder");
        let one = pair();
        for inside in [inside.clone(), [super::format::MAGIC, &inside].concat()] {
            let path = file(folder.path(), &around(&one.recipient, &inside));
            let refused = Archive::open(&path, identity(&one.identity)).expect("there").verify(|_, _| {}).is_err();
            prop_assert!(refused);
        }
    }
}
