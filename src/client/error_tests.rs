use std::collections::HashMap;
use std::io;

use tonic_types::ErrorDetails;

use super::*;

fn error(status: &Status) -> ClientError {
    ClientError::of_status(Method::RevealSecret, "vault:8443", status).expect("no timeout")
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_to_do() {
    let mut details = ErrorDetails::new();
    details.set_error_info("MISSING_ACTION", "strongroom", HashMap::from([("action".to_owned(), "reveal".to_owned())]));
    let denied = error(&Status::with_error_details(Code::PermissionDenied, "not allowed", details));
    let refusal = denied.refusal().expect("a refusal");
    assert_eq!((refusal.missing_action, refusal.reason.as_str()), (Some(Action::Reveal), "MISSING_ACTION"));
    let text = denied.to_string();
    assert!(text.contains("not allowed") && text.contains("`reveal`") && text.contains("administrator"), "{text}");
    assert!(!denied.is_passing());
}

#[test]
fn field_problems_and_delays_come_through() {
    let details = ErrorDetails::with_bad_request_violation("payload", "longer than 64 KiB");
    let text = error(&Status::with_error_details(Code::InvalidArgument, "invalid", details)).to_string();
    assert!(text.contains("payload: longer than 64 KiB"), "{text}");

    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
    let busy = error(&Status::with_error_details(Code::Unavailable, "busy", details));
    assert_eq!(busy.retry_after(), Some(Duration::from_millis(1500)));
    assert!(busy.is_passing() && busy.to_string().contains("1.5 s"), "{busy}");
}

#[test]
fn a_sealed_vault_is_not_asked_again() {
    let details = ErrorDetails::with_error_info("SEALED", "strongroom", HashMap::new());
    let sealed = error(&Status::with_error_details(Code::Unavailable, "the vault is sealed", details));
    assert!(!sealed.is_passing());
    assert!(sealed.to_string().contains("unseal"), "{sealed}");
}

#[test]
fn what_broke_here_is_told_from_what_the_server_said() {
    let broken = Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset)));
    assert!(matches!(error(&broken), ClientError::Unreachable { .. }) && error(&broken).is_passing());

    let untrusted = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::NoCertificatesPresented);
    let untrusted = error(&Status::from_error(Box::new(untrusted)));
    assert!(matches!(untrusted, ClientError::Tls { .. }) && !untrusted.is_passing(), "{untrusted}");

    assert!(matches!(error(&Status::unavailable("draining")), ClientError::Refused(_)));
    let expired = Status::from_error(Box::new(tonic::TimeoutExpired(())));
    assert!(ClientError::of_status(Method::GetStatus, "vault:8443", &expired).is_none());
    assert!(ClientError::of_status(Method::GetStatus, "vault:8443", &Status::deadline_exceeded("late")).is_none());
}

#[test]
fn details_that_make_no_sense_leave_code_and_message() {
    let status = Status::with_details(Code::NotFound, "no such secret", vec![0xff; 40].into());
    let refusal = error(&status).refusal().cloned().expect("a refusal");
    assert_eq!((refusal.code, refusal.message.as_str(), refusal.fields.len()), (Code::NotFound, "no such secret", 0));
}

#[test]
fn a_cause_is_said_once() {
    let inner = io::Error::other(rustls::Error::NoCertificatesPresented);
    assert_eq!(chain(&inner).matches("certificate").count(), 1, "{}", chain(&inner));
}
