//! Following a rewrap until it has ended: a bar on a terminal, a line of JSON for each message where programs read, and
//! otherwise nothing until the end. Ctrl-C ends the following, and not the rewrap.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::{Session, done, print, state};
use crate::cli::CliError;
use crate::cli::output::{Format, json_line, print_while_read, shown};
use crate::client::RewrapInfo;
use crate::model::NamespaceName;

/// Rate and time left come from the server: the bar's own would begin anew with each following.
const BAR: &str = "{prefix} {bar:30} {pos}/{len} rows, {msg}";

pub(super) async fn until_ended(session: &Session, namespace: &NamespaceName) -> Result<(), CliError> {
    let bar = bar(session, namespace);
    let interrupted = async {
        // Where signals cannot be watched, Ctrl-C ends the program as ever.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let last = tokio::select! {
        last = follow(session, namespace, &bar) => last?,
        () = interrupted => {
            bar.finish_and_clear();
            session.printer.note(&format!("the rewrap goes on: `keys status {namespace}` tells how far it is, `keys pause {namespace}` stops it"));
            return Ok(());
        }
    };
    bar.finish_and_clear();
    match last {
        Some(last) if session.printer.format == Format::Table => print(session, &last),
        _ => Ok(()),
    }
}

/// The last that was told of it.
async fn follow(session: &Session, namespace: &NamespaceName, bar: &ProgressBar) -> Result<Option<RewrapInfo>, CliError> {
    let mut watch = session.client.watch_rewrap(namespace).await?;
    let mut last = None;
    while let Some(rewrap) = watch.next().await? {
        draw(bar, &rewrap);
        let line = json_line(&serde_json::to_value(&rewrap).unwrap_or(Value::Null));
        let is_read = session.printer.format == Format::Table || print_while_read(line.as_bytes())?;
        last = Some(rewrap);
        // A reader that went away, as `head` does, has seen enough.
        if !is_read {
            break;
        }
    }
    Ok(last)
}

fn bar(session: &Session, namespace: &NamespaceName) -> ProgressBar {
    let is_seen = session.printer.format == Format::Table && io::stderr().is_terminal();
    let target = if is_seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(BAR).expect("a constant that a test draws");
    ProgressBar::with_draw_target(Some(0), target).with_style(style).with_prefix(shown(&namespace.to_string()))
}

fn draw(bar: &ProgressBar, rewrap: &RewrapInfo) {
    bar.set_length(rewrap.total.max(rewrap.seen));
    bar.set_position(rewrap.seen);
    bar.set_message(told(rewrap));
}

fn told(rewrap: &RewrapInfo) -> String {
    let left = rewrap.time_left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
    let what = if rewrap.total == 0 { done(rewrap) } else { state(rewrap) };
    format!("{what}, {} rows/s{left}", rewrap.rows_per_s)
}

/// Hours, minutes and seconds.
fn clock(left: Duration) -> String {
    let seconds = left.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::RewrapState;
    use crate::model::Timestamp;

    #[test]
    fn the_bar_tells_how_many_how_fast_and_how_long() {
        let rewrap = RewrapInfo {
            namespace: "shop".parse().expect("valid"),
            target_version: 2,
            reencrypt: false,
            rate_per_s: 20_000,
            state: RewrapState::Running,
            total: 1_000_000,
            seen: 250_000,
            rewrapped: 250_000,
            damaged: 0,
            start_time: Timestamp::default(),
            started_by: "spiffe://people.test/kim".to_owned(),
            end_time: None,
            rows_per_s: 19_500,
            time_left: Some(Duration::from_secs(3_725)),
        };
        let bar = ProgressBar::hidden().with_style(ProgressStyle::with_template(BAR).expect("a template"));
        draw(&bar, &rewrap);
        assert_eq!((bar.position(), bar.length()), (250_000, Some(1_000_000)));
        assert_eq!(bar.message(), "running, 19500 rows/s, 1:02:05 left");
        let counting = RewrapInfo { total: 0, seen: 0, time_left: None, rows_per_s: 0, ..rewrap };
        draw(&bar, &counting);
        assert_eq!(bar.message(), "counting rows, 0 rows/s");
    }
}
