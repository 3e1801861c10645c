//! What server and worker say to each other, once each. Both ends are the same program, but in the worker there is foreign code: its
//! answer has a length that is known beforehand, and holds no text.
//!
//! ```text
//! request:  task u8 ‖ lp(module) ‖ lp(token label) ‖ lp(key label) ‖ lp(PIN) ‖ lp(context) ‖ iv 12 ‖ 32, 48 or no bytes
//! answer:   00 ‖ iv 12 ‖ ciphertext 48     or   00 ‖ secret 32     or   00     or   a reason u8 ‖ the number of an error's name u8
//! ```

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::Key;
use crate::crypto::codec::{Reader, put_length_prefixed};
use crate::model::Invalid;
use crate::seal::{TOKEN_CIPHERTEXT_BYTES, TokenCiphertext, TokenError, TokenLabel, TokenLabels};

/// Longest answer.
pub(super) const ANSWER_BYTES: usize = 1 + 12 + TOKEN_CIPHERTEXT_BYTES;
/// Longest request: five fields of at most 64 KiB, of which the module's path may be one.
pub(super) const REQUEST_BYTES: u64 = 1 << 18;

/// What an HSM is to do.
pub(super) enum Task<'a> {
    /// Make the key if it is not there.
    MakeKey,
    /// Encrypt a slot's secret.
    Encrypt { iv: [u8; 12], context: &'a [u8], secret: &'a [u8; 32] },
    /// Decrypt it.
    Decrypt { context: &'a [u8], ciphertext: &'a TokenCiphertext },
}

impl Task<'_> {
    /// Length of the answer, the status byte not counted.
    pub(super) const fn answer_bytes(&self) -> usize {
        match self {
            Self::MakeKey => 0,
            Self::Encrypt { .. } => ANSWER_BYTES - 1,
            Self::Decrypt { .. } => 32,
        }
    }
}

/// A task, and where to do it.
pub(super) struct Request<'a> {
    pub(super) module: &'a Path,
    pub(super) labels: &'a TokenLabels,
    pub(super) pin: &'a [u8],
    pub(super) task: Task<'a>,
}

impl Request<'_> {
    /// The bytes, which hold the PIN.
    pub(super) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let nothing = [0; 12];
        let (number, context, iv, payload): (u8, &[u8], &[u8; 12], &[u8]) = match &self.task {
            Task::MakeKey => (1, &[], &nothing, &[]),
            Task::Encrypt { iv, context, secret } => (2, context, iv, *secret),
            Task::Decrypt { context, ciphertext } => (3, context, &ciphertext.iv, &ciphertext.bytes),
        };
        let (token, key) = (self.labels.token.as_str(), self.labels.key.as_str());
        let mut out = Zeroizing::new(vec![number]);
        for field in [self.module.as_os_str().as_bytes(), token.as_bytes(), key.as_bytes(), self.pin, context] {
            put_length_prefixed(&mut out, field).map_err(|_| TokenError::Module)?;
        }
        out.extend_from_slice(iv);
        out.extend_from_slice(payload);
        Ok(out)
    }
}

/// A request as the worker has it.
pub(super) struct Received {
    pub(super) module: PathBuf,
    pub(super) labels: TokenLabels,
    pub(super) pin: Zeroizing<Vec<u8>>,
    pub(super) context: Vec<u8>,
    pub(super) iv: [u8; 12],
    pub(super) job: Job,
}

/// What the worker is to do, with what it needs for it.
pub(super) enum Job {
    MakeKey,
    Encrypt(Key),
    Decrypt([u8; TOKEN_CIPHERTEXT_BYTES]),
}

impl Received {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(bytes);
        let task = reader.u8()?;
        let module = PathBuf::from(std::ffi::OsStr::from_bytes(reader.length_prefixed()?));
        let labels = TokenLabels { token: label(reader.length_prefixed()?)?, key: label(reader.length_prefixed()?)? };
        let pin = Zeroizing::new(reader.length_prefixed()?.to_vec());
        let (context, iv) = (reader.length_prefixed()?.to_vec(), reader.array()?);
        let job = match task {
            1 => Job::MakeKey,
            2 => Job::Encrypt(Key::from_bytes(&mut reader.array()?)),
            3 => Job::Decrypt(reader.array()?),
            _ => return Err(Invalid("no such task")),
        };
        reader.finish()?;
        Ok(Self { module, labels, pin, context, iv, job })
    }
}

fn label<const MAX: usize>(bytes: &[u8]) -> Result<TokenLabel<MAX>, Invalid> {
    TokenLabel::parse(std::str::from_utf8(bytes).map_err(|_| Invalid("a label that is not UTF-8"))?)
}

/// What an HSM has done.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Ciphertext(TokenCiphertext),
    Secret(Key),
}

impl Answer {
    /// What the worker sends.
    pub(super) fn encode(answer: &Result<Self, TokenError>) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES));
        match answer {
            Ok(answer) => {
                out.push(0);
                match answer {
                    Self::Done => {}
                    Self::Ciphertext(ciphertext) => {
                        out.extend_from_slice(&ciphertext.iv);
                        out.extend_from_slice(&ciphertext.bytes);
                    }
                    Self::Secret(secret) => out.extend_from_slice(secret.expose()),
                }
            }
            Err(error) => out.extend_from_slice(&reason(*error)),
        }
        out
    }

    /// What the server makes of what has come, which may be anything: `expected` is the length of a good answer after the status byte.
    pub(super) fn decode(bytes: &[u8], expected: usize) -> Result<Self, TokenError> {
        let mut reader = Reader::new(bytes);
        match reader.u8() {
            Err(_) => return Err(TokenError::Crashed),
            Ok(0) => {}
            Ok(_) => return Err(error_of(bytes)),
        }
        let wrong = |_| TokenError::WrongAnswer;
        let answer = match expected {
            0 => Self::Done,
            32 => Self::Secret(Key::from_bytes(&mut reader.array().map_err(wrong)?)),
            _ => Self::Ciphertext(TokenCiphertext { iv: reader.array().map_err(wrong)?, bytes: reader.array().map_err(wrong)? }),
        };
        reader.finish().map_err(wrong)?;
        Ok(answer)
    }
}

/// The reasons that have a number of their own, from 2 on; 1 is [`TokenError::Failed`].
const REASONS: [TokenError; 10] = [
    TokenError::Module,
    TokenError::PinFile,
    TokenError::NoToken,
    TokenError::SeveralTokens,
    TokenError::WrongPin,
    TokenError::PinLocked,
    TokenError::NoKey,
    TokenError::SeveralKeys,
    TokenError::LooseKey,
    TokenError::WrongAnswer,
];

/// The errors of PKCS#11 that are told by name: each stands for itself, and the last one for all others. A number or a text of the
/// module's own never gets any further than here.
pub(super) const NAMES: [&str; 19] = [
    "CKR_HOST_MEMORY",
    "CKR_GENERAL_ERROR",
    "CKR_FUNCTION_FAILED",
    "CKR_DEVICE_ERROR",
    "CKR_DEVICE_MEMORY",
    "CKR_DEVICE_REMOVED",
    "CKR_ENCRYPTED_DATA_INVALID",
    "CKR_ENCRYPTED_DATA_LEN_RANGE",
    "CKR_FUNCTION_NOT_SUPPORTED",
    "CKR_KEY_FUNCTION_NOT_PERMITTED",
    "CKR_MECHANISM_INVALID",
    "CKR_MECHANISM_PARAM_INVALID",
    "CKR_SESSION_COUNT",
    "CKR_TEMPLATE_INCONSISTENT",
    "CKR_TOKEN_NOT_PRESENT",
    "CKR_TOKEN_NOT_RECOGNIZED",
    "CKR_TOKEN_WRITE_PROTECTED",
    "CKR_USER_PIN_NOT_INITIALIZED",
    "an error of another kind",
];

fn reason(error: TokenError) -> [u8; 2] {
    let byte = |at: usize| u8::try_from(at).expect("the tables are short");
    if let TokenError::Failed(name) = error {
        return [1, byte(NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len() - 1))];
    }
    REASONS.iter().position(|known| *known == error).map_or([1, byte(NAMES.len() - 1)], |at| [byte(at + 2), 0])
}

fn error_of(bytes: &[u8]) -> TokenError {
    match *bytes {
        [1, name] => NAMES.get(usize::from(name)).map_or(TokenError::WrongAnswer, |name| TokenError::Failed(name)),
        [reason, 0] => REASONS.get(usize::from(reason).wrapping_sub(2)).copied().unwrap_or(TokenError::WrongAnswer),
        _ => TokenError::WrongAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> TokenLabels {
        TokenLabels { token: TokenLabel::parse("token").expect("short"), key: TokenLabel::parse("key").expect("short") }
    }

    fn sent(task: Task<'_>) -> Zeroizing<Vec<u8>> {
        Request { module: Path::new("/lib/module.so"), labels: &labels(), pin: b"12\0\xFF", task }.encode().expect("short")
    }

    #[test]
    fn a_request_arrives_as_it_was_sent_and_no_cut_one_does() {
        let ciphertext = TokenCiphertext { iv: [7; 12], bytes: [8; 48] };
        let requests = [
            sent(Task::MakeKey),
            sent(Task::Encrypt { iv: [5; 12], context: b"ctx", secret: &[6; 32] }),
            sent(Task::Decrypt { context: b"ctx", ciphertext: &ciphertext }),
        ];
        for (bytes, iv) in requests.iter().zip([[0; 12], [5; 12], [7; 12]]) {
            let received = Received::decode(bytes).expect("sent above");
            assert_eq!((received.module.as_path(), &received.pin[..], received.iv), (Path::new("/lib/module.so"), &b"12\0\xFF"[..], iv));
            assert_eq!(received.labels, labels());
            for length in 0..bytes.len() {
                assert!(Received::decode(&bytes[..length]).is_err(), "cut at {length}");
            }
            assert!(Received::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        assert!(matches!(Received::decode(&requests[1]).expect("sent").job, Job::Encrypt(secret) if secret.expose() == &[6; 32]));
        assert!(matches!(Received::decode(&requests[2]).expect("sent").job, Job::Decrypt(bytes) if bytes == [8; 48]));
        assert!(Received::decode(&[&[4], &requests[0][1..]].concat()).is_err(), "no such task");
    }

    #[test]
    fn an_answer_has_the_length_that_was_asked_for_or_is_wrong() {
        let ciphertext = TokenCiphertext { iv: [7; 12], bytes: [8; 48] };
        let good =
            [(Ok(Answer::Done), 0), (Ok(Answer::Secret(Key::from_bytes(&mut [9; 32]))), 32), (Ok(Answer::Ciphertext(ciphertext)), 60)];
        for (answer, expected) in &good {
            let bytes = Answer::encode(answer);
            assert_eq!(bytes.len(), expected + 1);
            assert_eq!(*Answer::encode(&Answer::decode(&bytes, *expected).map(Ok).expect("good")), *bytes);
            for other in [0, 32, 60] {
                assert_eq!(Answer::decode(&bytes, other).is_ok(), other == *expected);
            }
            for length in 1..bytes.len() {
                assert!(matches!(Answer::decode(&bytes[..length], *expected), Err(TokenError::WrongAnswer)), "cut at {length}");
            }
            assert!(matches!(Answer::decode(&[&bytes[..], &[0]].concat(), *expected), Err(TokenError::WrongAnswer)));
        }
        assert!(matches!(Answer::decode(&[], 32), Err(TokenError::Crashed)));
    }

    // immune: row-39
    #[test]
    fn an_error_is_one_of_a_closed_list_whatever_comes() {
        for error in REASONS.into_iter().chain(NAMES.map(TokenError::Failed)) {
            assert_eq!(Answer::decode(&Answer::encode(&Err(error)), 32).map(drop), Err(error));
        }
        let unknown = Answer::encode(&Err(TokenError::Failed("CANARY")));
        assert_eq!(Answer::decode(&unknown, 32).map(drop), Err(TokenError::Failed("an error of another kind")));
        for status in 1..=u8::MAX {
            for name in 0..=u8::MAX {
                let error = Answer::decode(&[status, name], 32).map(drop).expect_err("no answer");
                let known = REASONS.contains(&error) || NAMES.iter().any(|name| error == TokenError::Failed(name));
                assert!(known, "{status} {name}: {error:?}");
            }
            assert!(matches!(Answer::decode(&[&[status], &b"the PIN is 1234"[..]].concat(), 32), Err(TokenError::WrongAnswer)));
        }
    }
}
