//! `strongroom secret …`.

mod read;
mod state;
mod view;
mod watch;
mod write;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::input::ValueArguments;
use super::words::{Label, NewExpiry, Prefix, Window, label_key, number, remark, token_field};
use super::{CliError, Session};
use crate::model::{NamespaceName, SecretName};

/// Store, read, list and remove secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a value under a name that holds none
    #[command(after_help = PUT_HELP)]
    Put(PutArguments),
    /// Replace a value: a new version
    #[command(after_help = UPDATE_HELP)]
    Update(UpdateArguments),
    /// Print a value; it is on record that you did
    #[command(after_help = GET_HELP)]
    Get(GetArguments),
    /// Print the values of many secrets as JSON; each is on record by itself
    #[command(after_help = FETCH_HELP)]
    Fetch(FetchArguments),
    /// Tell everything about a secret but its value
    #[command(after_help = "Example:\n  strongroom secret describe wepay-prod/merchants/12345")]
    Describe {
        /// NAMESPACE/PATH
        name: SecretName,
    },
    /// List the secrets of a namespace or below a path, in an order that is stable but not alphabetical
    #[command(
        after_help = "Examples:\n  strongroom secret list wepay-prod/merchants\n  strongroom secret list wepay-prod --limit 0 --output json"
    )]
    List {
        /// NAMESPACE or NAMESPACE/PATH
        prefix: Prefix,
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
    /// List the versions that a secret still has, newest first
    #[command(after_help = "Example:\n  strongroom secret versions wepay-prod/merchants/12345")]
    Versions {
        /// NAMESPACE/PATH
        name: SecretName,
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
    /// Find access tokens by provider and subject
    #[command(after_help = "Example:\n  strongroom secret find wepay-prod wepay 12345")]
    Find {
        /// The namespace
        namespace: NamespaceName,
        /// Who issued the token, e.g. wepay
        #[arg(value_parser = token_field)]
        provider: String,
        /// Whose token it is at the provider
        #[arg(value_parser = token_field)]
        subject: String,
    },
    /// Print changes below a prefix as they happen, one line each, until it is interrupted
    #[command(after_help = WATCH_HELP)]
    Watch(WatchArguments),
    /// Set and remove labels
    #[command(after_help = "Example:\n  strongroom secret label wepay-prod/merchants/12345 tier=gold --remove trial")]
    Label(LabelArguments),
    /// Set or remove the time from which a value is not revealed any more
    #[command(after_help = "Examples:\n  strongroom secret expire a/b 30d\n  strongroom secret expire a/b 2027-01-01T00:00:00Z\n  \
                            strongroom secret expire a/b never")]
    Expire(ExpireArguments),
    /// Stop a secret from being revealed until it is enabled again
    #[command(after_help = "Example:\n  strongroom secret disable wepay-prod/merchants/12345 --reason 'case 4711'")]
    Disable(ChangeArguments),
    /// Let a disabled secret be revealed again
    #[command(after_help = "Example:\n  strongroom secret enable wepay-prod/merchants/12345 --reason 'case closed'")]
    Enable(ChangeArguments),
    /// Make a secret unreadable at once; it can be restored while its recovery window runs
    #[command(after_help = "Example:\n  strongroom secret destroy wepay-prod/merchants/12345 --reason 'the merchant has left'")]
    Destroy(RemovalArguments),
    /// Bring a destroyed secret back
    #[command(after_help = "Example:\n  strongroom secret restore wepay-prod/merchants/12345 --reason 'the merchant is back'")]
    Restore(ChangeArguments),
    /// Delete a destroyed secret now, for good
    #[command(after_help = "Example:\n  strongroom secret purge wepay-prod/merchants/12345 --reason 'a request for erasure'")]
    Purge(RemovalArguments),
}

const PUT_HELP: &str = "\
The value is asked for twice without being shown; or it comes from --from-file, or from standard input when that is no terminal. \
One newline at its end is dropped unless --keep-newline is given.

Examples:
  strongroom secret put wepay-stage/merchants/12345 --provider wepay --subject 12345
  strongroom secret put wepay-stage/app/client-secret --from-file client-secret.txt
  make-password | strongroom secret put wepay-stage/app/pepper --label owner=payments";

const UPDATE_HELP: &str = "\
Without --expected-revision the secret is described first, and exactly what was seen then is replaced.

Example:
  strongroom secret update wepay-stage/merchants/12345 --expires 90d --from-file token.txt";

const GET_HELP: &str = "\
The value goes to standard output as it is, without a newline. On a terminal it is printed only with --show.

With --output json: name, version, revision, expire_time, value_base64 and utf8 (whether the value is text); with --to, file in \
place of the last two, and that file holds the value as it is.

Examples:
  strongroom secret get wepay-stage/merchants/12345 --reason 'case 4711' --show
  strongroom secret get wepay-stage/merchants/12345 --reason 'case 4711' --to token.txt
  strongroom secret get wepay-stage/app/client-secret | register-application";

const FETCH_HELP: &str = "\
The output is JSON whatever --output says, {\"items\": […]}, in the order of the names: name, version, revision, expire_time, \
value_base64 and utf8, as secret get gives them; or name, code and message where a value could not be had. Then the exit code \
is that of the first such, and the others are there all the same. On a terminal it is printed only with --show.

Example:
  strongroom secret fetch wepay-stage/app/client-id wepay-stage/app/client-secret --to credentials.json";

const WATCH_HELP: &str = "\
A line has the revision, what has happened, the name, and the version and state or expiry. With --output json each line is one \
object: kind, name, revision and secret, which is null for what was purged.

A watch that was interrupted goes on with --after and the last revision that it printed. Where the changes since then are not \
held any more, it says so: list the secrets, and watch from now.

Examples:
  strongroom secret watch wepay-prod/merchants
  strongroom secret watch wepay-prod --expiring-within 30d --count 1 --output json";

/// `secret put`.
#[derive(Debug, Args)]
pub struct PutArguments {
    /// NAMESPACE/PATH
    name: SecretName,
    /// Who issued the token, e.g. wepay: makes it an access token
    #[arg(long, requires = "subject", value_parser = token_field)]
    provider: Option<String>,
    /// Whose token it is at the provider
    #[arg(long, requires = "provider", value_parser = token_field)]
    subject: Option<String>,
    #[command(flatten)]
    token: TokenArguments,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    /// When the value stops being revealed: a time, a duration from now, or never
    #[arg(long, value_name = "TIME|DURATION|never")]
    expires: Option<NewExpiry>,
    #[command(flatten)]
    value: ValueArguments,
}

/// What a token may do, and its type.
#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// What the token may do, in the provider's words; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", value_parser = token_field)]
    scopes: Vec<String>,
    /// The token's type, e.g. BEARER
    #[arg(long = "type", value_name = "TYPE", value_parser = token_field)]
    token_type: Option<String>,
}

/// `secret update`.
#[derive(Debug, Args)]
pub struct UpdateArguments {
    /// NAMESPACE/PATH
    name: SecretName,
    /// The revision to replace, as `secret describe` shows it
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    expected_revision: Option<u64>,
    #[command(flatten)]
    token: TokenArguments,
    /// When the new value stops being revealed [default: as before]
    #[arg(long, value_name = "TIME|DURATION|never")]
    expires: Option<NewExpiry>,
    #[command(flatten)]
    value: ValueArguments,
}

/// `secret get`.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// NAMESPACE/PATH
    name: SecretName,
    /// This version [default: the latest]
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    version: Option<u64>,
    /// Why, for the record; required of operators
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
    /// The ticket it belongs to, for the record
    #[arg(long, value_parser = remark)]
    ticket: Option<String>,
    /// Write the value to this new file, readable by you alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace that file if it exists
    #[arg(long, requires = "to")]
    force: bool,
    /// Print the value even on a terminal
    #[arg(long, conflicts_with = "to")]
    show: bool,
}

/// `secret fetch`.
#[derive(Debug, Args)]
pub struct FetchArguments {
    /// NAMESPACE/PATH, once or more
    #[arg(required = true, value_name = "NAME")]
    names: Vec<SecretName>,
    /// Why, for the record of each; required of operators
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
    /// The ticket it belongs to, for the record
    #[arg(long, value_parser = remark)]
    ticket: Option<String>,
    /// Write the values to this new file, readable by you alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace that file if it exists
    #[arg(long, requires = "to")]
    force: bool,
    /// Print the values even on a terminal
    #[arg(long, conflicts_with = "to")]
    show: bool,
}

/// `secret watch`.
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// NAMESPACE or NAMESPACE/PATH
    prefix: Prefix,
    /// Go on after this revision [default: begin now]
    #[arg(long, value_name = "REVISION", value_parser = number::<u64>)]
    after: Option<u64>,
    /// Tell of values that expire within this time; `never` for none [default: 7d]
    #[arg(long, value_name = "DURATION|never")]
    expiring_within: Option<Window>,
    /// End after so many changes [default: go on]
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    count: Option<u64>,
}

/// `secret label`.
#[derive(Debug, Args)]
pub struct LabelArguments {
    /// NAMESPACE/PATH
    name: SecretName,
    /// Labels to set
    #[arg(value_name = "KEY=VALUE", required_unless_present = "remove")]
    labels: Vec<Label>,
    /// The key of a label to remove; may be repeated
    #[arg(long, value_name = "KEY", value_parser = label_key)]
    remove: Vec<String>,
    /// The revision to change, as `secret describe` shows it [default: described first]
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    expected_revision: Option<u64>,
}

/// `secret expire`.
#[derive(Debug, Args)]
pub struct ExpireArguments {
    /// NAMESPACE/PATH
    name: SecretName,
    /// A time, a duration from now, or never
    #[arg(value_name = "TIME|DURATION|never")]
    expires: NewExpiry,
    /// The revision to change, as `secret describe` shows it [default: described first]
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    expected_revision: Option<u64>,
}

/// `secret disable`, `enable` and `restore`.
#[derive(Debug, Args)]
pub struct ChangeArguments {
    /// NAMESPACE/PATH
    name: SecretName,
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
    /// Only if the secret's revision is still this
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    expected_revision: Option<u64>,
}

/// `secret destroy` and `purge`.
#[derive(Debug, Args)]
pub struct RemovalArguments {
    #[command(flatten)]
    change: ChangeArguments,
    /// Do not ask for the name once more
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(session: &Session, command: SecretCommand) -> Result<(), CliError> {
    match command {
        SecretCommand::Put(arguments) => write::put(session, arguments).await,
        SecretCommand::Update(arguments) => write::update(session, arguments).await,
        SecretCommand::Watch(arguments) => watch::watch(session, arguments).await,
        SecretCommand::Label(arguments) => write::label(session, arguments).await,
        SecretCommand::Expire(arguments) => write::expire(session, &arguments).await,
        SecretCommand::Get(arguments) => read::get(session, arguments).await,
        SecretCommand::Fetch(arguments) => read::fetch(session, arguments).await,
        SecretCommand::Describe { name } => read::describe(session, &name).await,
        SecretCommand::List { prefix, limit } => read::list(session, &prefix, limit).await,
        SecretCommand::Versions { name, limit } => read::versions(session, &name, limit).await,
        SecretCommand::Find { namespace, provider, subject } => read::find(session, &namespace, &provider, &subject).await,
        SecretCommand::Disable(arguments) => state::disable(session, arguments).await,
        SecretCommand::Enable(arguments) => state::enable(session, arguments).await,
        SecretCommand::Destroy(arguments) => state::destroy(session, arguments).await,
        SecretCommand::Restore(arguments) => state::restore(session, arguments).await,
        SecretCommand::Purge(arguments) => state::purge(session, arguments).await,
    }
}
