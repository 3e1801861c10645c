//! `strongroom role …` and `strongroom binding …`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::Column;
use super::words::{Moment, Span, number, remark};
use super::{CliError, Session};
use crate::client::{BindingFilter, BindingInfo, BindingScope, Grant, NewBinding, NewRole, RoleInfo, collect};
use crate::model::{BindingId, Clock, NamespaceName, RoleName, SpiffeId, SystemClock, Timestamp};

const ROLE_HELP: &str = "\
Roles that come with every vault, each on all paths (**):
  backend       describe, reveal, use, create  an application's backend; cannot replace or destroy
  writer        describe, create, update       stores and replaces secrets; cannot read one
  reader        describe, reveal               reads secrets
  support       describe                       sees state, age and expiry; never a value
  key-admin     rotate                         makes and lists key versions, changes slots
  approver      approve                        confirms what another person proposed
  access-admin  administer                     makes namespaces and roles, gives roles to others
  auditor       audit                          reads the audit log, roles and bindings
  custodian     operate                        sees the vault's condition, seals and unseals it

A grant is written ACTION,ACTION:PATTERN. Actions: describe, reveal, use, create, update, destroy, verify, rotate, administer, approve, \
audit, operate; none implies another. In a pattern * is one segment, and ** at its end one or more.

Examples:
  strongroom role create payments-eu --grant 'reveal,describe:merchants/eu/**'
  strongroom role update payments-eu --grant 'describe:**' --grant 'reveal:merchants/eu/*/token'";

const BINDING_HELP: &str = "\
Examples:
  strongroom binding grant --role reader --principal spiffe://people.example/alice \\
    --namespace wepay-prod --for 1h --reason 'case 4711'
  strongroom binding revoke 0123456789abcdef0123456789abcdef --reason 'case closed'
  strongroom binding confirm 0123456789abcdef0123456789abcdef --reason 'still with us, after the restore'";

/// Make and see roles.
#[derive(Debug, Subcommand)]
#[command(after_help = ROLE_HELP)]
pub enum RoleCommand {
    /// Make a role
    #[command(after_help = ROLE_HELP)]
    Create(CreateRoleArguments),
    /// Replace what a role allows
    #[command(after_help = ROLE_HELP)]
    Update(UpdateRoleArguments),
    /// Delete a role that no binding refers to
    #[command(after_help = "Example:\n  strongroom role delete payments-eu")]
    Delete {
        /// The role
        name: RoleName,
        /// Only if its revision is still this
        #[arg(long, value_name = "N", value_parser = number::<u64>)]
        expected_revision: Option<u64>,
    },
    /// Tell what a role allows
    #[command(after_help = "Example:\n  strongroom role describe payments-eu")]
    Describe {
        /// The role
        name: RoleName,
    },
    /// List the roles, built-in ones first
    #[command(after_help = ROLE_HELP)]
    List {
        /// At most this many; 0 for all
        #[arg(long, default_value = "1000", value_parser = number::<usize>)]
        limit: usize,
    },
}

/// `role create`.
#[derive(Debug, Args)]
pub struct CreateRoleArguments {
    /// 1 to 63 of a-z, 0-9 and -
    name: RoleName,
    /// What it allows; may be repeated
    #[arg(long = "grant", value_name = "ACTIONS:PATTERN", required = true)]
    grants: Vec<Grant>,
    /// What it is for
    #[arg(long, value_parser = remark)]
    description: Option<String>,
}

/// `role update`.
#[derive(Debug, Args)]
pub struct UpdateRoleArguments {
    /// The role
    name: RoleName,
    /// What it allows from now on, in place of what it did; may be repeated
    #[arg(long = "grant", value_name = "ACTIONS:PATTERN", required = true)]
    grants: Vec<Grant>,
    /// What it is for [default: as before]
    #[arg(long, value_parser = remark)]
    description: Option<String>,
    /// The revision to replace [default: described first]
    #[arg(long, value_name = "N", value_parser = number::<u64>)]
    expected_revision: Option<u64>,
}

/// Give roles to principals, and take them away.
#[derive(Debug, Subcommand)]
#[command(after_help = BINDING_HELP)]
pub enum BindingCommand {
    /// Give a role to a principal
    #[command(visible_alias = "grant", after_help = BINDING_HELP)]
    Create(CreateBindingArguments),
    /// Let a binding count again that a restore suspended; not one's own
    #[command(after_help = BINDING_HELP)]
    Confirm {
        /// The binding's id, as `binding list` shows it
        id: BindingId,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
    },
    /// Take a role away, at once
    #[command(visible_alias = "revoke", after_help = BINDING_HELP)]
    Delete {
        /// The binding's id, as `binding list` shows it
        id: BindingId,
        /// Why, for the record
        #[arg(long, value_parser = remark)]
        reason: Option<String>,
    },
    /// List bindings, ended ones included
    #[command(
        after_help = "Examples:\n  strongroom binding list --principal spiffe://people.example/alice\n  strongroom binding list --role reader --namespace wepay-prod"
    )]
    List(ListBindingsArguments),
}

/// `binding create`.
#[derive(Debug, Args)]
pub struct CreateBindingArguments {
    /// The role
    #[arg(long)]
    role: RoleName,
    /// Who is to hold it
    #[arg(long, value_name = "SPIFFE-ID")]
    principal: SpiffeId,
    #[command(flatten)]
    scope: ScopeArguments,
    #[command(flatten)]
    end: EndArguments,
    /// From when it counts [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Why, for the record
    #[arg(long, value_parser = remark)]
    reason: String,
}

/// Where a binding counts.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct ScopeArguments {
    /// The namespace in which it counts
    #[arg(long)]
    namespace: Option<NamespaceName>,
    /// It counts for the vault itself: no action on secrets
    #[arg(long)]
    vault: bool,
}

/// When a binding ends. That it never does must be said.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct EndArguments {
    /// How long it counts, e.g. 1h
    #[arg(long = "for", value_name = "DURATION")]
    span: Option<Span>,
    /// From when it counts no more
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// It counts until it is deleted
    #[arg(long)]
    no_end: bool,
}

/// `binding list`.
#[derive(Debug, Args)]
pub struct ListBindingsArguments {
    /// Of this principal
    #[arg(long, value_name = "SPIFFE-ID")]
    principal: Option<SpiffeId>,
    /// Of this role
    #[arg(long)]
    role: Option<RoleName>,
    /// In this namespace
    #[arg(long)]
    namespace: Option<NamespaceName>,
    /// At most this many; 0 for all
    #[arg(long, default_value = "1000", value_parser = number::<usize>)]
    limit: usize,
}

const ROLE_COLUMNS: &[Column<RoleInfo>] = &[
    ("NAME", |role| role.name.to_string()),
    ("BUILT IN", |role| if role.built_in { "yes" } else { "no" }.to_owned()),
    ("GRANTS", grants),
    ("DESCRIPTION", |role| role.description.clone()),
];

const BINDING_COLUMNS: &[Column<BindingInfo>] = &[
    ("ID", |binding| binding.binding_id.to_string()),
    ("ROLE", |binding| binding.role.to_string()),
    ("PRINCIPAL", |binding| binding.principal.to_string()),
    ("WHERE", place),
    ("FROM", |binding| time(binding.start_time)),
    ("UNTIL", |binding| binding.end_time.map_or_else(|| "no end".to_owned(), |end| end.to_string())),
    ("REASON", |binding| binding.reason.clone()),
    ("SUSPENDED", |binding| binding.suspended.clone()),
];

pub(super) async fn run_role(session: &Session, command: RoleCommand) -> Result<(), CliError> {
    match command {
        RoleCommand::Create(CreateRoleArguments { name, grants, description }) => {
            let new = NewRole { name, grants, description: description.unwrap_or_default(), request_id: String::new() };
            print_role(session, &session.client.create_role(new).await?)
        }
        RoleCommand::Update(arguments) => update_role(session, arguments).await,
        RoleCommand::Delete { name, expected_revision } => {
            session.client.delete_role(&name, expected_revision.unwrap_or_default()).await?;
            session.printer.item(&json!({ "deleted": name.to_string() }), &[("deleted", name.to_string())])
        }
        RoleCommand::Describe { name } => print_role(session, &session.client.describe_role(&name).await?),
        RoleCommand::List { limit } => {
            let all = collect(limit, |page| session.client.list_roles(page)).await?;
            session.printer.list(&all, ROLE_COLUMNS)
        }
    }
}

pub(super) async fn run_binding(session: &Session, command: BindingCommand) -> Result<(), CliError> {
    match command {
        BindingCommand::Create(arguments) => print_binding(session, &session.client.create_binding(arguments.binding()).await?),
        BindingCommand::Confirm { id, reason } => {
            print_binding(session, &session.client.confirm_binding(id, reason.as_deref().unwrap_or_default()).await?)
        }
        BindingCommand::Delete { id, reason } => {
            session.client.delete_binding(id, reason.as_deref().unwrap_or_default()).await?;
            session.printer.item(&json!({ "deleted": id.to_string() }), &[("deleted", id.to_string())])
        }
        BindingCommand::List(ListBindingsArguments { principal, role, namespace, limit }) => {
            let filter = BindingFilter { principal, role, namespace };
            let all = collect(limit, |page| session.client.list_bindings(&filter, page)).await?;
            session.printer.list(&all, BINDING_COLUMNS)
        }
    }
}

async fn update_role(session: &Session, arguments: UpdateRoleArguments) -> Result<(), CliError> {
    let UpdateRoleArguments { name, grants, description, expected_revision } = arguments;
    let (description, revision) = match (description, expected_revision) {
        (Some(description), Some(revision)) => (description, revision),
        (description, revision) => {
            let before = session.client.describe_role(&name).await?;
            session.printer.note(&format!("replacing {} of {name}", super::access::grants(&before)));
            (description.unwrap_or(before.description), revision.unwrap_or(before.revision))
        }
    };
    let new = NewRole { name, grants, description, request_id: String::new() };
    print_role(session, &session.client.update_role(new, revision).await?)
}

impl CreateBindingArguments {
    fn binding(self) -> NewBinding {
        let start = self.from.map(|Moment(time)| time);
        let begin = start.unwrap_or_else(|| SystemClock.now());
        NewBinding {
            role: self.role,
            principal: self.principal,
            scope: self.scope.namespace.map_or(BindingScope::Vault, BindingScope::Namespace),
            start_time: start,
            end_time: self.end.span.map(|Span(span)| begin.plus(span)).or(self.end.until.map(|Moment(time)| time)),
            reason: self.reason,
            request_id: String::new(),
        }
    }
}

fn print_role(session: &Session, role: &RoleInfo) -> Result<(), CliError> {
    let fields = [
        ("name", role.name.to_string()),
        ("description", role.description.clone()),
        ("built in", if role.built_in { "yes" } else { "no" }.to_owned()),
        ("grants", grants(role)),
        ("revision", role.revision.to_string()),
        ("updated", time(role.update_time)),
        ("updated by", role.updated_by.clone()),
    ];
    session.printer.item(role, &fields)
}

fn print_binding(session: &Session, binding: &BindingInfo) -> Result<(), CliError> {
    let fields: Vec<_> = BINDING_COLUMNS.iter().map(|(head, cell)| (head.to_lowercase(), cell(binding))).collect();
    session.printer.item(binding, &fields.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>())
}

fn grants(role: &RoleInfo) -> String {
    role.grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn place(binding: &BindingInfo) -> String {
    if binding.namespace.is_empty() { "the vault".to_owned() } else { binding.namespace.clone() }
}

fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}
