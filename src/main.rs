//! The one binary: parse, dispatch.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use strongroom::backup::{Identity, Recipient, Steps};
use strongroom::cli::{
    self, Arguments, BackupCommand, BackupKeys, CliError, ClientCommand, Command, DevArguments, DoctorArguments, DrillArguments, Format,
    Global, InitArguments, RestoreArguments, ServerArguments, ShareFolder, TypedSlotKey,
};
use strongroom::config::Config;
use strongroom::dev::{self, Dev};
use strongroom::doctor::{self, Finding};
use strongroom::hsm;
use strongroom::memory::{Hardening, WipingAllocator, harden, keep_heap_small};
use strongroom::model::Text;
use strongroom::seal::{Argon2Parameters, Passphrase, QuorumSize, SlotKey};
use strongroom::server::{self, Bound, DrillOf, Init, Manner, RestoreFrom};
use strongroom::vault::{FirstSlot, NewRecipient, NewShare, NewSlot};

/// Whatever is freed is wiped first.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

/// Where a throwaway vault listens when nobody says otherwise.
const DEV_LISTEN: &str = "127.0.0.1:7443";

fn main() -> ExitCode {
    // Before anything secret is in memory.
    let hardening = harden();
    // Before there is a second thread.
    keep_heap_small();
    if std::env::args_os().nth(1).is_some_and(|word| word == hsm::WORKER) {
        return hsm::work();
    }
    cli::parse(std::env::args_os()).map_or_else(|code| code, |arguments| dispatch(arguments, hardening))
}

fn dispatch(arguments: Arguments, hardening: Hardening) -> ExitCode {
    let Arguments { global, command } = arguments;
    let done = match command {
        Command::Client(ClientCommand::Backup(BackupCommand::Drill(arguments))) => return drill(&global, &arguments),
        Command::Restore(arguments) => return restore(&global, arguments),
        Command::Client(command) => return cli::run(&global, command),
        Command::Pki(arguments) => return cli::run_pki(&global, arguments),
        Command::Completion { shell } => return cli::complete(shell),
        Command::Doctor(arguments) => return examine(&global, &arguments),
        Command::Server(arguments) => serve(&arguments, hardening),
        Command::Init(arguments) => init(arguments, global.output),
        Command::Dev(arguments) => develop(arguments, hardening),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::fail(&CliError::Host(format!("{error:#}")), global.output),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads can be started")?;
    let entered = runtime.enter();
    server::outlive_file_limit().context("signals cannot be watched")?;
    drop(entered);
    Ok(runtime)
}

fn serve(arguments: &ServerArguments, hardening: Hardening) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    server::log_to_stderr(config.log);
    // Before there are threads.
    let passed = server::passed_listener()?;
    runtime()?.block_on(async {
        let stop = server::stop_signal()?;
        let opens_itself = config.hsms.iter().any(|hsm| hsm.unseal_at_start);
        let bound = Bound::new(config, Manner { hardening, reflection: false }, passed).await?;
        server::reload_on_hangup(bound.reload())?;
        if let Some(address) = bound.operations_address() {
            eprintln!("strongroom: health and metrics on http://{address}");
        }
        let how = if opens_itself { "it opens itself once its HSM does, or a custodian unseals it" } else { "a custodian unseals it" };
        eprintln!("strongroom: serving on {}, sealed: {how} with `strongroom unseal`", bound.address()?);
        Ok(bound.serve(stop).await?)
    })
}

fn init(arguments: InitArguments, output: Format) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    let slot = first_slot(&arguments)?;
    let InitArguments { administrators, single_administrator, shares_to, recipients, hsm, recovery_recipients, .. } = arguments;
    let (by_shares, with_hsm) = (matches!(slot, FirstSlot::Quorum { .. }), hsm.is_some());
    let named = |(name, recipient): (String, Recipient)| {
        let name = Text::parse(&name).with_context(|| format!("the name of {recipient}"))?;
        anyhow::Ok(NewRecipient { name, recipient })
    };
    let recovery_recipients = recovery_recipients.into_iter().map(named).collect::<Result<_, _>>()?;
    let init = Init { slot, administrators, single_administrator, hsm, recovery_recipients };
    // Before anything is made that they belong to.
    let folder = shares_to.as_deref().map(ShareFolder::create).transpose()?;
    let write =
        |shares: Vec<NewShare>| folder.as_ref().map_or(Ok(()), |folder| deliver(&shares, folder)).map_err(|error| error.to_string());
    let made = runtime()?.block_on(server::init(&config, init, write));
    let pins = made.inspect_err(|_| folder.iter().for_each(ShareFolder::abandon))?;
    let (vault_id, key) = (pins.vault_id, hex::encode(pins.audit_public_key));
    let pins = match output {
        Format::Json => serde_json::json!({ "vault_id": vault_id.to_string(), "audit_public_key": key }).to_string(),
        Format::Table => format!("vault_id = \"{vault_id}\"\naudit_public_key = \"{key}\""),
    };
    if output == Format::Table {
        eprintln!("The vault is made. Pin it: put these two lines at the top of {}, then start the server.", config.file.display());
    }
    // They are shown once: where the output cannot take them, the other one does.
    if let Err(error) = writeln!(io::stdout(), "{pins}").and_then(|()| io::stdout().flush()) {
        eprintln!("{pins}");
        return Err(error).context("the vault is made, but its pins could not be written to the output; they stand above");
    }
    if output == Format::Table {
        let without = if with_hsm { "when the HSM is gone, nothing else opens this vault" } else { "nothing else opens this vault" };
        let advice = format!("Keep the passphrase where two people can reach it: {without}.");
        eprintln!("{}", if by_shares { cli::advice(!recipients.is_empty()) } else { &advice });
    }
    Ok(())
}

/// What is to open the new vault: shares, or the passphrase that is asked for.
fn first_slot(arguments: &InitArguments) -> anyhow::Result<FirstSlot> {
    let (Some(shares), Some(threshold)) = (arguments.shares, arguments.threshold) else {
        let passphrase = Passphrase::parse(&cli::new_passphrase(arguments.passphrase_file.as_deref())?)?;
        return Ok(FirstSlot::Passphrase(passphrase, Argon2Parameters::DEFAULT));
    };
    let size = QuorumSize::new(threshold, shares)?;
    let recipients = arguments.recipients.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let NewSlot::Quorum { size, recipients } = NewSlot::quorum(size, recipients)? else { unreachable!("a quorum was asked for") };
    Ok(FirstSlot::Quorum { size, recipients })
}

/// Writes the shares of the new vault, each to a file of its own.
fn deliver(shares: &[NewShare], folder: &ShareFolder) -> Result<(), CliError> {
    for share in shares {
        folder.write(share.number.into(), shares.len(), &share.text, share.recipient.is_some())?;
    }
    Ok(())
}

/// The identity and the slot's key that a restore or a drill needs.
fn backup_keys(keys: &BackupKeys) -> Result<(Identity, SlotKey), CliError> {
    let (identity, typed) = keys.read()?;
    let slot = match typed {
        TypedSlotKey::Passphrase(passphrase) => SlotKey::passphrase(&passphrase),
        TypedSlotKey::Shares(shares) => SlotKey::shares(&shares),
    };
    Ok((identity, slot.map_err(|error| CliError::Host(error.to_string()))?))
}

fn restore(global: &Global, arguments: RestoreArguments) -> ExitCode {
    let done = backup_keys(&arguments.keys).and_then(|(identity, slot)| {
        let RestoreArguments { file, config, administrators, single_administrator, audit, .. } = arguments;
        let work = || {
            let from = RestoreFrom { archive: file, identity, slot, administrators, single_administrator, audit, steps: Steps::default() };
            anyhow::Ok(runtime()?.block_on(server::restore(&Config::load(&config)?, from))?)
        };
        work().map_err(|error| CliError::Host(format!("{error:#}")))
    });
    let report = match done {
        Ok(report) => report,
        Err(error) => return cli::fail(&error, global.output),
    };
    if report.destroyed_again.is_none() {
        eprintln!("There was no audit log to ask: what was destroyed after the backup was made is back.");
    }
    if report.still_to_destroy > 0 {
        eprintln!(
            "{} secrets that were destroyed after the backup lie under a key that is out of service: destroy them when it comes back.",
            report.still_to_destroy
        );
    }
    let fields = [
        ("vault", report.vault_id.clone()),
        ("as of", report.backup_time.clone()),
        ("rows", report.rows.to_string()),
        ("epoch", report.epoch.to_string()),
        ("policy generation", report.policy_generation.to_string()),
        ("bindings that count", report.bindings_kept.to_string()),
        ("bindings to confirm", report.bindings_suspended.to_string()),
        ("void rows", report.void_rows.to_string()),
        ("destroyed again", report.destroyed_again.map_or_else(String::new, |count| count.to_string())),
        ("seconds", format!("{:.1}", report.seconds)),
    ];
    cli::tell(global.output, &report, &fields, true)
}

fn drill(global: &Global, arguments: &DrillArguments) -> ExitCode {
    let done = backup_keys(&arguments.keys).and_then(|(identity, slot)| {
        let of = DrillOf { archive: arguments.file.clone(), identity, slot };
        let work = || anyhow::Ok(runtime()?.block_on(server::drill(of))?);
        work().map_err(|error| CliError::Host(format!("{error:#}")))
    });
    let report = match done {
        Ok(report) => report,
        Err(error) => return cli::fail(&error, global.output),
    };
    let opened = |canary: &server::CanaryReport| {
        vec![canary.namespace.clone(), canary.version.to_string(), canary.values.to_string(), canary.opened.to_owned()]
    };
    if global.output == Format::Table {
        let age_days = report.age_s as f64 / 86_400.0;
        let expiry = if report.expired { "EXPIRED" } else { "to be kept until" };
        eprintln!(
            "{} rows restored into memory in {:.1} s; the backup is {age_days:.1} days old, {expiry} {}",
            report.rows, report.seconds, report.expire_time
        );
    }
    let rows = report.canaries.iter().map(opened).collect();
    cli::judge(global.output, &report, &["NAMESPACE", "KEY", "VALUES", "OPENED"], rows, report.good)
}

fn examine(global: &Global, arguments: &DoctorArguments) -> ExitCode {
    let asked = cli::chosen_profile(global).and_then(|profile| {
        let runtime = runtime().map_err(|error| CliError::Host(format!("{error:#}")))?;
        Ok(runtime.block_on(doctor::examine(&arguments.config, profile.as_ref())))
    });
    match asked {
        Ok(report) => {
            let rows = report.items.iter().flat_map(rows).collect();
            cli::judge(global.output, &report, &["VERDICT", "CHECK", "FOUND"], rows, report.is_good(arguments.strict))
        }
        Err(error) => cli::fail(&error, global.output),
    }
}

/// A row for what was found, and one for what to do.
fn rows(finding: &Finding) -> Vec<Vec<String>> {
    let found = vec![finding.verdict.word().to_owned(), finding.check.word().to_owned(), finding.found.clone()];
    let advice = vec![String::new(), String::new(), format!("-> {}", finding.advice)];
    if finding.advice.is_empty() { vec![found] } else { vec![found, advice] }
}

fn develop(arguments: DevArguments, hardening: Hardening) -> anyhow::Result<()> {
    // The story has a port of its own, so that it never meets another vault.
    let default = if arguments.demo { "127.0.0.1:0" } else { DEV_LISTEN };
    let listen = arguments.listen.map_or_else(|| default.parse().context("the default address"), Ok)?;
    runtime()?.block_on(dev::run(Dev { folder: arguments.dir, listen, demo: arguments.demo, hardening }))
}
