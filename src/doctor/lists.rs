//! Revocation lists: one that has ended keeps everybody out whom it concerns, and an old one lets in who was revoked since.

use std::path::Path;

use rustls_pki_types::CertificateRevocationListDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificates::{Span, read_error, time};
use super::finding::{Check, Finding};
use crate::config::{Revocation, Trust};
use crate::identity::load_crls;
use crate::model::Timestamp;

pub(super) fn check(trust: &[Trust], now: Timestamp) -> Vec<Finding> {
    trust.iter().flat_map(|trust| domain(trust, now)).collect()
}

fn domain(trust: &Trust, now: Timestamp) -> Vec<Finding> {
    let domain = &trust.domain;
    match &trust.revocation {
        Revocation::Lists(files) => files.iter().flat_map(|file| file_check(file, now)).collect(),
        Revocation::ShortLived { max_leaf_lifetime } => {
            let hours = max_leaf_lifetime.as_secs() / 3600;
            vec![Check::RevocationLists.pass(format!("{domain}: no list is needed, since no certificate lives longer than {hours} h"))]
        }
        Revocation::None => vec![Check::RevocationLists.warn(
            format!("{domain}: nothing can be revoked: a stolen certificate works until its end"),
            "name revocation lists (crls), or allow short-lived certificates alone (max_leaf_lifetime_h)",
        )],
    }
}

fn file_check(file: &Path, now: Timestamp) -> Vec<Finding> {
    let lists = match load_crls(file) {
        Ok(lists) => lists,
        Err(error) => return vec![read_error(Check::RevocationLists, &error)],
    };
    let judged = lists.iter().map(|list| match span(list) {
        Some((issuer, span)) => judge(&format!("the list of {issuer} ({})", file.display()), span, now),
        None => Check::RevocationLists.fail(
            format!("{}: a list cannot be read, or does not say when it ends (nextUpdate)", file.display()),
            "have its CA make a new one",
        ),
    });
    judged.collect()
}

fn span(list: &CertificateRevocationListDer<'_>) -> Option<(String, Span)> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    let span = Span { begin: time(list.last_update().timestamp()), end: time(list.next_update()?.timestamp()) };
    Some((list.issuer().to_string(), span))
}

/// Half of its life is when the next one should have come. For a list of 14 days or more that is a week's notice at least, and
/// one that is made anew each day does not warn each day.
fn judge(name: &str, span: Span, now: Timestamp) -> Finding {
    let Span { begin, end } = span;
    if end <= now {
        let found = format!("{name} ended {end}: nobody of its CA can connect");
        return Check::RevocationLists.fail(found, "put a new one in its place (`strongroom pki crl`)");
    }
    if begin > now {
        return Check::RevocationLists
            .warn(format!("{name} is of {begin}, which is still to come"), "set the clock of this host, or of the CA's");
    }
    if now.since(begin) > end.since(begin) / 2 {
        let found = format!("{name} is of {begin} and ends {end}: the next one is late");
        return Check::RevocationLists.warn(found, "put a new one in its place (`strongroom pki crl`), from a timer");
    }
    Check::RevocationLists.pass(format!("{name} is of {begin} and good until {end}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::Verdict;
    use crate::model::{Class, Clock, SystemClock};
    use crate::pki::Authority;

    #[test]
    fn past_half_of_its_life_a_list_warns_and_at_its_end_it_fails() {
        let at = |milliseconds| Timestamp::from_unix_ms(milliseconds).expect("valid");
        let verdict = |now| judge("it", Span { begin: at(1_000), end: at(3_000) }, at(now)).verdict;
        assert_eq!(verdict(999), Verdict::Warn);
        assert_eq!(verdict(1_000), Verdict::Pass);
        assert_eq!(verdict(2_000), Verdict::Pass);
        assert_eq!(verdict(2_001), Verdict::Warn);
        assert_eq!(verdict(2_999), Verdict::Warn);
        assert_eq!(verdict(3_000), Verdict::Fail);
    }

    #[test]
    fn each_way_of_revocation_is_judged() {
        let folder = tempfile::tempdir().expect("a folder");
        let trust = |revocation| Trust { domain: "a.test".parse().expect("valid"), class: Class::Workload, roots: Vec::new(), revocation };
        let verdicts =
            |revocation| check(&[trust(revocation)], SystemClock.now()).iter().map(|finding| finding.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(Revocation::None), [Verdict::Warn]);
        assert_eq!(verdicts(Revocation::ShortLived { max_leaf_lifetime: Duration::from_secs(3600) }), [Verdict::Pass]);
        let (path, lost) = (folder.path().join("crl.pem"), folder.path().join("lost.pem"));
        let now = SystemClock.now();
        let authority = Authority::create("CA", "a.test".parse().expect("valid"), now).expect("made");
        std::fs::write(&path, authority.crl(&[], 1, now, now.plus(Duration::from_secs(3600))).expect("signed")).expect("written");
        assert_eq!(verdicts(Revocation::Lists(vec![path, lost])), [Verdict::Pass, Verdict::Fail]);
    }
}
