//! A profile: the options of a caller as a TOML file, e.g.
//!
//! ```toml
//! address = "vault.internal:7443"
//! server_id = "spiffe://shop.example/strongroom"
//! ca = "ca.pem"
//! certificate = "alice.pem"
//! key = "alice.key"
//! server_public_keys = "server-key.pem"
//! deadline_s = 10
//! ```
//!
//! Relative paths are relative to the profile's own folder; the last two may be left out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::options::{DEFAULT_DEADLINE, check_address};
use super::{ClientError, ClientOptions, Credentials};
use crate::model::SpiffeId;

/// Longest deadline that a profile may set, in seconds: one hour.
const DEADLINE_S: u64 = 3600;
/// Longest profile that is read, in bytes.
const PROFILE_BYTES: u64 = 64 * 1024;

/// What a profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Where the vault is: `host:port`.
    pub address: String,
    /// Who the server must prove to be.
    pub server_id: SpiffeId,
    /// A file of public keys, of which the server must hold one.
    pub server_public_keys: Option<PathBuf>,
    /// The certificate files.
    pub credentials: Credentials,
    /// How long a call may take.
    pub deadline: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    address: String,
    server_id: String,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    server_public_keys: Option<PathBuf>,
    deadline_s: Option<u64>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`ClientError::Profile`], naming the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let refuse = |problem: String| ClientError::Profile { path: path.to_owned(), problem };
        let text = read_bounded(path).map_err(|error| refuse(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(refuse)
    }

    /// What [`Client::connect`](super::Client::connect) needs.
    #[must_use]
    pub fn options(self) -> ClientOptions {
        let options = ClientOptions::new(self.address, self.server_id, self.credentials);
        options.server_public_keys(self.server_public_keys).deadline(self.deadline)
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let typed: Typed = toml::from_str(text).map_err(|error| describe(&error, text))?;
        check_address(&typed.address).map_err(|error| error.to_string())?;
        let deadline = match typed.deadline_s {
            None => DEFAULT_DEADLINE,
            Some(seconds @ 1..=DEADLINE_S) => Duration::from_secs(seconds),
            Some(_) => return Err(format!("deadline_s: must be 1 to {DEADLINE_S}")),
        };
        let credentials =
            Credentials { ca: folder.join(typed.ca), certificate: folder.join(typed.certificate), key: folder.join(typed.key) };
        let server_id = typed.server_id.parse().map_err(|error| format!("server_id: {error}"))?;
        let server_public_keys = typed.server_public_keys.map(|path| folder.join(path));
        Ok(Self { address: typed.address, server_id, server_public_keys, credentials, deadline })
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(PROFILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Which line is wrong, but not its text, nor the parser's message, which repeats it: somebody may have pasted a key.
fn describe(error: &toml::de::Error, text: &str) -> String {
    const FIELDS: [&str; 7] = ["address", "server_id", "ca", "certificate", "key", "server_public_keys", "deadline_s"];
    if let Some(field) = FIELDS.iter().find(|field| error.message() == format!("missing field `{field}`")) {
        return format!("`{field}` is missing");
    }
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    format!("line {line}: a profile has {}, each once, as text in quotes (deadline_s: a number)", FIELDS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "address = 'vault:8443'\nserver_id = 'spiffe://a/vault'\nca = 'ca.pem'\ncertificate = '/etc/alice.pem'\nkey = 'keys/alice.key'\n";

    #[test]
    fn paths_are_relative_to_the_profile() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("profile.toml");
        std::fs::write(&path, GOOD).expect("written");
        let profile = Profile::read(&path).expect("valid");
        assert_eq!(profile.credentials.ca, folder.path().join("ca.pem"));
        assert_eq!(profile.credentials.certificate, Path::new("/etc/alice.pem"));
        assert_eq!(profile.credentials.key, folder.path().join("keys/alice.key"));
        assert_eq!(profile.deadline, DEFAULT_DEADLINE);
    }

    #[test]
    fn bounds_hold_and_unknown_words_are_refused() {
        let parse = |extra: &str| Profile::parse(&format!("{GOOD}{extra}"), Path::new(""));
        assert_eq!(parse("deadline_s = 3600").map(|profile| profile.deadline), Ok(Duration::from_secs(3600)));
        for extra in ["deadline_s = 0", "deadline_s = 3601", "deadline_s = -1", "retries = 3", "insecure = true", "ca = 'again'"] {
            assert!(parse(extra).is_err(), "{extra}");
        }
        assert!(Profile::parse(&GOOD.replace("vault:8443", "vault"), Path::new("")).is_err());
        assert!(Profile::parse(&GOOD.replace("spiffe:", "http:"), Path::new("")).is_err());
        let missing = Profile::parse(&GOOD.replace("ca = 'ca.pem'\n", ""), Path::new("")).expect_err("no CA");
        assert!(missing.contains("`ca` is missing"), "{missing}");
    }

    // immune: row-41
    #[test]
    fn an_error_does_not_repeat_what_was_written() {
        for line in ["key2 = 'CANARY'", "CANARY = 1", "CANARY", "deadline_s = 'CANARY'", "'CANARY' = CANARY"] {
            let problem = Profile::parse(&format!("{GOOD}{line}"), Path::new("")).expect_err("invalid");
            assert!(!problem.contains("CANARY"), "{problem}");
            assert!(problem.contains("line 6"), "{problem}");
        }
    }
}
