//! What decrypts archives: identities of age, X25519.

use std::fmt;

use super::BackupError;
use crate::model::SecretBytes;

/// Longest file of identities: some hundred of them with their remarks.
const IDENTITY_BYTES: usize = 64 * 1024;
/// Identities of one file.
const IDENTITIES: usize = 16;

/// What decrypts an archive: the identities of a file that `age-keygen` made.
pub struct Identity(Vec<Box<dyn age::Identity + Send + Sync>>);

impl Identity {
    /// From the text of an identity file: one `AGE-SECRET-KEY-1…` a line, remarks after `#`.
    ///
    /// # Errors
    /// [`BackupError::Key`]: none, too many, or something else in it.
    pub fn parse(text: &SecretBytes) -> Result<Self, BackupError> {
        let refuse = |why| Err(BackupError::Key(why));
        if text.len() > IDENTITY_BYTES {
            return refuse("the identity file is longer than 64 KiB");
        }
        let Ok(text) = std::str::from_utf8(text.expose()) else {
            return refuse("the identity file is not text: one that a passphrase protects is opened by `age -d` first");
        };
        if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE") {
            return refuse("a passphrase protects the identity file: open it with `age -d FILE`, and give the result as --identity -");
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut found: Vec<Box<dyn age::Identity + Send + Sync>> = Vec::new();
        for line in lines {
            match line.parse::<age::x25519::Identity>() {
                Ok(identity) => found.push(Box::new(identity)),
                Err(_) => return refuse("the identity file holds a line that is no X25519 identity of age"),
            }
        }
        match found.len() {
            0 => refuse("the identity file holds no identity"),
            count if count > IDENTITIES => refuse("the identity file holds more than 16 identities"),
            _ => Ok(Self(found)),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| &**identity as &dyn age::Identity)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Recipient;

    // The example key of the age README.
    const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    fn identity() -> String {
        use age::secrecy::ExposeSecret;
        age::x25519::Identity::generate().to_string().expose_secret().to_owned()
    }

    fn parsed(text: &str) -> Result<Identity, BackupError> {
        Identity::parse(&SecretBytes::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_recipient_has_one_spelling() {
        assert_eq!(RECIPIENT.parse::<Recipient>().expect("one").as_str(), RECIPIENT);
        for other in ["", "age1", &RECIPIENT.to_uppercase(), &format!("{RECIPIENT} "), &RECIPIENT.replace('q', "p"), "ssh-ed25519 AAAA"] {
            assert!(other.parse::<Recipient>().is_err(), "{other}");
        }
    }

    #[test]
    fn identities_are_counted_and_nothing_of_them_is_shown() {
        let one = identity();
        let file = format!("# created: today\n# public key: age1…\n{one}\n\n");
        assert_eq!(format!("{:?}", parsed(&file).expect("one")), "Identity(1)");
        let many = |count: usize| (0..count).map(|_| identity() + "\n").collect::<String>();
        assert!(parsed(&many(16)).is_ok());
        let refused = [many(17), String::new(), "# nothing".to_owned(), format!("{one}\nAGE-SECRET-KEY-1X"), RECIPIENT.to_owned()];
        for text in refused {
            let error = parsed(&text).expect_err("refused");
            assert!(!error.to_string().contains("AGE-SECRET"), "{error}");
        }
        let long = format!("{one}\n#{}", "x".repeat(IDENTITY_BYTES));
        assert!(parsed(&long).is_err());
        let protected = parsed("age-encryption.org/v1\n-> scrypt").expect_err("refused");
        assert!(protected.to_string().contains("age -d"), "{protected}");
    }
}
