//! What is said when the command line makes no sense.
//!
//! clap repeats what it does not understand. People put secrets there (`secret put NAME VALUE`), and an error ends in
//! logs and in CI output, so what was typed is never repeated here: messages are made of clap's kinds, of our own names,
//! and of our parsers' constants.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

const EXPOSED: &str = "values and passphrases never stand on the command line: use --from-file, --passphrase-file, standard input or the \
     prompt; if that was a secret, replace it, since the shell's history and the process list have seen it";

/// The message for a refused command line.
pub(super) fn describe(error: &clap::Error) -> String {
    let what = match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => unknown(error),
        ErrorKind::InvalidSubcommand => format!("there is no such command{}", guess(error, ContextKind::SuggestedSubcommand)),
        ErrorKind::InvalidValue => match strings(error, ContextKind::ValidValue) {
            valid if valid.is_empty() => format!("{} wants a value", argument(error)),
            valid => format!("{} is one of {}", argument(error), valid.join(", ")),
        },
        ErrorKind::ValueValidation => {
            let why = error.source().map_or_else(|| "cannot be used".to_owned(), ToString::to_string);
            format!("{}: {why}", argument(error))
        }
        ErrorKind::MissingRequiredArgument => format!("missing: {}", strings(error, ContextKind::InvalidArg).join(", ")),
        ErrorKind::ArgumentConflict => {
            let (one, other) = (argument(error), strings(error, ContextKind::PriorArg).join(", "));
            if other.is_empty() || other == one { format!("{one} is given twice") } else { format!("{one} does not go with {other}") }
        }
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        kind => kind.as_str().unwrap_or("the command line makes no sense").to_owned(),
    };
    format!("{what}; --help after a command shows what it takes")
}

fn unknown(error: &clap::Error) -> String {
    let guess = guess(error, ContextKind::SuggestedArg);
    format!("an argument is unknown or one too many{guess}; it is not repeated here, since it may be a secret: {EXPOSED}")
}

/// clap's guess at what was meant: one of our own names.
fn guess(error: &clap::Error, kind: ContextKind) -> String {
    match strings(error, kind) {
        names if names.is_empty() => String::new(),
        names => format!(" (did you mean {}?)", names.join(" or ")),
    }
}

/// The argument that an error is about. For the kinds that use it, this is our own definition, not what was typed.
fn argument(error: &clap::Error) -> String {
    strings(error, ContextKind::InvalidArg).join(", ")
}

fn strings(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(all)) => all.clone(),
        _ => Vec::new(),
    }
}
