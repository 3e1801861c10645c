//! Certificates: when they end, and what a start or a reload would make of all the files of TLS.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::AS_ROOT;
use super::finding::{Check, Finding, Unseen};
use super::operations::Operations;
use crate::config::{Config, Tls};
use crate::identity::{IdentityError, load_certificates};
use crate::model::{SystemClock, Timestamp, with_causes};
use crate::server::load_tls;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// So long before its end a certificate should be replaced; one of a short life, in the last third of it.
const NOTICE: Duration = DAY.saturating_mul(14);

/// From when to when something is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) begin: Timestamp,
    pub(super) end: Timestamp,
}

/// A file that cannot be used: hidden from us, or bad.
pub(super) fn read_error(check: Check, error: &IdentityError) -> Finding {
    let told = with_causes(error);
    match error {
        IdentityError::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied => check.unknown(&Unseen::new(told, AS_ROOT)),
        _ => check.fail(told, "put a good file there: the server does not start without it"),
    }
}

/// Whether a start would take the files, and whether the server has.
pub(super) fn check_files(config: &Config, operations: &Result<Operations, Unseen>) -> Vec<Finding> {
    let loaded = match load_tls(config, Arc::new(SystemClock)) {
        Ok(_) => Check::TlsFiles.pass("certificate, key, CA certificates and revocation lists fit together: a start would take them"),
        Err(error) => read_error(Check::TlsFiles, &error),
    };
    vec![loaded, in_force(operations.as_ref().map_err(Clone::clone).and_then(|told| told.value("strongroom_tls_reload_refused")))]
}

fn in_force(refused: Result<f64, Unseen>) -> Finding {
    match refused {
        Ok(refused) if refused > 0.0 => Check::TlsFiles.fail(
            "the server could not take the files as they are now, and goes by older ones",
            "its log, and `reload` under /readyz, say which file and why",
        ),
        Ok(_) => Check::TlsFiles.pass("the server goes by the files as they are now"),
        Err(Unseen { why, advice }) => Check::TlsFiles
            .unknown(&Unseen::new(format!("whether the server goes by the files as they are now cannot be seen: {why}"), advice)),
    }
}

pub(super) fn check(tls: &Tls, now: Timestamp) -> Vec<Finding> {
    let roots = tls.trust.iter().flat_map(|trust| &trust.roots);
    std::iter::once(&tls.certificate).chain(roots).flat_map(|file| file_check(file, now)).collect()
}

fn file_check(file: &Path, now: Timestamp) -> Vec<Finding> {
    let chain = match load_certificates(file) {
        Ok(chain) => chain,
        Err(error) => return vec![read_error(Check::Certificates, &error)],
    };
    let judged = chain.iter().map(|certificate| match span(certificate) {
        Some((name, span)) => judge(&format!("{name} ({})", file.display()), span, now),
        None => Check::Certificates.fail(format!("{}: a certificate cannot be read", file.display()), "put a good one there"),
    });
    judged.collect()
}

/// Whose it is, and how long it is good.
fn span(certificate: &CertificateDer<'_>) -> Option<(String, Span)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    let span = Span { begin: time(validity.not_before.timestamp()), end: time(validity.not_after.timestamp()) };
    let subject = certificate.subject().to_string();
    let name = if certificate.is_ca() { format!("the CA certificate {subject}") } else { "the server's certificate".to_owned() };
    Some((name, span))
}

/// Before 1970 counts as 1970, after 9999 as its end.
pub(super) fn time(seconds: i64) -> Timestamp {
    let milliseconds = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    Timestamp::from_unix_ms(milliseconds).unwrap_or(Timestamp::MAX)
}

fn judge(name: &str, span: Span, now: Timestamp) -> Finding {
    let Span { begin, end } = span;
    if end <= now {
        return Check::Certificates.fail(format!("{name} ended {end}"), "put a new one in its place; the server takes it up by itself");
    }
    if begin > now {
        return Check::Certificates.fail(format!("{name} is good from {begin} only"), "set this host's clock, or have it issued anew");
    }
    let notice = NOTICE.min(end.since(begin) / 3);
    if end.since(now) < notice {
        return Check::Certificates.warn(format!("{name} ends {end}"), "renew it; the server takes the new file up by itself");
    }
    Check::Certificates.pass(format!("{name} is good until {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn verdict(begin_ms: u64, end_ms: u64, now_ms: u64) -> Verdict {
        let at = |milliseconds| Timestamp::from_unix_ms(milliseconds).expect("valid");
        judge("it", Span { begin: at(begin_ms), end: at(end_ms) }, at(now_ms)).verdict
    }

    #[test]
    fn fourteen_days_before_its_end_a_certificate_warns() {
        let day = 24 * 3_600_000;
        let (begin, end) = (day, 91 * day);
        assert_eq!(verdict(begin, end, end - 14 * day), Verdict::Pass);
        assert_eq!(verdict(begin, end, end - 14 * day + 1), Verdict::Warn);
        assert_eq!(verdict(begin, end, end - 1), Verdict::Warn);
        assert_eq!(verdict(begin, end, end), Verdict::Fail);
        assert_eq!(verdict(begin, end, begin), Verdict::Pass);
        assert_eq!(verdict(begin, end, begin - 1), Verdict::Fail);
    }

    #[test]
    fn one_of_a_short_life_warns_in_its_last_third() {
        let hour = 3_600_000;
        assert_eq!(verdict(hour, 4 * hour, 3 * hour), Verdict::Pass);
        assert_eq!(verdict(hour, 4 * hour, 3 * hour + 1), Verdict::Warn);
    }

    #[test]
    fn files_that_the_server_refused_fail() {
        assert_eq!(in_force(Ok(0.0)).verdict, Verdict::Pass);
        assert_eq!(in_force(Ok(1.0)).verdict, Verdict::Fail);
        assert_eq!(in_force(Err(Unseen::new("", ""))).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_hidden_file_is_unknown_and_a_lost_one_fails() {
        let error = |kind: ErrorKind| IdentityError::Read { path: "a.pem".into(), source: kind.into() };
        assert_eq!(read_error(Check::Tls, &error(ErrorKind::PermissionDenied)).verdict, Verdict::Unknown);
        assert_eq!(read_error(Check::Tls, &error(ErrorKind::NotFound)).verdict, Verdict::Fail);
        assert_eq!(read_error(Check::Tls, &IdentityError::NoAnchor).verdict, Verdict::Fail);
    }
}
