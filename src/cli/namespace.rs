//! `strongroom namespace …`.

use clap::{Args, Subcommand};

use super::output::Column;
use super::words::{Span, number};
use super::{CliError, Session};
use crate::client::{NamespaceInfo, NamespaceLimits, NewNamespace, collect};
use crate::model::{Environment, NamespaceName};

/// Make and see namespaces.
#[derive(Debug, Subcommand)]
pub enum NamespaceCommand {
    /// Create a namespace with a keyring of its own
    #[command(after_help = "Example:\n  strongroom namespace create wepay-prod --environment production --recovery-window 14d")]
    Create(CreateArguments),
    /// Tell a namespace's id, environment and limits
    #[command(after_help = "Example:\n  strongroom namespace describe wepay-prod")]
    Describe {
        /// The namespace
        name: NamespaceName,
    },
    /// List the namespaces that you may describe
    #[command(after_help = "Example:\n  strongroom namespace list")]
    List {
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
}

/// `namespace create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// 1 to 63 of a-z, 0-9 and -
    name: NamespaceName,
    /// stage or production: a token of the one is refused by the other
    #[arg(long)]
    environment: Environment,
    /// Longest payload in bytes [default: 65536, which is the most]
    #[arg(long, value_name = "BYTES", value_parser = number::<u32>)]
    payload_max_bytes: Option<u32>,
    /// Versions that a secret keeps, at most 1000 [default: 10]
    #[arg(long, value_name = "N", value_parser = number::<u32>)]
    versions_kept: Option<u32>,
    /// How long a destroyed secret can be restored, at most 365d [default: 7d]
    #[arg(long, value_name = "DURATION")]
    recovery_window: Option<Span>,
    /// Refuse calls over connections without a post-quantum key exchange
    #[arg(long)]
    require_post_quantum: bool,
    /// How long a key version encrypts before it is to be rotated, 1d to 3650d [default: 365d]
    #[arg(long, value_name = "DURATION")]
    cryptoperiod: Option<Span>,
    /// Have the vault rotate and rewrap by itself when that time has come; otherwise it only warns
    #[arg(long)]
    auto_rotate: bool,
}

const COLUMNS: &[Column<NamespaceInfo>] = &[
    ("NAME", |namespace| namespace.name.to_string()),
    ("ENVIRONMENT", |namespace| namespace.environment.to_string()),
    ("VERSIONS KEPT", |namespace| namespace.limits.versions_kept.to_string()),
    ("CREATED", |namespace| namespace.create_time.to_string()),
    ("ID", |namespace| namespace.namespace_id.to_string()),
];

pub(super) async fn run(session: &Session, command: NamespaceCommand) -> Result<(), CliError> {
    match command {
        NamespaceCommand::Create(arguments) => print(session, &session.client.create_namespace(arguments.namespace()).await?),
        NamespaceCommand::Describe { name } => print(session, &session.client.describe_namespace(&name).await?),
        NamespaceCommand::List { limit } => {
            let all = collect(limit, |page| session.client.list_namespaces(page)).await?;
            session.printer.list(&all, COLUMNS)
        }
    }
}

impl CreateArguments {
    fn namespace(self) -> NewNamespace {
        let limits = NamespaceLimits {
            payload_max_bytes: self.payload_max_bytes.unwrap_or_default(),
            versions_kept: self.versions_kept.unwrap_or_default(),
            recovery_window: self.recovery_window.map(|Span(window)| window),
            require_post_quantum: self.require_post_quantum,
            cryptoperiod: self.cryptoperiod.map(|Span(period)| period),
            auto_rotate: self.auto_rotate,
        };
        NewNamespace { limits, ..NewNamespace::new(self.name, self.environment) }
    }
}

fn print(session: &Session, namespace: &NamespaceInfo) -> Result<(), CliError> {
    let limits = &namespace.limits;
    let fields = [
        ("name", namespace.name.to_string()),
        ("id", namespace.namespace_id.to_string()),
        ("environment", namespace.environment.to_string()),
        ("longest payload", format!("{} bytes", limits.payload_max_bytes)),
        ("versions kept", limits.versions_kept.to_string()),
        ("recovery window", limits.recovery_window.map(|window| Span(window).to_string()).unwrap_or_default()),
        ("cryptoperiod", limits.cryptoperiod.map(|period| Span(period).to_string()).unwrap_or_default()),
        ("rotated by itself", if limits.auto_rotate { "yes" } else { "no" }.to_owned()),
        ("post-quantum", if limits.require_post_quantum { "required" } else { "not required" }.to_owned()),
        ("created", namespace.create_time.to_string()),
        ("created by", namespace.created_by.clone()),
    ];
    session.printer.item(namespace, &fields)
}
