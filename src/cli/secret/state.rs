//! `secret disable`, `enable`, `destroy`, `restore`, `purge`.

use serde_json::json;

use super::view::print_secret;
use super::{ChangeArguments, RemovalArguments};
use crate::cli::destruction::{ends, explain};
use crate::cli::input::confirm;
use crate::cli::{CliError, Session};
use crate::client::StateChange;

pub(super) async fn disable(session: &Session, arguments: ChangeArguments) -> Result<(), CliError> {
    print_secret(session, &session.client.disable_secret(arguments.change()).await?)
}

pub(super) async fn enable(session: &Session, arguments: ChangeArguments) -> Result<(), CliError> {
    print_secret(session, &session.client.enable_secret(arguments.change()).await?)
}

pub(super) async fn restore(session: &Session, arguments: ChangeArguments) -> Result<(), CliError> {
    print_secret(session, &session.client.restore_secret(arguments.change()).await?)
}

pub(super) async fn destroy(session: &Session, arguments: RemovalArguments) -> Result<(), CliError> {
    confirm("destroy", &arguments.change.name.to_string(), arguments.yes)?;
    let secret = session.client.destroy_secret(arguments.change.change()).await?;
    explain(session.printer, &ends(secret.purge_time));
    print_secret(session, &secret)
}

pub(super) async fn purge(session: &Session, arguments: RemovalArguments) -> Result<(), CliError> {
    let name = arguments.change.name.to_string();
    confirm("delete for good", &name, arguments.yes)?;
    let deleted_rows = session.client.purge_secret(arguments.change.change()).await?;
    explain(session.printer, &ends(None));
    let fields = [("name", name.clone()), ("deleted rows", deleted_rows.to_string())];
    session.printer.item(&json!({ "name": name, "deleted_rows": deleted_rows }), &fields)
}

impl ChangeArguments {
    fn change(self) -> StateChange {
        let change = StateChange::of(&self.name).reason(self.reason.unwrap_or_default());
        change.expected_revision(self.expected_revision.unwrap_or_default())
    }
}
