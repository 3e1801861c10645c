//! `secret watch`.

use serde_json::Value;

use super::WatchArguments;
use crate::cli::output::{Format, json_line, print_while_read, shown};
use crate::cli::{CliError, Session};
use crate::client::{ChangeKind, SecretChange, Watch};

pub(super) async fn watch(session: &Session, arguments: WatchArguments) -> Result<(), CliError> {
    let WatchArguments { prefix, after, expiring_within, count } = arguments;
    let watch = Watch::below(prefix.0).after(after.unwrap_or_default());
    let watch = expiring_within.map_or_else(|| watch.clone(), |window| watch.clone().expiring_within(window.0));
    let mut watch = session.client.watch_secrets(watch).await?;
    session.printer.note(&format!("watching after revision {}", watch.revision()));
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let change = watch.next().await?;
        let line = match session.printer.format {
            Format::Json => json_line(&serde_json::to_value(&change).unwrap_or(Value::Null)),
            Format::Table => line(&change),
        };
        // A reader that went away, as `head` does, has seen enough.
        if !print_while_read(line.as_bytes())? {
            break;
        }
        left -= 1;
    }
    Ok(())
}

fn line(change: &SecretChange) -> String {
    let more = match &change.secret {
        Some(secret) if change.kind == ChangeKind::Expiring => {
            secret.expire_time.map_or_else(String::new, |time| format!("  version {}, expires {time}", secret.version))
        }
        Some(secret) => format!("  version {}, {}", secret.version, secret.state.word()),
        None => String::new(),
    };
    format!("{}  {}  {}{more}\n", change.revision, change.kind.word(), shown(&change.name.to_string()))
}
