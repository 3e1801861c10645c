//! `strongroom keys …`.

mod follow;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::Column;
use super::retire::{self, KeyVersionArguments, RetireArguments, StatementArguments, VerifyStatementArguments};
use super::slot::{self, RootCommand, SlotCommand};
use super::words::{Span, number, remark};
use super::{CliError, Session};
use crate::client::{KeyInfo, RewrapInfo, RewrapOrder, RewrapState, collect};
use crate::model::{Clock, NamespaceName, SystemClock};

/// Rotate and see key-encryption keys. No command shows a key.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new active key version; takes effect at once, and old values stay readable
    #[command(
        after_help = "Examples:\n  strongroom keys rotate wepay-prod --expected-version 3 --reason 'quarterly rotation'\n  strongroom keys \
                      rotate wepay-prod --rewrap --follow"
    )]
    Rotate(RotateArguments),
    /// Put every data key of a namespace under its active key version, in the background; safe to repeat
    #[command(after_help = "Example:\n  strongroom keys rewrap wepay-prod --rate 5000 --follow")]
    Rewrap {
        /// The namespace
        namespace: NamespaceName,
        #[command(flatten)]
        order: OrderArguments,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
        /// Show how far it is until it has ended; Ctrl-C ends the showing alone
        #[arg(long)]
        follow: bool,
    },
    /// Have a rewrap wait, over restarts too, until it is resumed
    #[command(after_help = "Example:\n  strongroom keys pause wepay-prod --reason 'the shop is busy'")]
    Pause {
        /// The namespace
        namespace: NamespaceName,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
    },
    /// Have a paused rewrap go on where it was
    #[command(after_help = "Example:\n  strongroom keys resume wepay-prod --rate 2000")]
    Resume {
        /// The namespace
        namespace: NamespaceName,
        /// Rows a second from now on, at most 1000000 [default: as before]
        #[arg(long, value_name = "N", value_parser = number::<u32>)]
        rate: Option<u32>,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
    },
    /// Tell how far rewraps are: of one namespace, or of all that you may rotate
    #[command(after_help = "Examples:\n  strongroom keys status\n  strongroom keys status wepay-prod --follow")]
    Status {
        /// The namespace
        namespace: Option<NamespaceName>,
        /// Show how far it is until it has ended; Ctrl-C ends the showing alone
        #[arg(long, requires = "namespace")]
        follow: bool,
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
    /// Take a version out of service that only decrypts, to find out what still needs it
    #[command(after_help = "Example:\n  strongroom keys disable wepay-prod 3 --reason 'to be retired'")]
    Disable(KeyVersionArguments),
    /// Take a disabled version back into service
    #[command(after_help = "Example:\n  strongroom keys enable wepay-prod 3 --reason 'still needed'")]
    Enable(KeyVersionArguments),
    /// Schedule a disabled version that no value is under to be destroyed in 30 days; prints a signed statement
    #[command(after_help = "Example:\n  strongroom keys retire wepay-prod 3 --reason 'after the yearly rotation' --to retired.txt")]
    Retire(RetireArguments),
    /// Take a scheduled version back: it is disabled again
    #[command(after_help = "Example:\n  strongroom keys keep wepay-prod 3 --reason 'an old backup needs it'")]
    Keep(KeyVersionArguments),
    /// Print the newest statement of a version's retirement
    #[command(after_help = "Example:\n  strongroom keys statement wepay-prod 3 > retired.txt")]
    Statement(StatementArguments),
    /// Verify a statement, without a vault
    VerifyStatement(VerifyStatementArguments),
    /// See, test and change the slots
    #[command(subcommand)]
    Slot(SlotCommand),
    /// Replace the root key
    #[command(subcommand)]
    Root(RootCommand),
    /// List the key versions of a namespace, or of all that you may rotate
    #[command(after_help = "Examples:\n  strongroom keys list wepay-prod\n  strongroom keys list --output json")]
    List {
        /// The namespace
        namespace: Option<NamespaceName>,
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
}

/// `keys rotate`.
#[derive(Debug, Args)]
pub struct RotateArguments {
    /// The namespace
    namespace: NamespaceName,
    /// Only if this version is the active one, so that a repeated command rotates once
    #[arg(long, value_name = "N", value_parser = number::<u32>)]
    expected_version: Option<u32>,
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
    /// Then put every data key under the new version, in the background
    #[arg(long)]
    rewrap: bool,
    /// With --rewrap: encrypt values anew, too, under new data keys
    #[arg(long, requires = "rewrap")]
    reencrypt: bool,
    /// With --rewrap: rows a second, at most 1000000 [default: 20000]
    #[arg(long, value_name = "N", value_parser = number::<u32>, requires = "rewrap")]
    rate: Option<u32>,
    /// With --rewrap: show how far it is until it has ended; Ctrl-C ends the showing alone
    #[arg(long, requires = "rewrap")]
    follow: bool,
}

/// What a rewrap is to do.
#[derive(Debug, Args)]
pub struct OrderArguments {
    /// Encrypt values anew, too, under new data keys
    #[arg(long)]
    reencrypt: bool,
    /// Rows a second, at most 1000000 [default: 20000]
    #[arg(long, value_name = "N", value_parser = number::<u32>)]
    rate: Option<u32>,
}

const COLUMNS: &[Column<KeyInfo>] = &[
    ("NAMESPACE", |key| key.namespace.to_string()),
    ("VERSION", |key| key.version.to_string()),
    ("STATE", |key| key.state.word().to_owned()),
    ("ALGORITHM", |key| key.algorithm.clone()),
    ("CREATED", |key| key.create_time.to_string()),
    ("AGE", age),
    ("ROWS", |key| key.rows.map_or_else(|| "not counted".to_owned(), |rows| rows.to_string())),
    ("COUNTED", |key| key.rows_time.map_or_else(String::new, |time| time.to_string())),
    ("DESTROYED AT", |key| key.destroy_time.map_or_else(String::new, |time| time.to_string())),
    ("REWRAPPED", |key| key.rewrap_time.map_or_else(String::new, |time| time.to_string())),
];

const REWRAP_COLUMNS: &[Column<RewrapInfo>] = &[
    ("NAMESPACE", |rewrap| rewrap.namespace.to_string()),
    ("VERSION", |rewrap| rewrap.target_version.to_string()),
    ("STATE", state),
    ("DONE", done),
    ("ROWS/S", |rewrap| rewrap.rows_per_s.to_string()),
    ("LEFT", |rewrap| rewrap.time_left.map_or_else(String::new, |left| Span(left.max(Duration::from_secs(1))).to_string())),
    ("STARTED", |rewrap| rewrap.start_time.to_string()),
    ("BY", |rewrap| rewrap.started_by.clone()),
    ("ENDED", |rewrap| rewrap.end_time.map_or_else(String::new, |time| time.to_string())),
];

/// A rotation, for programs.
#[derive(Serialize)]
struct Rotated<'a> {
    #[serde(flatten)]
    key: &'a KeyInfo,
    rewrap: &'a RewrapInfo,
}

pub(super) async fn run(session: &Session, command: KeysCommand) -> Result<(), CliError> {
    let client = &session.client;
    match command {
        KeysCommand::Rotate(arguments) => rotate(session, arguments).await,
        KeysCommand::Rewrap { namespace, order: OrderArguments { reencrypt, rate }, reason, follow } => {
            let order = RewrapOrder { reencrypt, rate_per_s: rate.unwrap_or_default() };
            let rewrap = client.start_rewrap(&namespace, order, &reason.unwrap_or_default()).await?;
            if follow { follow::until_ended(session, &namespace).await } else { print(session, &rewrap) }
        }
        KeysCommand::Pause { namespace, reason } => print(session, &client.pause_rewrap(&namespace, &reason.unwrap_or_default()).await?),
        KeysCommand::Resume { namespace, rate, reason } => {
            print(session, &client.resume_rewrap(&namespace, rate, &reason.unwrap_or_default()).await?)
        }
        KeysCommand::Status { namespace: Some(namespace), follow: true, .. } => follow::until_ended(session, &namespace).await,
        KeysCommand::Status { namespace, limit, .. } => {
            let all = collect(limit, |page| client.list_rewraps(namespace.as_ref(), page)).await?;
            session.printer.list(&all, REWRAP_COLUMNS)
        }
        KeysCommand::Disable(which) => retire::disable(session, which).await,
        KeysCommand::Enable(which) => retire::enable(session, which).await,
        KeysCommand::Retire(arguments) => retire::retire(session, arguments).await,
        KeysCommand::Keep(which) => retire::keep(session, which).await,
        KeysCommand::Statement(which) => retire::statement(session, which).await,
        KeysCommand::VerifyStatement(arguments) => retire::verify(session.printer, &arguments),
        KeysCommand::Slot(command) => slot::run(session, command).await,
        KeysCommand::Root(command) => slot::run_root(session, command).await,
        KeysCommand::List { namespace, limit } => {
            let all = collect(limit, |page| client.list_keys(namespace.as_ref(), page)).await?;
            for key in all.items.iter().filter(|key| key.over_age) {
                let (name, version, period) = (&key.namespace, key.version, Span(key.cryptoperiod));
                session.printer.note(&format!("{name}: version {version} has encrypted for longer than {period}: rotate it"));
            }
            session.printer.list(&all, COLUMNS)
        }
    }
}

async fn rotate(session: &Session, arguments: RotateArguments) -> Result<(), CliError> {
    let RotateArguments { namespace, expected_version, reason, rewrap, reencrypt, rate, follow } = arguments;
    let (expected, reason) = (expected_version.unwrap_or_default(), reason.unwrap_or_default());
    if !rewrap {
        let key = session.client.rotate_key(&namespace, expected, &reason).await?;
        return show(session, &key);
    }
    let order = RewrapOrder { reencrypt, rate_per_s: rate.unwrap_or_default() };
    let (key, rewrap) = session.client.rotate_key_and_rewrap(&namespace, expected, order, &reason).await?;
    if follow {
        session.printer.note(&format!("version {} is active", key.version));
        return follow::until_ended(session, &namespace).await;
    }
    let mut shown = fields(COLUMNS, &key);
    shown.push((
        "rewrap".to_owned(),
        format!("{}, {} rows/s at most: `keys status` tells how far it is", state(&rewrap), rewrap.rate_per_s),
    ));
    session.printer.item(&Rotated { key: &key, rewrap: &rewrap }, &as_fields(&shown))
}

/// One version.
pub(super) fn show(session: &Session, key: &KeyInfo) -> Result<(), CliError> {
    session.printer.item(key, &as_fields(&fields(COLUMNS, key)))
}

fn print(session: &Session, rewrap: &RewrapInfo) -> Result<(), CliError> {
    session.printer.item(rewrap, &as_fields(&fields(REWRAP_COLUMNS, rewrap)))
}

fn fields<T>(columns: &[Column<T>], item: &T) -> Vec<(String, String)> {
    columns.iter().map(|(head, cell)| (head.to_lowercase(), cell(item))).collect()
}

fn as_fields(fields: &[(String, String)]) -> Vec<(&str, String)> {
    fields.iter().map(|(name, text)| (name.as_str(), text.clone())).collect()
}

/// Against the cryptoperiod, in days.
fn age(key: &KeyInfo) -> String {
    let days = |duration: Duration| duration.as_secs() / (24 * 3600);
    let over = if key.over_age { ", OVER AGE" } else { "" };
    format!("{}d of {}d{over}", days(SystemClock.now().since(key.create_time)), days(key.cryptoperiod))
}

/// With what could not be done.
fn state(rewrap: &RewrapInfo) -> String {
    match (rewrap.state, rewrap.damaged) {
        (state, 0) => state.word().to_owned(),
        (RewrapState::Done, damaged) => format!("done with {damaged} rows damaged"),
        (state, damaged) => format!("{}, {damaged} rows damaged", state.word()),
    }
}

fn done(rewrap: &RewrapInfo) -> String {
    match (rewrap.total, rewrap.state) {
        (0, RewrapState::Running) => "counting rows".to_owned(),
        (total, _) => format!("{} of {}", rewrap.seen, total.max(rewrap.seen)),
    }
}
