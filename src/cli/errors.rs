//! What a command fails with, and the exit code that tells scripts why.

use std::io;
use std::path::PathBuf;

use serde_json::json;
use tonic::Code;

use super::output::{Format, json_text, shown};
use crate::client::{ClientError, Refusal};
use crate::model::with_causes;
use crate::pki::PkiError;
use crate::pki::office::OfficeError;

/// The exit codes, as the help shows them.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something else went wrong
  2  wrong usage
  3  not found, or not visible to you
  4  denied
  5  conflict: it exists already, has changed meanwhile, or is in the wrong state
  6  sealed, unavailable, not reachable, or too slow: try again later
  7  invalid input
  8  not good: what doctor, verify-statement, backup verify or backup drill looked at";

/// The exit code where what was to be checked is not good.
pub(super) const NOT_GOOD: u8 = 8;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The client or the server would not.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Flags or arguments that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// What was typed, piped or read from a file cannot be used.
    #[error("{0}")]
    Input(String),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What was to be checked is not good.
    #[error("{0}")]
    NotGood(String),
    /// The question was not answered with yes.
    #[error("not confirmed: nothing was changed")]
    Declined,
    /// The small CA would not.
    #[error("{}", with_causes(.0))]
    Pki(#[from] OfficeError),
    /// A command for this host itself failed: `server`, `init` or `dev`.
    #[error("{0}")]
    Host(String),
    /// Standard output is closed or full.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl CliError {
    /// 1 to 8, see the program's help.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => client_exit_code(error),
            Self::Pki(error) => pki_exit_code(error),
            Self::Usage(_) => 2,
            Self::Input(_) => 7,
            Self::NotGood(_) => NOT_GOOD,
            Self::File { .. } | Self::Declined | Self::Host(_) | Self::Output(_) => 1,
        }
    }

    /// The error for standard error: a line for people, or one JSON object. Neither can forge a second line.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table => format!("strongroom: {}", shown(&self.to_string())),
            Format::Json => json_text(&self.json()),
        }
    }

    fn json(&self) -> serde_json::Value {
        let refusal = if let Self::Client(error) = self { error.refusal() } else { None };
        let fields = refusal.map(|refusal| refusal.fields.as_slice()).unwrap_or_default();
        json!({"error": {
            "exit_code": self.exit_code(),
            "code": self.code_word(),
            "message": self.to_string(),
            "fields": fields.iter().map(|one| json!({"field": one.field, "problem": one.problem})).collect::<Vec<_>>(),
            "missing_action": refusal.and_then(|refusal| refusal.missing_action).map(|action| action.word()),
            "retry_after_s": refusal.and_then(|refusal| refusal.retry_after).map(|delay| delay.as_secs_f64()),
        }})
    }

    fn code_word(&self) -> &'static str {
        match self {
            Self::Client(ClientError::Refused(refusal)) => refusal.code_word(),
            Self::Client(ClientError::Unreachable { .. }) => "UNREACHABLE",
            Self::Client(ClientError::Tls { .. }) => "TLS",
            Self::Client(ClientError::TimedOut { .. }) => "TIMED_OUT",
            Self::Client(ClientError::Answer(_)) => "ANSWER",
            Self::Client(ClientError::Profile { .. }) => "PROFILE",
            Self::Client(ClientError::NoRandomness) => "NO_RANDOMNESS",
            Self::Client(ClientError::Invalid { .. }) | Self::Input(_) => "INVALID_INPUT",
            Self::NotGood(_) => "NOT_GOOD",
            Self::Usage(_) => "USAGE",
            Self::File { .. } => "FILE",
            Self::Declined => "DECLINED",
            Self::Pki(_) => "PKI",
            Self::Host(_) => "HOST",
            Self::Output(_) => "OUTPUT",
        }
    }
}

fn pki_exit_code(error: &OfficeError) -> u8 {
    match error {
        OfficeError::NoPki { .. } | OfficeError::Unknown(_) => 3,
        OfficeError::InTheWay { .. } | OfficeError::Revoked { .. } => 5,
        OfficeError::Invalid(_) => 7,
        OfficeError::Pki(
            PkiError::Build(_) | PkiError::ForeignDomain | PkiError::Validity(_) | PkiError::Serial | PkiError::Request(_),
        ) => 7,
        OfficeError::Pki(_) | OfficeError::Damaged { .. } | OfficeError::Full { .. } => 1,
    }
}

fn client_exit_code(error: &ClientError) -> u8 {
    match error {
        ClientError::Refused(refusal) => refusal_exit_code(refusal),
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } => 6,
        ClientError::Invalid { .. } | ClientError::Profile { .. } => 7,
        ClientError::Tls { .. } | ClientError::Answer(_) | ClientError::NoRandomness => 1,
    }
}

fn refusal_exit_code(refusal: &Refusal) -> u8 {
    match refusal.code {
        _ if refusal.is_sealed() => 6,
        Code::NotFound => 3,
        Code::PermissionDenied | Code::Unauthenticated => 4,
        Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => 5,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => 6,
        Code::InvalidArgument | Code::OutOfRange => 7,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::{FieldProblem, Method};
    use crate::model::Action;

    fn refused(code: Code, reason: &str) -> CliError {
        let fields = vec![FieldProblem { field: "name".to_owned(), problem: "bad\u{1b}[2J\nstrongroom: done".to_owned() }];
        let retry_after = Some(Duration::from_millis(500));
        let (message, reason, missing_action) = ("no".to_owned(), reason.to_owned(), Some(Action::Reveal));
        let refusal = Refusal { method: Method::RevealSecret, code, message, fields, missing_action, retry_after, reason };
        CliError::Client(ClientError::Refused(Box::new(refusal)))
    }

    #[test]
    fn exit_codes_are_as_the_help_says() {
        for (code, exit) in [
            (Code::NotFound, 3),
            (Code::PermissionDenied, 4),
            (Code::Unauthenticated, 4),
            (Code::AlreadyExists, 5),
            (Code::Aborted, 5),
            (Code::FailedPrecondition, 5),
            (Code::Unavailable, 6),
            (Code::ResourceExhausted, 6),
            (Code::InvalidArgument, 7),
            (Code::Internal, 1),
            (Code::DataLoss, 1),
        ] {
            assert_eq!(refused(code, "").exit_code(), exit, "{code:?}");
        }
        assert_eq!(refused(Code::FailedPrecondition, "SEALED").exit_code(), 6);
        assert_eq!(CliError::from(ClientError::Unreachable { address: String::new(), problem: String::new() }).exit_code(), 6);
        assert_eq!(CliError::from(ClientError::Invalid { field: "a", why: "b" }).exit_code(), 7);
        assert_eq!((CliError::Usage(String::new()).exit_code(), CliError::Declined.exit_code()), (2, 1));
        (0..=NOT_GOOD).for_each(|code| assert!(EXIT_CODES.contains(&format!("\n  {code}  ")), "{code}"));
    }

    // immune: row-43
    #[test]
    fn an_error_is_one_line_whatever_the_server_says() {
        let error = refused(Code::InvalidArgument, "");
        for format in [Format::Table, Format::Json] {
            let text = error.render(format);
            assert!(!text.trim_end().contains('\u{1b}') && !text.contains("\nstrongroom: done"), "{text:?}");
        }
        assert_eq!(error.render(Format::Table).lines().count(), 1);
    }

    #[test]
    fn errors_in_json_keep_their_shape() {
        let text = refused(Code::PermissionDenied, "").render(Format::Json);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["error"]["exit_code"], 4);
        assert_eq!(value["error"]["code"], "PERMISSION_DENIED");
        assert_eq!(value["error"]["missing_action"], "reveal");
        assert_eq!(value["error"]["fields"][0]["field"], "name");
        assert_eq!(value["error"]["retry_after_s"], 0.5);
        let value: serde_json::Value = serde_json::from_str(&CliError::Declined.render(Format::Json)).expect("JSON");
        let keys: Vec<_> = value["error"].as_object().expect("an object").keys().cloned().collect();
        assert_eq!(keys, ["code", "exit_code", "fields", "message", "missing_action", "retry_after_s"]);
    }
}
