//! TLS as somebody sees it who connects.

use std::net::SocketAddr;
use std::path::Path;

use rustls_pki_types::CertificateDer;

use super::certificates::read_error;
use super::finding::{Check, Finding, Unseen};
use super::peer::{self, Answer, Known, Strange};
use crate::client::Profile;
use crate::identity::load_certificates;

const POST_QUANTUM: &str = "X25519MLKEM768";
const FOREIGN: &str = "see what listens there (`ss -ltnp`): it is not the server of this configuration";

/// What was seen.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    strange: Result<Strange, Unseen>,
    old: Result<Answer, Unseen>,
    known: Result<Known, Unseen>,
}

pub(super) async fn look(address: Result<SocketAddr, Unseen>, profile: Option<&Profile>) -> Shown {
    let address = match address {
        Ok(address) => address,
        Err(unseen) => return Shown { strange: Err(unseen.clone()), old: Err(unseen.clone()), known: Err(unseen) },
    };
    let known = match profile {
        Some(profile) => peer::as_holder(address, profile).await,
        None => {
            Err(Unseen::new("whether the server proves to be the one that clients pin cannot be seen without a profile", "give --profile"))
        }
    };
    Shown { strange: peer::without_certificate(address).await, old: peer::with_tls12(address).await, known }
}

pub(super) fn check(shown: &Shown, file: &Path) -> Vec<Finding> {
    let certificate = shown.strange.as_ref().map(|strange| strange.certificate.as_ref());
    let in_file = load_certificates(file).map_err(|error| read_error(Check::Tls, &error));
    vec![
        stranger(shown.strange.as_ref().map(|strange| &strange.answer)),
        old(shown.old.as_ref()),
        same(certificate, in_file.as_ref().map(|chain| chain.first()), file),
        known(&shown.known),
    ]
}

fn stranger(answer: Result<&Answer, &Unseen>) -> Finding {
    match answer {
        Ok(Answer::Refused) => Check::Tls.pass("a connection without a certificate is refused"),
        Ok(Answer::LetIn) => Check::Tls.fail("a connection without a certificate is let in", FOREIGN),
        Ok(Answer::Foreign(what)) => Check::Tls.fail(format!("what listens there is no server of TLS 1.3: {what}"), FOREIGN),
        Err(unseen) => Check::Tls.unknown(unseen),
    }
}

fn old(answer: Result<&Answer, &Unseen>) -> Finding {
    match answer {
        Ok(Answer::Refused) => Check::Tls.pass("TLS 1.2 is refused"),
        Ok(Answer::LetIn) => Check::Tls.fail("TLS 1.2 is spoken", FOREIGN),
        Ok(Answer::Foreign(what)) => Check::Tls.fail(what, FOREIGN),
        Err(unseen) => Check::Tls.unknown(unseen),
    }
}

fn same(
    shown: Result<Option<&CertificateDer<'static>>, &Unseen>,
    in_file: Result<Option<&CertificateDer<'static>>, &Finding>,
    file: &Path,
) -> Finding {
    match (shown, in_file) {
        (Ok(Some(shown)), Ok(Some(in_file))) if shown == in_file => {
            Check::Tls.pass(format!("the certificate shown is that of {}", file.display()))
        }
        (Ok(Some(_)), Ok(_)) => Check::Tls.fail(
            format!("the certificate shown is not that of {}", file.display()),
            "the server takes a new file up after two seconds: if this stays, its log and /readyz say why it does not",
        ),
        (Ok(None), _) => Check::Tls.unknown(&Unseen::new("no certificate was shown", FOREIGN)),
        (Err(unseen), _) => Check::Tls.unknown(unseen),
        (_, Err(finding)) => finding.clone(),
    }
}

fn known(known: &Result<Known, Unseen>) -> Finding {
    match known {
        Ok(Known::Proved { protocol, group }) if group == POST_QUANTUM => {
            Check::Tls.pass(format!("the server proves to be the one that the profile pins; {protocol}, {group}"))
        }
        Ok(Known::Proved { protocol, group }) => Check::Tls.warn(
            format!("the server proves to be the one that the profile pins, but by {group} ({protocol}): what is recorded today can be read later"),
            format!("find out what stands between, and why {POST_QUANTUM} is not used"),
        ),
        Ok(Known::Failed(why)) => Check::Tls.fail(
            format!("the server does not prove to be the one that the profile pins: {why}"),
            "compare the profile's server_id and ca with the server's certificate; if they are right, something else answers there",
        ),
        Err(unseen) => Check::Tls.unknown(unseen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn only_a_refusal_passes() {
        let unseen = Unseen::new("", "");
        for judge in [stranger, old] {
            assert_eq!(judge(Ok(&Answer::Refused)).verdict, Verdict::Pass);
            assert_eq!(judge(Ok(&Answer::LetIn)).verdict, Verdict::Fail);
            assert_eq!(judge(Ok(&Answer::Foreign(String::new()))).verdict, Verdict::Fail);
            assert_eq!(judge(Err(&unseen)).verdict, Verdict::Unknown);
        }
    }

    #[test]
    fn another_certificate_than_the_file_s_fails() {
        let (one, other, unseen) = (CertificateDer::from(vec![1]), CertificateDer::from(vec![2]), Unseen::new("", ""));
        let judged = |shown, file| same(shown, file, Path::new("server.pem")).verdict;
        assert_eq!(judged(Ok(Some(&one)), Ok(Some(&one))), Verdict::Pass);
        assert_eq!(judged(Ok(Some(&one)), Ok(Some(&other))), Verdict::Fail);
        assert_eq!(judged(Ok(None), Ok(Some(&one))), Verdict::Unknown);
        assert_eq!(judged(Err(&unseen), Ok(Some(&one))), Verdict::Unknown);
        let hidden = Check::Tls.unknown(&unseen);
        assert_eq!(judged(Ok(Some(&one)), Err(&hidden)), Verdict::Unknown);
    }

    #[test]
    fn the_pinned_server_passes_with_a_post_quantum_key_exchange() {
        let proved = |group: &str| Ok(Known::Proved { protocol: "TLSv1_3".to_owned(), group: group.to_owned() });
        assert_eq!(known(&proved(POST_QUANTUM)).verdict, Verdict::Pass);
        assert_eq!(known(&proved("X25519")).verdict, Verdict::Warn);
        assert_eq!(known(&Ok(Known::Failed(String::new()))).verdict, Verdict::Fail);
        assert_eq!(known(&Err(Unseen::new("", ""))).verdict, Verdict::Unknown);
    }
}
