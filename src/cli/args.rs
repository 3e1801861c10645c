//! The whole program's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::access::{BindingCommand, RoleCommand};
use super::audit::AuditCommand;
use super::backup::{BackupCommand, RestoreArguments};
use super::errors::EXIT_CODES;
use super::keys::KeysCommand;
use super::namespace::NamespaceCommand;
use super::output::Format;
use super::pki::PkiArguments;
use super::proposal::ProposalCommand;
use super::seal::{SealArguments, UnsealArguments};
use super::secret::SecretCommand;
use super::subject::SubjectCommand;
use crate::backup::Recipient;
use crate::model::{HsmName, Invalid, SpiffeId};

/// A vault for access tokens and user secrets.
///
/// A value or passphrase is read from a prompt, a file or standard input, and never from the command line.
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, after_help = EXIT_CODES, max_term_width = 110, after_long_help = format!("{LONG_HELP}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const LONG_HELP: &str = "\
Examples:
  strongroom dev --demo                                 a throwaway vault to try things out
  export STRONGROOM_PROFILE=~/.config/strongroom/alice.toml
  strongroom secret put wepay-stage/merchants/12345 --provider wepay --subject 12345
  strongroom secret get wepay-stage/merchants/12345 --reason 'case 4711' --show
  strongroom secret list wepay-stage --output json | jq -r '.items[].name'

A profile is a TOML file:
  address = \"vault.internal:7443\"
  server_id = \"spiffe://shop.example/strongroom\"
  ca = \"ca.pem\"                  # paths are relative to the profile
  certificate = \"alice.pem\"
  key = \"alice.key\"
  server_public_keys = \"server-key.pem\"   # may be left out; who gives a share pins the server's key, too
  deadline_s = 10                # may be left out

With --output json every command prints one JSON object on standard output, and an error as one on standard error.";

/// What holds for every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Where the vault is and who you are: a TOML file [default: the file that STRONGROOM_PROFILE names]
    #[arg(long, global = true, value_name = "FILE", help_heading = "For every command")]
    pub profile: Option<PathBuf>,
    /// How results are shown
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "For every command")]
    pub output: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Server(ServerArguments),
    /// Make a new vault in the configured data folder, on this machine
    Init(InitArguments),
    /// Make the vault of a backup in the configured data folder, on this machine
    Restore(RestoreArguments),
    /// Make and take back certificates, if you have no PKI of your own
    Pki(PkiArguments),
    /// Run a throwaway vault with certificates of its own, to try things out
    Dev(DevArguments),
    /// See whether this host is set up as it should be
    Doctor(DoctorArguments),
    /// A command for a vault that runs.
    #[command(flatten)]
    Client(ClientCommand),
    /// Print a completion script for a shell, e.g. `strongroom completion bash > /etc/bash_completion.d/strongroom`
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// `server`.
#[derive(Debug, Args)]
#[command(after_help = SERVER_HELP)]
pub struct ServerArguments {
    /// The server's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `init`.
#[derive(Debug, Args)]
#[command(after_help = INIT_HELP)]
pub struct InitArguments {
    /// The server's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Read the first slot's passphrase from this file, - for standard input [default: ask for it]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Open the vault with so many shares, of which --threshold are enough, and not with a passphrase
    #[arg(long, value_name = "N", requires_all = ["threshold", "shares_to"], conflicts_with = "passphrase_file")]
    pub shares: Option<u8>,
    /// How many shares open the vault: 2 or more
    #[arg(long, value_name = "K", requires = "shares")]
    pub threshold: Option<u8>,
    /// Make this folder and write the shares to it, each to a file of its own
    #[arg(long, value_name = "DIR", requires = "shares")]
    pub shares_to: Option<PathBuf>,
    /// Encrypt the first share to this age recipient, the second to the next, and so on; one for each share, or none
    #[arg(long = "recipient", value_name = "age1…", requires = "shares")]
    pub recipients: Vec<String>,
    /// Who may give roles to others, by SPIFFE ID; twice or more, so that nobody is alone
    #[arg(long = "administrator", value_name = "SPIFFE-ID", required = true)]
    pub administrators: Vec<SpiffeId>,
    /// Be content with one administrator
    #[arg(long)]
    pub single_administrator: bool,
    /// Make a second slot, which this HSM of the configuration opens; its key is made, too, if it is not there
    #[arg(long, value_name = "NAME")]
    pub hsm: Option<HsmName>,
    /// Whom backups are encrypted to: an age recipient, perhaps with the name of who keeps its identity; may be repeated
    #[arg(long = "recovery-recipient", value_name = "[NAME=]age1…", value_parser = recovery_recipient)]
    pub recovery_recipients: Vec<(String, Recipient)>,
}

/// `NAME=age1…`, or `age1…` alone.
fn recovery_recipient(text: &str) -> Result<(String, Recipient), Invalid> {
    let (name, recipient) = text.rsplit_once('=').unwrap_or(("recovery", text));
    Ok((name.to_owned(), recipient.parse()?))
}

/// `doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct DoctorArguments {
    /// The server's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Be content with PASS alone: fail for WARN and UNKNOWN, too
    #[arg(long)]
    pub strict: bool,
}

const SERVER_HELP: &str = "\
It starts sealed: a custodian unseals it. It ends on SIGTERM, and reads certificates and lists again on SIGHUP and when they change. \
The configuration's form is in docs/configuration.md.

Example:
  strongroom server --config /etc/strongroom/strongroom.toml";

const INIT_HELP: &str = "\
Prints the vault's id and the audit log's public key, to be pinned in the configuration, whose form is in docs/configuration.md.

Examples:
  strongroom init --config /etc/strongroom/strongroom.toml \\
    --administrator spiffe://people.example/alice --administrator spiffe://people.example/bob \\
    --shares 5 --threshold 3 --shares-to new-shares --recovery-recipient cleo=age1…
  strongroom init --config /etc/strongroom/strongroom.toml --hsm main \\
    --administrator spiffe://people.example/alice --administrator spiffe://people.example/bob";

const DOCTOR_HELP: &str = "\
Runs on the server's host, as root; the user that runs the server sees all but the ports and what is locked in memory. What it \
cannot see it calls UNKNOWN, never PASS. It changes nothing. It tries the server's port without a certificate and with TLS 1.2, and the audit log shows both as refused.

With a profile it asks the server as its holder, who needs `operate` and `audit` on the vault to see all; the profile's address is not \
used, but the one of the configuration. Exit code 8 if a check failed.

Examples:
  strongroom doctor --config /etc/strongroom/strongroom.toml
  strongroom doctor --config /etc/strongroom/strongroom.toml --profile doctor.toml --strict
  strongroom doctor --config /etc/strongroom/strongroom.toml --output json | jq -r '.items[] | select(.verdict == \"FAIL\") | .found'";

/// `dev`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  strongroom dev --demo\n  strongroom dev --dir try-it")]
pub struct DevArguments {
    /// Keep the vault and its certificates in this folder [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:7443; a free port for the story]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Tell a story from onboarding a merchant to rotating the keys, then stop
    #[arg(long)]
    pub demo: bool,
}

/// A command for a vault that runs.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Store, read, list and remove secrets
    #[command(subcommand)]
    Secret(SecretCommand),
    /// See and destroy what is stored for one subject of a provider, e.g. a merchant who asks to be forgotten
    #[command(subcommand)]
    Subject(SubjectCommand),
    /// Make and see namespaces
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Make and see roles
    #[command(subcommand)]
    Role(RoleCommand),
    /// Give roles to principals, and take them away
    #[command(subcommand)]
    Binding(BindingCommand),
    /// Rotate and see key-encryption keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// See, confirm, end and carry out what was proposed
    #[command(subcommand)]
    Proposal(ProposalCommand),
    /// Tell the vault's condition; answers while it is sealed, too
    #[command(after_help = "Examples:\n  strongroom status\n  strongroom status --output json | jq -r .seal_state")]
    Status,
    /// Open the vault with a slot's passphrase, or give one of its shares
    Unseal(UnsealArguments),
    /// Wipe the keys from the server's memory: nothing can be read or stored until the next unseal
    Seal(SealArguments),
    /// Read the record of every call
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make, verify and try out backups
    #[command(subcommand)]
    Backup(BackupCommand),
}

/// A shell that completion is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}
