//! The one binary: parse, dispatch.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use strongroom::cli::{self, Arguments, CliError, Command, DevArguments, DoctorArguments, Format, Global, InitArguments, ServerArguments};
use strongroom::config::Config;
use strongroom::dev::{self, Dev};
use strongroom::doctor::{self, Finding};
use strongroom::memory::{Hardening, WipingAllocator, harden, keep_heap_small};
use strongroom::seal::Argon2Parameters;
use strongroom::server::{self, Bound, Init, Manner};

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
    cli::parse(std::env::args_os()).map_or_else(|code| code, |arguments| dispatch(arguments, hardening))
}

fn dispatch(arguments: Arguments, hardening: Hardening) -> ExitCode {
    let Arguments { global, command } = arguments;
    let done = match command {
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
        let bound = Bound::new(config, Manner { hardening, reflection: false }, passed).await?;
        server::reload_on_hangup(bound.reload())?;
        if let Some(address) = bound.operations_address() {
            eprintln!("strongroom: health and metrics on http://{address}");
        }
        eprintln!("strongroom: serving on {}, sealed: a custodian unseals it with `strongroom unseal`", bound.address()?);
        Ok(bound.serve(stop).await?)
    })
}

fn init(arguments: InitArguments, output: Format) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    let passphrase = cli::new_passphrase(arguments.passphrase_file.as_deref())?;
    let InitArguments { administrators, single_administrator, .. } = arguments;
    let init = Init { passphrase, cost: Argon2Parameters::DEFAULT, administrators, single_administrator };
    let pins = runtime()?.block_on(server::init(&config, init))?;
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
        eprintln!("Keep the passphrase where two people can reach it: nothing else opens this vault.");
    }
    Ok(())
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
