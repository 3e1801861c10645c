//! `strongroom keys …`.

use clap::Subcommand;

use super::output::Column;
use super::words::{number, remark};
use super::{CliError, Session};
use crate::client::{KeyInfo, collect};
use crate::model::NamespaceName;

/// Rotate and see key-encryption keys. No command shows a key.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new active key version; takes effect at once, and old values stay readable
    #[command(after_help = "Example:\n  strongroom keys rotate wepay-prod --expected-version 3 --reason 'quarterly rotation'")]
    Rotate {
        /// The namespace
        namespace: NamespaceName,
        /// Only if this version is the active one, so that a repeated command rotates once
        #[arg(long, value_name = "N", value_parser = number::<u32>)]
        expected_version: Option<u32>,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
    },
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

const COLUMNS: &[Column<KeyInfo>] = &[
    ("NAMESPACE", |key| key.namespace.to_string()),
    ("VERSION", |key| key.version.to_string()),
    ("STATE", |key| key.state.word().to_owned()),
    ("ALGORITHM", |key| key.algorithm.clone()),
    ("CREATED", |key| key.create_time.to_string()),
];

pub(super) async fn run(session: &Session, command: KeysCommand) -> Result<(), CliError> {
    match command {
        KeysCommand::Rotate { namespace, expected_version, reason } => {
            let (expected, reason) = (expected_version.unwrap_or_default(), reason.unwrap_or_default());
            let key = session.client.rotate_key(&namespace, expected, &reason).await?;
            let fields: Vec<_> = COLUMNS.iter().map(|(head, cell)| (head.to_lowercase(), cell(&key))).collect();
            let fields: Vec<_> = fields.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
            session.printer.item(&key, &fields)
        }
        KeysCommand::List { namespace, limit } => {
            let all = collect(limit, |page| session.client.list_keys(namespace.as_ref(), page)).await?;
            session.printer.list(&all, COLUMNS)
        }
    }
}
