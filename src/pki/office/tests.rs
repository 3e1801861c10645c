use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tempfile::TempDir;
use x509_parser::prelude::{CertificateRevocationList, FromDer, ReasonCode, X509Certificate};

use super::*;
use crate::model::{Clock, SpiffeId, SystemClock};
use crate::pki::Reason;

const DAY: Duration = Duration::from_secs(24 * 3600);
const BACKEND: &str = "spiffe://shop.example/backend";
const ALICE: &str = "spiffe://people.example/alice";

/// A folder for offices and for what they issue.
struct Place {
    root: TempDir,
    now: Timestamp,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().expect("a folder"), now: SystemClock.now() };
        place.init("pki").expect("made");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn init(&self, name: &str) -> Result<Office, OfficeError> {
        Office::init(&self.path(name), &domain("shop.example"), &domain("people.example"), self.now)
    }

    fn office(&self) -> Office {
        Office::open(&self.path("pki")).expect("opened")
    }

    fn order(&self, kind: Kind, id: &str, name: &str) -> Order {
        let key = NewKey::Made(self.path(&format!("{name}.key")));
        let (id, certificate) = (id.parse().expect("valid"), self.path(&format!("{name}.pem")));
        Order { kind, id, dns_names: Vec::new(), addresses: Vec::new(), lifetime: None, certificate, key }
    }

    fn issue(&self, kind: Kind, id: &str, name: &str) -> Registered {
        self.office().issue(&self.order(kind, id, name), self.now).expect("issued")
    }

    /// Number, serial numbers and reasons of the list that lies there.
    fn list(&self, class: Class) -> (u64, Vec<(String, Option<ReasonCode>)>) {
        let der = CertificateRevocationListDer::from_pem_file(self.office().branch(class).list()).expect("a list");
        let (_, list) = CertificateRevocationList::from_der(&der).expect("a list");
        let revoked = list.iter_revoked_certificates().map(|one| (hex::encode(one.raw_serial()), one.reason_code().map(|(_, code)| code)));
        (list.crl_number().expect("numbered").to_string().parse().expect("a number"), revoked.collect())
    }
}

fn domain(text: &str) -> TrustDomain {
    text.parse().expect("valid")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn fits(certificate: &Path, key: &Path) -> bool {
    let der = CertificateDer::from_pem_file(certificate).expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let key = rcgen::KeyPair::from_pem(&fs::read_to_string(key).expect("read")).expect("a key");
    *certificate.public_key().subject_public_key.data == *rcgen::PublicKeyData::der_bytes(&key)
}

#[test]
fn an_office_is_made_once_and_whole() {
    let place = Place::new();
    let refused = |name: &str| match place.init(name) {
        Err(OfficeError::InTheWay { why, .. }) => why,
        other => panic!("{:?}", other.map(|_| "made")),
    };
    assert!(refused("pki").contains("a PKI already"));
    fs::create_dir(place.path("full")).expect("made");
    fs::write(place.path("full/file"), "").expect("written");
    assert!(refused("full").contains("not empty"));
    fs::create_dir(place.path("cut.new")).expect("made");
    assert!(refused("cut").contains("cut short"));
    assert!(place.path("cut.new").exists(), "what another made is left alone");
    fs::create_dir(place.path("empty")).expect("made");
    place.init("empty").expect("an empty folder is room enough");
    assert_eq!(mode(&place.path("empty")), 0o700);
    place.init("new/parent/pki").expect("parents are made");
    let one = domain("shop.example");
    assert!(matches!(Office::init(&place.path("other"), &one, &one, place.now), Err(OfficeError::Invalid(_))));
    assert!(matches!(Office::open(&place.path("nowhere")), Err(OfficeError::NoPki { .. })));
    fs::set_permissions(place.path("pki"), Permissions::from_mode(0o750)).expect("set");
    assert!(matches!(Office::open(&place.path("pki")), Err(OfficeError::Pki(PkiError::LooseFolder { .. }))));
}

#[test]
fn an_office_that_cannot_be_made_leaves_nothing() {
    let place = Place::new();
    // It comes to lie there while the office is being made, as another `init` would.
    fs::write(place.path("file"), "").expect("written");
    assert!(place.init("file").is_err());
    assert!(!place.path("file.new").exists());
    fs::remove_file(place.path("file")).expect("removed");
    place.init("file").expect("made");
}

#[test]
fn each_kind_says_what_it_is_for_and_how_long() {
    let place = Place::new();
    for (kind, id, days) in [(Kind::Server, BACKEND, 90), (Kind::Workload, BACKEND, 30), (Kind::Operator, ALICE, 7)] {
        let leaf = place.issue(kind, id, kind.word());
        assert_eq!((leaf.kind, leaf.id.as_str(), leaf.not_after.since(leaf.not_before)), (kind, id, DAY * days));
        let der = CertificateDer::from_pem_file(place.path(&format!("{}.pem", kind.word()))).expect("a certificate");
        let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
        assert_eq!(hex::encode(certificate.raw_serial()), leaf.serial);
        let usage = certificate.extended_key_usage().expect("readable").expect("there").value;
        assert_eq!((usage.server_auth, usage.client_auth), (kind == Kind::Server, kind != Kind::Server));
        let seconds = |time: Timestamp| i64::try_from(time.unix_ms() / 1_000).expect("small");
        let validity = certificate.validity();
        assert_eq!((validity.not_before.timestamp(), validity.not_after.timestamp()), (seconds(leaf.not_before), seconds(leaf.not_after)));
    }
    for (kind, least, longest) in [(Kind::Server, 300, 398), (Kind::Workload, 300, 90), (Kind::Operator, 300, 31)] {
        let life = |lifetime: Duration| {
            let id = if kind == Kind::Operator { ALICE } else { BACKEND };
            let order = Order { lifetime: Some(lifetime), ..place.order(kind, id, &format!("{}-{}", kind.word(), lifetime.as_secs())) };
            place.office().issue(&order, place.now).is_ok()
        };
        let second = Duration::from_secs(1);
        assert!(life(Duration::from_secs(least)) && !life(Duration::from_secs(least) - second), "{kind:?}");
        assert!(life(DAY * longest) && !life(DAY * longest + second), "{kind:?}");
    }
}

#[test]
fn a_kind_is_for_its_own_domain_alone() {
    let place = Place::new();
    for (kind, id) in [(Kind::Server, ALICE), (Kind::Workload, ALICE), (Kind::Operator, BACKEND), (Kind::Workload, "spiffe://a/b")] {
        assert!(matches!(place.office().issue(&place.order(kind, id, "x"), place.now), Err(OfficeError::Invalid(_))), "{kind:?} {id}");
    }
    assert!(!place.path("x.key").exists());
}

#[test]
fn issuing_replaces_nothing() {
    let place = Place::new();
    fs::write(place.path("a.pem"), "mine").expect("written");
    std::os::unix::fs::symlink("nowhere", place.path("b.key")).expect("made");
    for name in ["a", "b"] {
        let refused = place.office().issue(&place.order(Kind::Workload, BACKEND, name), place.now);
        assert!(matches!(refused, Err(OfficeError::InTheWay { .. })), "{name}");
    }
    assert_eq!(fs::read_to_string(place.path("a.pem")).expect("read"), "mine");
    assert!(!place.path("a.key").exists());
    assert!(place.office().overview(place.now).expect("read").leaves.is_empty(), "nothing was issued");
}

#[test]
fn renewing_keeps_who_it_is_and_takes_another_key() {
    let place = Place::new();
    let order = Order {
        dns_names: vec!["vault.internal".to_owned()],
        addresses: vec!["10.0.0.5".parse().expect("valid")],
        lifetime: Some(DAY * 10),
        ..place.order(Kind::Server, "spiffe://shop.example/strongroom", "server")
    };
    let first = place.office().issue(&order, place.now).expect("issued");
    let (certificate, key) = (place.path("server.pem"), place.path("server.key"));
    let before = fs::read(&key).expect("read");
    let later = place.now.plus(DAY * 9);
    let renewed = place.office().renew(&certificate, &key, None, later).expect("renewed");
    assert_eq!(renewed.before, first);
    let Registered { id, kind, dns_names, addresses, not_before, not_after, serial, .. } = renewed.leaf;
    assert_eq!((id, kind, dns_names, addresses), (first.id, first.kind, first.dns_names, first.addresses));
    assert!(serial != first.serial && not_after.since(not_before) == DAY * 10 && not_after > later);
    assert!(fs::read(&key).expect("read") != before && fits(&certificate, &key));
    assert_eq!((mode(&certificate), mode(&key)), (0o600, 0o600));
    let der = CertificateDer::from_pem_file(&certificate).expect("a certificate");
    let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
    assert_eq!(parsed.subject_alternative_name().expect("readable").expect("there").value.general_names.len(), 3);

    // Cut short between the two files, a renewal is done again.
    let old = fs::read(&certificate).expect("read");
    place.office().renew(&certificate, &key, Some(DAY), later).expect("renewed");
    fs::write(&certificate, old).expect("written");
    assert!(!fits(&certificate, &key));
    place.office().renew(&certificate, &key, None, later).expect("renewed");
    assert!(fits(&certificate, &key));
}

#[test]
fn a_renewal_touches_only_what_it_should() {
    let place = Place::new();
    place.issue(Kind::Workload, BACKEND, "backend");
    let (certificate, key) = (place.path("backend.pem"), place.path("backend.key"));
    let renew = |key: &Path| place.office().renew(&certificate, key, None, place.now);
    assert!(matches!(renew(&place.path("none.key")), Err(OfficeError::Invalid(_))));
    let notes = place.path("notes");
    fs::write(&notes, "mine").expect("written");
    fs::set_permissions(&notes, Permissions::from_mode(0o600)).expect("set");
    assert!(matches!(renew(&notes), Err(OfficeError::Invalid(_))));
    assert_eq!(fs::read_to_string(&notes).expect("read"), "mine");
    assert!(matches!(renew(&certificate), Err(OfficeError::Invalid(_))));
    assert!(fits(&certificate, &key));

    place.office().revoke(&Which::File(certificate.clone()), Reason::KeyCompromise, place.now).expect("revoked");
    assert!(matches!(renew(&key), Err(OfficeError::Revoked { .. })), "what was taken back stays back");
    assert!(fits(&certificate, &key));
}

/// A serial number alone says nothing: another authority may give the same.
#[test]
fn anothers_certificate_is_not_taken_for_ones_own() {
    let place = Place::new();
    let other = place.init("other").expect("made");
    let leaf = other.issue(&place.order(Kind::Workload, BACKEND, "foreign"), place.now).expect("issued");
    place.office().branch(Class::Workload).add(leaf, place.now).expect("kept");
    let (certificate, key) = (place.path("foreign.pem"), place.path("foreign.key"));
    let refused = place.office().revoke(&Which::File(certificate.clone()), Reason::Unspecified, place.now);
    assert!(matches!(refused, Err(OfficeError::Unknown(_))), "{refused:?}");
    assert!(matches!(place.office().renew(&certificate, &key, None, place.now), Err(OfficeError::Unknown(_))));
}

#[test]
fn what_is_revoked_is_on_the_next_list_and_stays_there() {
    let place = Place::new();
    let (backend, alice) = (place.issue(Kind::Workload, BACKEND, "backend"), place.issue(Kind::Operator, ALICE, "alice"));
    let second = place.issue(Kind::Operator, ALICE, "alice-2");
    assert_eq!((place.list(Class::Workload), place.list(Class::Operator)), ((1, vec![]), (1, vec![])));

    let revoke = |which: Which, reason: Reason| place.office().revoke(&which, reason, place.now.plus(DAY)).expect("revoked");
    let spelled: String = backend
        .serial
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|two| String::from_utf8_lossy(two).into_owned())
        .collect::<Vec<_>>()
        .join(":");
    let done = revoke(Which::Serial(spelled), Reason::KeyCompromise);
    assert_eq!((done.leaves.len(), done.lists.len(), done.lists[0].class, done.lists[0].number), (1, 1, Class::Workload, 2));
    let on_list = |serial: &str, code| (serial.to_owned(), code);
    assert_eq!(place.list(Class::Workload), (2, vec![on_list(&backend.serial, Some(ReasonCode::KeyCompromise))]));
    assert_eq!(place.list(Class::Operator).0, 1, "the other is not concerned");

    revoke(Which::File(place.path("alice.pem")), Reason::Unspecified);
    let done = revoke(Which::Holder(ALICE.parse().expect("valid")), Reason::CessationOfOperation);
    assert_eq!(done.leaves.iter().map(|leaf| &leaf.serial).collect::<Vec<_>>(), [&second.serial], "only what is good still");
    let both = vec![on_list(&alice.serial, None), on_list(&second.serial, Some(ReasonCode::CessationOfOperation))];
    assert_eq!(place.list(Class::Operator), (3, both.clone()));

    // Again: another list, and the first word stands.
    let again = revoke(Which::Serial(alice.serial.clone()), Reason::Superseded);
    assert_eq!(again.leaves[0].revoked.expect("revoked").reason, Reason::Unspecified);
    assert_eq!(place.list(Class::Operator), (4, both.clone()));
    place.office().lists(DAY, 0, place.now).expect("made");
    assert_eq!((place.list(Class::Workload).0, place.list(Class::Operator)), (3, (5, both)));

    for nobody in [Which::Serial("00".to_owned()), Which::Holder(ALICE.parse().expect("valid"))] {
        assert!(matches!(place.office().revoke(&nobody, Reason::Unspecified, place.now), Err(OfficeError::Unknown(_))), "{nobody:?}");
    }
}

#[test]
fn no_number_is_given_to_two_lists() {
    let place = Place::new();
    let list = place.office().branch(Class::Workload).list();
    // The list cannot be written: a folder lies where it would be written first.
    let obstacle = list.with_extension("pem.new");
    fs::create_dir(&obstacle).expect("made");
    let leaf = place.issue(Kind::Workload, BACKEND, "backend");
    let revoke = || place.office().revoke(&Which::Serial(leaf.serial.clone()), Reason::KeyCompromise, place.now);
    assert!(revoke().is_err());
    assert_eq!(place.list(Class::Workload), (1, vec![]), "the old list is whole");
    let warnings = place.office().overview(place.now).expect("read").warnings;
    assert!(warnings.iter().any(|warning| warning.contains("is not list number 2")), "{warnings:?}");
    fs::remove_dir(&obstacle).expect("removed");
    revoke().expect("done again");
    assert_eq!(place.list(Class::Workload), (3, vec![(leaf.serial.clone(), Some(ReasonCode::KeyCompromise))]));
    assert!(place.office().overview(place.now).expect("read").warnings.is_empty());

    let lists = place.office().lists(DAY * 7, 41, place.now).expect("made");
    assert_eq!(lists.iter().map(|list| list.number).collect::<Vec<_>>(), [42, 42]);
    assert!(matches!(place.office().lists(DAY, u64::MAX, place.now), Err(OfficeError::Invalid(_))));
    assert_eq!(revoke().expect("revoked").lists[0].next_update, place.now.plus(DAY * 7), "as long as the last");
}

#[test]
fn two_at_work_at_once_lose_nothing() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for worker in 0..6 {
            let place = &place;
            scope.spawn(move || {
                for turn in 0..4 {
                    let leaf = place.issue(Kind::Workload, BACKEND, &format!("w{worker}-{turn}"));
                    place.office().revoke(&Which::Serial(leaf.serial), Reason::Superseded, place.now).expect("revoked");
                }
            });
        }
    });
    let (number, revoked) = place.list(Class::Workload);
    assert_eq!((number, revoked.len()), (25, 24));
    assert_eq!(place.office().overview(place.now).expect("read").leaves.len(), 24);
}

#[test]
fn what_ends_soon_is_spoken_of() {
    let place = Place::new();
    place.issue(Kind::Server, "spiffe://shop.example/strongroom", "server");
    place.issue(Kind::Operator, ALICE, "alice");
    let on_day = |days: u32| place.office().overview(place.now.plus(DAY * days)).expect("read").warnings;
    assert_eq!(on_day(0), Vec::<String>::new(), "a week is normal for a person");
    assert!(matches!(on_day(4).as_slice(), [one] if one.contains("operator certificate of spiffe://people.example/alice")));
    let late = on_day(80);
    assert!(late.iter().any(|one| one.contains("server certificate")), "{late:?}");
    assert_eq!(late.iter().filter(|one| one.contains("revocation list")).count(), 2, "{late:?}");
    place.office().renew(&place.path("server.pem"), &place.path("server.key"), None, place.now.plus(DAY * 80)).expect("renewed");
    place.office().lists(DAY * 30, 0, place.now.plus(DAY * 80)).expect("made");
    assert_eq!(on_day(80), Vec::<String>::new());
    assert_eq!(on_day(365 * 9 + 30).iter().filter(|one| one.contains("authority")).count(), 2);
    let leaves = place.office().overview(place.now).expect("read").leaves;
    assert!(leaves.is_sorted_by_key(|leaf| leaf.not_after) && leaves.len() == 3);
    let states = |days: u32| leaves.iter().map(|leaf| leaf.state(place.now.plus(DAY * days))).collect::<Vec<_>>();
    assert_eq!(states(8), [State::Expired, State::Valid, State::Valid]);
}

#[test]
fn a_register_that_is_none_is_refused_and_left_alone() {
    let place = Place::new();
    let books = place.path("pki/workloads/register.json");
    let whole = fs::read_to_string(&books).expect("read");
    let newer = whole.replace("\"format\": 1", "\"format\": 2");
    for text in [&whole[..whole.len() / 2], "", newer.as_str()] {
        fs::write(&books, text).expect("written");
        let refused = place.office().issue(&place.order(Kind::Workload, BACKEND, "backend"), place.now);
        assert!(matches!(refused, Err(OfficeError::Damaged { .. })), "{text}");
        assert_eq!(fs::read_to_string(&books).expect("read"), text);
    }
    assert!(!place.path("backend.pem").exists());
}

/// Makes the books of programs so long, by the name of the host `x`, and returns them.
fn pad(place: &Place, bytes: usize) -> String {
    let books = place.path("pki/workloads/register.json");
    let text = fs::read_to_string(&books).expect("read");
    let missing = bytes - text.len();
    fs::write(&books, text.replacen("\"x", &format!("\"x{}", "x".repeat(missing)), 1)).expect("written");
    let padded = fs::read_to_string(&books).expect("read");
    assert_eq!(padded.len(), bytes);
    padded
}

#[test]
fn books_are_never_longer_than_they_can_be_read_and_taking_back_always_has_room() {
    const MIB: usize = 1 << 20;
    let place = Place::new();
    let order = Order { dns_names: vec!["x".to_owned()], ..place.order(Kind::Server, "spiffe://shop.example/strongroom", "server") };
    let server = place.office().issue(&order, place.now).expect("issued");
    let books = || fs::read_to_string(place.path("pki/workloads/register.json")).expect("read");
    let before = books().len();
    place.issue(Kind::Workload, BACKEND, "first");
    let line = books().len() - before;
    // As much room as one more takes: it fits, and the next does not.
    pad(&place, 40 * MIB - line);
    place.issue(Kind::Workload, BACKEND, "fits");
    assert_eq!(books().len(), 40 * MIB);
    let full = place.office().issue(&place.order(Kind::Workload, BACKEND, "over"), place.now).expect_err("refused");
    assert!(matches!(full, OfficeError::Full { .. }) && full.to_string().contains("`strongroom pki crl`"), "{full}");
    let renewed = place.office().renew(&place.path("first.pem"), &place.path("first.key"), None, place.now);
    assert!(matches!(renewed, Err(OfficeError::Full { .. })));
    assert!(books().len() == 40 * MIB && !place.path("over.pem").exists() && !place.path("over.key").exists());
    // What is there can be taken back all the same.
    place.office().revoke(&Which::File(place.path("fits.pem")), Reason::CessationOfOperation, place.now).expect("revoked");
    let (shortest, costs) = (line - BACKEND.len() + "spiffe://a/b".len(), books().len() - 40 * MIB);
    assert!(costs < 120 && 120 * 5 < shortest * 3, "{costs} bytes are not within three fifths of a line of {shortest}");

    // No list is made of books that could not be read again.
    let whole = pad(&place, 64 * MIB);
    let refused = place.office().revoke(&Which::Serial(server.serial.clone()), Reason::KeyCompromise, place.now);
    assert!(matches!(refused, Err(OfficeError::Full { .. })), "{refused:?}");
    assert!(books() == whole && place.list(Class::Workload).0 == 2);
}

#[test]
fn a_leaf_is_forgotten_a_year_after_its_end_and_a_revoked_one_is_on_a_list_until_then() {
    let place = Place::new();
    let plain = place.issue(Kind::Workload, BACKEND, "plain");
    let revoked = place.issue(Kind::Workload, BACKEND, "revoked");
    place.office().revoke(&Which::Serial(revoked.serial.clone()), Reason::KeyCompromise, place.now).expect("revoked");
    let edge = plain.not_after.plus(DAY * 365);
    let moment = Duration::from_millis(1);
    let known = || {
        let leaves = place.office().branch(Class::Workload).register().expect("read").leaves;
        [&plain, &revoked].map(|leaf| leaves.iter().any(|known| known.serial == leaf.serial))
    };
    let crl = |now: Timestamp| place.office().lists(DAY, 0, now).expect("made");
    let listed = || place.list(Class::Workload).1.iter().any(|(serial, _)| *serial == revoked.serial);

    // The clock alone, though it is years ahead, makes nobody forgotten: the last list is from before.
    place.office().branch(Class::Workload).add(plain.clone(), edge.plus(DAY * 3650)).expect("kept");
    assert_eq!(known(), [true, true]);
    // Lists up to the edge, and one beyond that only says so.
    for now in [edge, edge, edge.plus(moment)] {
        crl(now);
        assert!(known() == [true, true] && listed(), "{now}");
    }
    // That list was made a year after the end, and had it: the next need not.
    crl(edge.plus(moment));
    assert!(known() == [false, false] && !listed());
}

/// A list that never came to be, for a crash, has had nobody on it; nor has one from before somebody was revoked.
#[test]
fn what_no_list_has_shown_yet_is_not_forgotten() {
    let place = Place::new();
    let leaf = place.issue(Kind::Workload, BACKEND, "backend");
    let late = leaf.not_after.plus(DAY * 400);
    let at = |days: u32| late.plus(DAY * days);
    let is_known = || !place.office().branch(Class::Workload).register().expect("read").leaves.is_empty();
    let listed = || place.list(Class::Workload).1.len();
    place.office().lists(DAY, 0, at(0)).expect("made");
    // Long over, and only now taken back: it is on the list that says so, which is the first.
    place.office().revoke(&Which::Serial(leaf.serial.clone()), Reason::KeyCompromise, at(1)).expect("revoked");
    assert!(is_known() && listed() == 1);
    let obstacle = place.office().branch(Class::Workload).list().with_extension("pem.new");
    fs::create_dir(&obstacle).expect("made");
    for day in 2..5 {
        assert!(place.office().lists(DAY, 0, at(day)).is_err());
        assert!(is_known(), "list {day} never came to be");
    }
    fs::remove_dir(&obstacle).expect("removed");
    for (day, known) in [(5, true), (6, false)] {
        place.office().lists(DAY, 0, at(day)).expect("made");
        assert_eq!((is_known(), listed()), (known, usize::from(known)), "day {day}");
    }
}

#[test]
fn a_request_gets_a_certificate_and_no_key() {
    let place = Place::new();
    let key = rcgen::KeyPair::generate().expect("generated");
    let pem = rcgen::CertificateParams::default().serialize_request(&key).expect("made").pem().expect("PEM");
    let request = crate::pki::CertificateRequest::from_pem(&pem).expect("accepted");
    let order = Order { key: NewKey::Requested(request), ..place.order(Kind::Operator, ALICE, "alice") };
    let leaf = place.office().issue(&order, place.now).expect("issued");
    assert_eq!(leaf.id, ALICE.parse::<SpiffeId>().expect("valid"));
    assert!(!place.path("alice.key").exists() && PrivateKeyDer::from_pem_file(place.path("alice.pem")).is_err());
}
