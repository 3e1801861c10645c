//! What a person knows or holds of a slot, and to which server it may go.

use std::path::PathBuf;

use clap::Args;

use super::{CliError, Session, input};
use crate::client::SlotSecret;

/// A passphrase, or one share. With no flag: a passphrase is asked for.
#[derive(Debug, Args)]
pub struct SlotSecretArguments {
    /// Read the passphrase from this file, - for standard input; one newline at its end is dropped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["share", "share_file"])]
    passphrase_file: Option<PathBuf>,
    /// Ask for a share, not for a passphrase
    #[arg(long, conflicts_with = "share_file")]
    share: bool,
    /// Read a share from this file, - for standard input; blanks and line ends do not count
    #[arg(long, value_name = "FILE")]
    share_file: Option<PathBuf>,
    /// Give a share to a server that the profile names, but whose key it does not pin
    #[arg(long)]
    any_server_key: bool,
}

impl SlotSecretArguments {
    /// Reads what was said. A share goes only to a server whose key the profile pins: who collects enough of them has the vault.
    pub(super) fn read(&self, session: &Session) -> Result<SlotSecret, CliError> {
        if !self.share && self.share_file.is_none() {
            return input::passphrase(self.passphrase_file.as_deref()).map(SlotSecret::Passphrase);
        }
        if !session.client.pins_server_key() && !self.any_server_key {
            return Err(CliError::Usage(
                "the profile does not pin the server's key, so a false server could collect shares: put `server_public_keys = \"FILE\"` \
                 into the profile (docs/cli.md says how to make the file), or say --any-server-key"
                    .to_owned(),
            ));
        }
        input::share(self.share_file.as_deref()).map(SlotSecret::Share)
    }
}
