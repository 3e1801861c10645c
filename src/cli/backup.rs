//! `strongroom backup …`, and the arguments of `restore`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::output::Column;
use super::proposal::{ProposeArguments, propose};
use super::words::{Span, number, remark};
use super::{CliError, Printer, Session, input};
use crate::backup::{Archive, BackupError, Class, Identity, PartFile, Recipient, Steps, Verified, check_header};
use crate::client::{BackupInfo, BackupStream, BackupSummary, Listed, ProposedChange, RecoveryRecipientInfo, collect};
use crate::model::{Clock, SecretBytes, SpiffeId, SystemClock};

/// Make, verify and try out backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a backup while the vault serves, encrypted to its recovery recipients
    #[command(after_help = CREATE_HELP)]
    Create(CreateBackupArguments),
    /// List the backups that were made, the newest first
    #[command(after_help = "Example:\n  strongroom backup list --limit 10")]
    List {
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
    /// List whom backups are encrypted to
    #[command(after_help = "Example:\n  strongroom backup recipients")]
    Recipients,
    /// Propose one more recipient; another person approves it
    #[command(
        after_help = "Example:\n  strongroom backup enrol 'cleo, at home' age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p --reason 'a second safe'"
    )]
    Enrol(EnrolArguments),
    /// Propose that backups are encrypted to a recipient no more
    #[command(
        after_help = "Example:\n  strongroom backup unenrol age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p --reason 'Cleo has left'"
    )]
    Unenrol(UnenrolArguments),
    /// Read a backup to its end and say whether it is whole; restores nothing, and needs no vault
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArguments),
    /// Restore a backup into memory, and open one value for each key version; shows no value
    #[command(after_help = DRILL_HELP)]
    Drill(DrillArguments),
}

/// `backup enrol`.
#[derive(Debug, Args)]
pub struct EnrolArguments {
    /// Who keeps the identity, in words
    name: String,
    /// The age recipient
    recipient: Recipient,
    #[command(flatten)]
    how: ProposeArguments,
}

/// `backup unenrol`.
#[derive(Debug, Args)]
pub struct UnenrolArguments {
    /// The age recipient
    recipient: Recipient,
    #[command(flatten)]
    how: ProposeArguments,
}

/// `backup create`.
#[derive(Debug, Args)]
pub struct CreateBackupArguments {
    /// The file to make; nothing may have that name
    file: PathBuf,
    /// How long it is to be kept, e.g. 90d; at most 3650 days [default: 90d]
    #[arg(long, value_name = "DURATION")]
    keep: Option<Span>,
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: Option<String>,
}

/// `backup verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The backup
    file: PathBuf,
    /// A recovery recipient's age identity, - for standard input; without it nothing but the file's header can be looked at
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// What opens a backup, and the vault in it.
#[derive(Debug, Args)]
pub struct BackupKeys {
    /// A recovery recipient's age identity, - for standard input
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Read a slot's passphrase from this file, - for standard input [default: ask for it]
    #[arg(long, value_name = "FILE", conflicts_with = "share_files")]
    passphrase_file: Option<PathBuf>,
    /// Open a slot with shares instead: read one from this file, - for standard input; as many times as the slot needs shares
    #[arg(long = "share-file", value_name = "FILE")]
    share_files: Vec<PathBuf>,
}

/// What opens a slot, as it was typed.
#[derive(Debug)]
pub enum TypedSlotKey {
    /// A passphrase.
    Passphrase(SecretBytes),
    /// Shares.
    Shares(Vec<SecretBytes>),
}

impl BackupKeys {
    /// Reads the identity, and the passphrase or the shares.
    ///
    /// # Errors
    /// A file cannot be read, the identity is none, or two of them are to come from standard input.
    pub fn read(&self) -> Result<(Identity, TypedSlotKey), CliError> {
        let files = std::iter::once(&self.identity).chain(&self.passphrase_file).chain(&self.share_files);
        if files.filter(|file| file.as_path() == Path::new("-")).count() > 1 {
            return Err(CliError::Usage("only one of the files can be standard input".to_owned()));
        }
        let identity = identity(&self.identity)?;
        let slot = if self.share_files.is_empty() {
            TypedSlotKey::Passphrase(input::passphrase(self.passphrase_file.as_deref())?)
        } else {
            TypedSlotKey::Shares(self.share_files.iter().map(|file| input::share(Some(file))).collect::<Result<_, _>>()?)
        };
        Ok((identity, slot))
    }
}

/// `backup drill`.
#[derive(Debug, Args)]
pub struct DrillArguments {
    /// The backup
    pub file: PathBuf,
    /// What opens it.
    #[command(flatten)]
    pub keys: BackupKeys,
}

/// `restore`.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_HELP)]
pub struct RestoreArguments {
    /// The backup
    pub file: PathBuf,
    /// The server's configuration; its data folder must be empty
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// What opens it.
    #[command(flatten)]
    pub keys: BackupKeys,
    /// Whose roles count at once, by SPIFFE ID; twice or more. They confirm those of the others
    #[arg(long = "administrator", value_name = "SPIFFE-ID", required = true)]
    pub administrators: Vec<SpiffeId>,
    /// Be content with one administrator
    #[arg(long)]
    pub single_administrator: bool,
    /// The audit log of the vault that was lost: what it says was destroyed after the backup is destroyed again [default: the
    /// configured one]
    #[arg(long, value_name = "DIR")]
    pub audit: Option<PathBuf>,
}

const CREATE_HELP: &str = "\
The file holds ciphertext of ciphertext: to read a value of it takes a recovery recipient's identity and a slot of the vault. Who \
makes it can read nothing of it.

Examples:
  strongroom backup create /backup/vault-2026-11-24.age --keep 35d
  strongroom backup create monthly.age --keep 400d --reason 'before the move' --output json | jq -r .sha256";

const VERIFY_HELP: &str = "\
Exit code 8 where the file is not known to be whole: damaged, or looked at without an identity.

Examples:
  strongroom backup verify vault-2026-11-24.age --identity custodian.key
  age -d custodian.key.age | strongroom backup verify vault-2026-11-24.age --identity -";

const DRILL_HELP: &str = "\
Exit code 8 if a value does not open. It takes as much memory as the vault has rows.

Example:
  strongroom backup drill vault-2026-11-24.age --identity custodian.key --passphrase-file /run/credentials/passphrase";

const RESTORE_HELP: &str = "\
Runs on the server's host, while no server does. The vault keeps its id, slots and secrets, and gets a new epoch: what counts once \
is void, and people's roles wait for `binding confirm`, but for those of the named administrators.

Example:
  strongroom restore vault-2026-11-24.age --config /etc/strongroom/strongroom.toml --identity custodian.key \\
    --administrator spiffe://people.example/alice --administrator spiffe://people.example/bob --audit /mnt/old/audit
  strongroom restore vault-2026-11-24.age --config /etc/strongroom/strongroom.toml --identity custodian.key \\
    --share-file share-1-of-5.txt --share-file share-2-of-5.txt --share-file share-4-of-5.txt \\
    --administrator spiffe://people.example/alice --administrator spiffe://people.example/bob";

const BACKUP_COLUMNS: &[Column<BackupInfo>] = &[
    ("ID", |backup| backup.backup_id.clone()),
    ("MADE", |backup| backup.create_time.to_string()),
    ("KEEP UNTIL", |backup| backup.expire_time.to_string()),
    ("BY", |backup| backup.created_by.clone()),
    ("RECIPIENTS", |backup| backup.recipients.len().to_string()),
    ("REVISION", |backup| backup.revision.to_string()),
];

const RECIPIENT_COLUMNS: &[Column<RecoveryRecipientInfo>] = &[
    ("NAME", |one| one.name.clone()),
    ("RECIPIENT", |one| one.recipient.clone()),
    ("ENROLLED", |one| one.enroll_time.to_string()),
    ("BY", |one| if one.enrolled_by.is_empty() { "init".to_owned() } else { one.enrolled_by.clone() }),
];

/// An age identity, from a file or from standard input.
fn identity(file: &Path) -> Result<Identity, CliError> {
    Identity::parse(&input::identity(file)?).map_err(CliError::from)
}

pub(super) async fn run(session: &Session, command: BackupCommand) -> Result<(), CliError> {
    match command {
        BackupCommand::Create(arguments) => create(session, arguments).await,
        BackupCommand::List { limit } => {
            let all = collect(limit, |page| session.client.list_backups(page)).await?;
            session.printer.list(&all, BACKUP_COLUMNS)
        }
        BackupCommand::Recipients => {
            let items = session.client.list_recovery_recipients().await?;
            session.printer.list(&Listed { items, next: None }, RECIPIENT_COLUMNS)
        }
        BackupCommand::Enrol(EnrolArguments { name, recipient, how }) => {
            propose(session, &ProposedChange::EnrolRecipient { name, recipient: recipient.to_string() }, &how).await
        }
        BackupCommand::Unenrol(UnenrolArguments { recipient, how }) => {
            propose(session, &ProposedChange::RemoveRecipient(recipient.to_string()), &how).await
        }
        BackupCommand::Verify(arguments) => verify(session.printer, arguments).map(drop),
        BackupCommand::Drill(_) => Err(CliError::Usage("a drill needs no vault that runs".to_owned())),
    }
}

async fn create(session: &Session, arguments: CreateBackupArguments) -> Result<(), CliError> {
    let CreateBackupArguments { file, keep, reason } = arguments;
    // Before the vault reads anything.
    let mut part = PartFile::create(&file, Steps::default())?;
    let mut backup = session.client.create_backup(keep.map(|Span(span)| span), reason.as_deref().unwrap_or_default()).await?;
    let bar = bar(backup.expected_bytes());
    let copied = copy(&mut backup, &mut part, &bar).await;
    bar.finish_and_clear();
    let done = copied?;
    let saved = part.finish()?;
    if (saved.bytes, hex::encode(saved.sha256)) != (done.bytes, done.sha256.clone()) {
        return Err(CliError::Host(format!("{} is not what the vault sent: do not rely on it", file.display())));
    }
    let fields = [
        ("file", file.display().to_string()),
        ("id", done.backup_id.clone()),
        ("rows", done.rows.to_string()),
        ("changed meanwhile", done.changes.to_string()),
        ("bytes", done.bytes.to_string()),
        ("sha256", done.sha256.clone()),
        ("writer paused", format!("{} ms", done.pause_us as f64 / 1e3)),
    ];
    session.printer.item(&done, &fields)
}

async fn copy(backup: &mut BackupStream, part: &mut PartFile, bar: &ProgressBar) -> Result<BackupSummary, CliError> {
    while let Some(piece) = backup.next().await? {
        part.write(&piece)?;
        bar.inc(piece.len() as u64);
    }
    backup.done().cloned().ok_or(CliError::Client(crate::client::ClientError::Answer("a backup without an end")))
}

/// Shown where standard error is a terminal. How long it will be is a guess.
fn bar(expected: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(expected), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bytes} of some {total_bytes}, {bytes_per_sec}, {elapsed}").expect("a template of its own");
    bar.with_style(style)
}

/// Says whether a file is whole; false where it is not known to be.
pub(super) fn verify(printer: Printer, arguments: VerifyArguments) -> Result<bool, CliError> {
    let VerifyArguments { file, identity: identity_file } = arguments;
    let Some(identity_file) = identity_file else {
        check_header(&file)?;
        printer.note("only the header was looked at: whether the backup is whole shows with --identity alone");
        printer.item(&json!({ "verified": false, "age_header": true }), &[("verified", "no: without an identity".to_owned())])?;
        return Ok(false);
    };
    let verified = Archive::open(&file, identity(&identity_file)?)?.verify(|_, _| {});
    match verified {
        Ok(verified) => show(printer, &verified).map(|()| true),
        Err(error @ (BackupError::Damaged(_) | BackupError::Malformed(_) | BackupError::NoArchive)) => {
            printer.item(&json!({ "verified": false, "problem": error.to_string() }), &[("verified", format!("NO: {error}"))])?;
            Ok(false)
        }
        Err(other) => Err(other.into()),
    }
}

fn show(printer: Printer, verified: &Verified) -> Result<(), CliError> {
    let Verified { manifest, trailer, rows, bytes, sha256, .. } = verified;
    let now = SystemClock.now();
    let total: u64 = rows.values().sum();
    let by_class: std::collections::BTreeMap<_, _> = rows.iter().map(|(class, count)| (word(*class), *count)).collect();
    let item = json!({
        "verified": true,
        "vault_id": manifest.vault.to_string(),
        "epoch": manifest.epoch,
        "create_time": manifest.created.to_string(),
        "expire_time": manifest.expires.to_string(),
        "expired": manifest.expires <= now,
        "server_version": manifest.server_version,
        "revision": trailer.revision,
        "policy_generation": trailer.policy_generation,
        "audit_sequence": trailer.audit_sequence,
        "rows": total,
        "rows_by_class": by_class,
        "bytes": bytes,
        "sha256": hex::encode(sha256),
    });
    let until =
        if manifest.expires <= now { format!("{}: EXPIRED, throw it away", manifest.expires) } else { manifest.expires.to_string() };
    let fields = [
        ("verified", "yes".to_owned()),
        ("vault", manifest.vault.to_string()),
        ("made", manifest.created.to_string()),
        ("keep until", until),
        ("rows", total.to_string()),
        ("policy generation", trailer.policy_generation.to_string()),
        ("bytes", bytes.to_string()),
        ("sha256", hex::encode(sha256)),
    ];
    printer.item(&item, &fields)
}

/// What a class of rows is called.
fn word(class: Class) -> String {
    match class.0 {
        b'H' => "header",
        b'h' => "secrets",
        b'v' => "older_versions",
        b'i' => "lookups",
        b'k' => "keyrings",
        b'n' => "namespaces",
        b'p' => "policy",
        b's' => "own_secrets",
        b'e' => "recovery_recipients",
        b'a' => "backups",
        b'j' => "jobs",
        b'o' => "once",
        other => return format!("class_{other:02x}"),
    }
    .to_owned()
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::File { path, source } => Self::File { path, source },
            other => Self::Input(other.to_string()),
        }
    }
}
