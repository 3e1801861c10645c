//! Keys in HSMs, through PKCS#11. The library of an HSM is foreign code: it may answer with anything, crash, or never return. So it
//! runs in a process of its own, the same program with one argument, for one request; what that process says is believed in nothing.
//!
//! ```text
//! server:  Token ── request (module, labels, PIN, what to do) ──> stdin of the worker          a deadline; then SIGKILL
//! worker:  loads the module, logs in, finds the key, looks at it, encrypts or decrypts, logs out
//! server:  <── one status byte, and 60, 32 or no bytes ── what was its stdout                  anything else is a wrong answer
//! ```
//!
//! | file | what |
//! |---|---|
//! | `wire` | the bytes of request and answer |
//! | `talk` | starts a worker, and ends it at the deadline |
//! | `work` | what the worker does: the only place that knows PKCS#11 |
//!
//! A word of the module's own goes nowhere: its output and its error texts may hold the PIN or the secret.

mod talk;
mod wire;
mod work;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::crypto::Key;
use crate::model::{SecretBytes, is_private};
use crate::seal::{TokenCiphertext, TokenError, TokenKey, TokenLabels};
use wire::{Answer, Request, Task};

pub use work::work;

/// The argument that makes this program a worker. It is for the server alone.
pub const WORKER: &str = "hsm-worker";

/// Longest PIN: as long as SoftHSM2 takes, and longer than others do.
const PIN_BYTES: usize = 255;
const OTHERS_MAY_WRITE: u32 = 0o002;

/// A key in an HSM, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The shared object that speaks PKCS#11, absolute.
    pub module: PathBuf,
    /// Where the key lies.
    pub labels: TokenLabels,
    /// The file with the PIN of the token's user. It is read each time anew.
    pub pin_file: PathBuf,
    /// How long the HSM may take for one request, login included.
    pub timeout: Duration,
}

impl Token {
    async fn ask(&self, task: Task<'_>) -> Result<Answer, TokenError> {
        self.check_module()?;
        let pin = self.pin()?;
        let request = Request { module: &self.module, labels: &self.labels, pin: pin.expose(), task };
        let expected = request.task.answer_bytes();
        let bytes = talk::talk(&request.encode()?, self.timeout).await?;
        Answer::decode(&bytes, expected)
    }

    /// Whoever may write the module decides what becomes of the root key.
    fn check_module(&self) -> Result<(), TokenError> {
        let metadata = std::fs::metadata(&self.module).map_err(|_| TokenError::Module)?;
        if metadata.is_file() && metadata.mode() & OTHERS_MAY_WRITE == 0 { Ok(()) } else { Err(TokenError::Module) }
    }

    /// The file's one line.
    fn pin(&self) -> Result<SecretBytes, TokenError> {
        let file = File::open(&self.pin_file).map_err(|_| TokenError::PinFile)?;
        // Of the open file, not of the path, which may name another one by now.
        let metadata = file.metadata().map_err(|_| TokenError::PinFile)?;
        if !metadata.is_file() || !is_private(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw()) {
            return Err(TokenError::PinFile);
        }
        let mut content = Vec::with_capacity(PIN_BYTES + 2);
        let read = file.take(PIN_BYTES as u64 + 2).read_to_end(&mut content);
        if content.last() == Some(&b'\n') {
            content.pop();
        }
        let pin = SecretBytes::new(content);
        let fits = (1..=PIN_BYTES).contains(&pin.len()) && !pin.expose().contains(&b'\n');
        if read.is_ok() && fits { Ok(pin) } else { Err(TokenError::PinFile) }
    }
}

#[async_trait]
impl TokenKey for Token {
    fn labels(&self) -> TokenLabels {
        self.labels
    }

    async fn make_key(&self) -> Result<(), TokenError> {
        match self.ask(Task::MakeKey).await? {
            Answer::Done => Ok(()),
            _ => Err(TokenError::WrongAnswer),
        }
    }

    async fn encrypt(&self, iv: [u8; 12], context: &[u8], secret: &Key) -> Result<TokenCiphertext, TokenError> {
        match self.ask(Task::Encrypt { iv, context, secret: secret.expose() }).await? {
            Answer::Ciphertext(ciphertext) => Ok(ciphertext),
            _ => Err(TokenError::WrongAnswer),
        }
    }

    async fn decrypt(&self, context: &[u8], ciphertext: &TokenCiphertext) -> Result<Key, TokenError> {
        match self.ask(Task::Decrypt { context, ciphertext }).await? {
            Answer::Secret(secret) => Ok(secret),
            _ => Err(TokenError::WrongAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::seal::TokenLabel;

    fn token(folder: &std::path::Path) -> Token {
        let labels = TokenLabels { token: TokenLabel::parse("t").expect("short"), key: TokenLabel::parse("k").expect("short") };
        Token { module: folder.join("module.so"), labels, pin_file: folder.join("pin"), timeout: Duration::from_secs(1) }
    }

    fn write(path: &std::path::Path, content: &[u8], mode: u32) {
        fs::write(path, content).expect("written");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn a_pin_is_one_line_in_a_file_of_its_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = token(folder.path());
        assert_eq!(token.pin().map(drop), Err(TokenError::PinFile), "it is not there");
        let longest = [b'9'; 255];
        for (content, pin) in [(&b"1234"[..], &b"1234"[..]), (b"1234\n", b"1234"), (b" 12 ", b" 12 "), (&longest, &longest)] {
            write(&token.pin_file, content, 0o600);
            assert_eq!(token.pin().expect("a PIN").expose(), pin);
        }
        let with_newline = [&longest[..], b"\n"].concat();
        write(&token.pin_file, &with_newline, 0o400);
        assert_eq!(token.pin().expect("the longest").len(), 255);
        for content in [&b""[..], b"\n", b"1234\n\n", b"12\n34", &[b'9'; 256], &[b'9'; 300]] {
            write(&token.pin_file, content, 0o600);
            assert_eq!(token.pin().map(drop), Err(TokenError::PinFile), "{} bytes", content.len());
        }
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644] {
            write(&token.pin_file, b"1234", mode);
            assert_eq!(token.pin().map(drop), Err(TokenError::PinFile), "{mode:o}");
        }
        fs::remove_file(&token.pin_file).expect("removed");
        fs::create_dir(&token.pin_file).expect("made");
        assert_eq!(token.pin().map(drop), Err(TokenError::PinFile), "a folder");
    }

    #[tokio::test]
    async fn a_module_that_anybody_may_write_is_not_loaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let token = token(folder.path());
        write(&token.pin_file, b"1234", 0o600);
        assert_eq!(token.make_key().await, Err(TokenError::Module), "it is not there");
        for mode in [0o757, 0o777, 0o646] {
            write(&token.module, b"", mode);
            assert_eq!(token.check_module(), Err(TokenError::Module), "{mode:o}");
        }
        write(&token.module, b"", 0o644);
        assert_eq!(token.check_module(), Ok(()));
    }
}
