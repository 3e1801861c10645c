//! The command line: a door that stands on [`client`](crate::client), and on [`pki`](crate::pki) for the commands of the small CA.
//!
//! | file | holds |
//! |---|---|
//! | `args` | the parser of the whole program: [`Arguments`] |
//! | `words` | what can be typed: times, durations, labels |
//! | `usage` | what is said when it makes no sense, without repeating what was typed |
//! | `input`, `output` | where values come from; tables, JSON and values as they are |
//! | `errors` | [`CliError`] and the exit codes |
//! | `secret`, `namespace`, `access`, `keys`, `slot`, `proposal`, `seal`, `audit`, `backup` | the commands: for each RPC one |
//! | `subject`, `destruction` | all that is stored for somebody; what a destruction means |
//! | `slot_secret`, `shares` | what a person knows or holds of a slot; new shares, each in a file |
//! | `pki` | the commands of the small CA, which work in a folder of this machine and speak to nobody |
//!
//! The flow: [`parse`] -> [`run`] -> profile -> client -> one call, or a page after another -> printer. Standard output
//! carries the result and nothing else; questions, remarks and errors go to standard error.

mod access;
mod args;
mod audit;
mod backup;
mod destruction;
mod errors;
mod input;
mod keys;
mod namespace;
mod output;
mod pki;
mod proposal;
mod retire;
mod seal;
mod secret;
mod shares;
mod slot;
mod slot_secret;
mod subject;
mod usage;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde::Serialize;

use crate::client::{Client, Profile};

pub use args::{Arguments, ClientCommand, Command, DevArguments, DoctorArguments, Global, InitArguments, ServerArguments, Shell};
pub use backup::{BackupCommand, BackupKeys, DrillArguments, RestoreArguments, TypedSlotKey};
pub use errors::CliError;
pub use input::new_passphrase;
pub use output::{Format, Printer};
pub use pki::PkiArguments;
pub use shares::{ShareFolder, advice};

/// Names the file of the profile when `--profile` does not.
const PROFILE_VARIABLE: &str = "STRONGROOM_PROFILE";

/// What every command has at hand.
struct Session {
    client: Client,
    printer: Printer,
}

/// Parses the program's arguments, its own name first. Help, version and refusals are printed here.
///
/// # Errors
/// The exit code where there is nothing to run: 0 after help or version, 2 for a refused command line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    Arguments::try_parse_from(&arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away does not matter here.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{}", error.render());
            ExitCode::from(2)
        }
        _ => fail(&CliError::Usage(usage::describe(&error)), asked_format(&arguments)),
    })
}

/// Runs a command for a vault that runs; returns the exit code.
#[must_use]
pub fn run(global: &Global, command: ClientCommand) -> ExitCode {
    if let ClientCommand::Backup(BackupCommand::Verify(arguments)) = command {
        return match backup::verify(Printer { format: global.output }, arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(errors::NOT_GOOD),
            Err(error) => fail(&error, global.output),
        };
    }
    match perform(global, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, global.output),
    }
}

/// Runs a command of the small CA; returns the exit code.
#[must_use]
pub fn run_pki(global: &Global, arguments: PkiArguments) -> ExitCode {
    let done = pki::run(Printer { format: global.output }, arguments);
    done.map_or_else(|error| fail(&error, global.output), |()| ExitCode::SUCCESS)
}

/// Prints a completion script; returns the exit code.
#[must_use]
pub fn complete(shell: Shell) -> ExitCode {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "strongroom", &mut script);
    output::print(&script).map_or_else(|error| fail(&error, Format::Table), |()| ExitCode::SUCCESS)
}

/// Prints one thing: its fields for people, or all of it for a program. Returns the exit code: 0, or 8 if it is not good.
#[must_use]
pub fn tell(format: Format, item: &impl Serialize, fields: &[(&str, String)], good: bool) -> ExitCode {
    match (Printer { format }).item(item, fields) {
        Ok(()) if good => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(errors::NOT_GOOD),
        Err(error) => fail(&error, format),
    }
}

/// Prints an error on standard error, as the caller wants it; returns its exit code.
#[must_use]
pub fn fail(error: &CliError, format: Format) -> ExitCode {
    eprintln!("{}", error.render(format).trim_end());
    ExitCode::from(error.exit_code())
}

/// The profile that was chosen, if one was.
///
/// # Errors
/// It cannot be used.
pub fn chosen_profile(global: &Global) -> Result<Option<Profile>, CliError> {
    let path = profile_path(global.profile.clone(), std::env::var_os(PROFILE_VARIABLE)).ok();
    Ok(path.map(|path| Profile::read(&path)).transpose()?)
}

/// Prints a judgement: its rows for people, or all of it for a program. Returns the exit code: 0, or 8 if it is not good.
#[must_use]
pub fn judge(format: Format, judgement: &impl Serialize, heads: &[&str], rows: Vec<Vec<String>>, good: bool) -> ExitCode {
    match output::rows(format, judgement, heads, rows) {
        Ok(()) if good => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(errors::NOT_GOOD),
        Err(error) => fail(&error, format),
    }
}

fn perform(global: &Global, command: ClientCommand) -> Result<(), CliError> {
    // Asks no vault, and so needs no profile.
    if let ClientCommand::Keys(keys::KeysCommand::VerifyStatement(arguments)) = &command {
        return retire::verify(Printer { format: global.output }, arguments);
    }
    let profile = Profile::read(&profile_path(global.profile.clone(), std::env::var_os(PROFILE_VARIABLE))?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Output)?;
    runtime.block_on(async {
        let session = Session { client: Client::connect(profile.options()).await?, printer: Printer { format: global.output } };
        session.perform(command).await
    })
}

impl Session {
    async fn perform(&self, command: ClientCommand) -> Result<(), CliError> {
        match command {
            ClientCommand::Secret(command) => secret::run(self, command).await,
            ClientCommand::Subject(command) => subject::run(self, command).await,
            ClientCommand::Namespace(command) => namespace::run(self, command).await,
            ClientCommand::Role(command) => access::run_role(self, command).await,
            ClientCommand::Binding(command) => access::run_binding(self, command).await,
            ClientCommand::Keys(command) => keys::run(self, command).await,
            ClientCommand::Proposal(command) => proposal::run(self, command).await,
            ClientCommand::Status => seal::status(self).await,
            ClientCommand::Unseal(arguments) => seal::unseal(self, &arguments).await,
            ClientCommand::Seal(arguments) => seal::seal(self, &arguments).await,
            ClientCommand::Audit(command) => audit::run(self, command).await,
            ClientCommand::Backup(command) => backup::run(self, command).await,
        }
    }
}

fn profile_path(flag: Option<PathBuf>, variable: Option<OsString>) -> Result<PathBuf, CliError> {
    let missing = || CliError::Usage(format!("no profile: give --profile FILE, or set {PROFILE_VARIABLE} to its path"));
    flag.or_else(|| variable.filter(|path| !path.is_empty()).map(PathBuf::from)).ok_or_else(missing)
}

/// The format that a refused command line asks for: its error, too, is for a program then.
fn asked_format(arguments: &[OsString]) -> Format {
    let pair = |two: &[OsString]| two[0] == "--output" && two[1] == "json";
    let json = arguments.windows(2).any(pair) || arguments.iter().any(|one| one == "--output=json");
    if json { Format::Json } else { Format::Table }
}

#[cfg(test)]
mod tests;
