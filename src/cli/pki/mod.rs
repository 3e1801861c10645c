//! `strongroom pki …`: the small CA, in a folder of this machine.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | what can be typed, and which part of the [office](crate::pki::office) it goes to |
//! | `show` | what is printed |

mod show;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::CliError;
use super::output::Printer;
use super::words::{Span, file_stem, host_name, number};
use crate::model::{Clock, SpiffeId, SystemClock, Timestamp, TrustDomain};
use crate::pki::office::{Kind, NewKey, Office, Order, Which};
use crate::pki::{CertificateRequest, PkiError, Reason, private_folder};

const HELP: &str = "\
A PKI in a folder: one authority for programs (the server is one) and one for people, each with a trust domain of its own, a \
register of what it issued, and a numbered revocation list. Nothing here speaks to a server: files are made, and carried where \
they are used. Keep the folder on a machine that is not the server's, on an encrypted disk, and back it up after each change: \
whoever has it can be anybody.

Examples:
  strongroom pki init --workload-domain shop.example --operator-domain people.example
  strongroom pki issue server spiffe://shop.example/strongroom --dns vault.internal --out issued
  strongroom pki issue workload spiffe://shop.example/backend --out issued
  strongroom pki issue operator spiffe://people.example/alice spiffe://people.example/bob --out issued
  strongroom pki list
  strongroom pki renew issued/backend.pem
  strongroom pki revoke issued/backend.pem --reason key-compromise
  strongroom pki crl

The server trusts DIR/workloads/ca.pem and DIR/operators/ca.pem, and needs DIR/workloads/crl.pem and DIR/operators/crl.pem. A list \
is good for 30 days: run `strongroom pki crl` and give the server both lists well before, or everybody is kept out.";

/// `pki`.
#[derive(Debug, Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub struct PkiArguments {
    /// The PKI's folder
    #[arg(long, global = true, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    /// Make the folder: two authorities, each with an empty revocation list
    #[command(after_help = "Example:\n  strongroom pki init --workload-domain shop.example --operator-domain people.example")]
    Init {
        /// The trust domain of programs, the server among them
        #[arg(long, value_name = "DOMAIN")]
        workload_domain: TrustDomain,
        /// The trust domain of people
        #[arg(long, value_name = "DOMAIN")]
        operator_domain: TrustDomain,
    },
    /// Issue certificates
    #[command(subcommand)]
    Issue(IssueCommand),
    /// Put a new certificate with a new key in the place of one of this PKI
    #[command(after_help = RENEW_HELP)]
    Renew(RenewArguments),
    /// Take certificates back, and make a new revocation list at once
    #[command(after_help = REVOKE_HELP)]
    Revoke(RevokeArguments),
    /// Show what was issued, and warn of what ends within 14 days and has lived for half of its time
    #[command(after_help = "Examples:\n  strongroom pki list\n  strongroom pki list --all --output json")]
    List {
        /// Show those that have ended, too
        #[arg(long)]
        all: bool,
    },
    /// Make fresh revocation lists: do it well before the last ones end, and give them to the server
    #[command(after_help = CRL_HELP)]
    Crl {
        /// For how many days they are good, 1 to 90
        #[arg(long, value_name = "N", default_value = "30", value_parser = number::<u64>)]
        days: u64,
        /// With numbers above this one: after the folder was put back from an older copy, the highest number that went out
        #[arg(long, value_name = "N", default_value = "0", value_parser = number::<u64>)]
        above: u64,
    },
}

const ISSUE_HELP: &str = "\
For each ID two new files: NAME.pem and NAME.key, readable by their owner alone; NAME is the last part of the ID. A file that is \
there already is never replaced.

With --csr the key stays where it was made: its owner sends a request, and gets NAME.pem. Of the request the key alone counts; \
names and extensions that it asks for do not. Make one with
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj / -keyout alice.key -out alice.csr

Examples:
  strongroom pki issue server spiffe://shop.example/strongroom --dns vault.internal --ip 10.0.0.5 --out issued
  strongroom pki issue workload spiffe://shop.example/backend --lifetime 14d
  strongroom pki issue operator spiffe://people.example/alice --csr alice.csr";

#[derive(Debug, Subcommand)]
#[command(after_help = ISSUE_HELP)]
enum IssueCommand {
    /// For the server: an ID of the workload domain; 90 days if you say nothing, 398 at most
    #[command(after_help = ISSUE_HELP)]
    Server {
        /// The ID that clients pin as `server_id`, e.g. spiffe://shop.example/strongroom
        #[arg(value_name = "SPIFFE-ID")]
        id: SpiffeId,
        /// A host name, for clients of other makes that look at it; may be repeated
        #[arg(long = "dns", value_name = "NAME", value_parser = host_name)]
        dns_names: Vec<String>,
        /// An address, for the same; may be repeated
        #[arg(long = "ip", value_name = "ADDRESS")]
        addresses: Vec<IpAddr>,
        #[command(flatten)]
        common: IssueArguments,
    },
    /// For backends: IDs of the workload domain; 30 days if you say nothing, 90 at most
    #[command(after_help = ISSUE_HELP)]
    Workload {
        /// Who they are, e.g. spiffe://shop.example/backend
        #[arg(value_name = "SPIFFE-ID", required = true)]
        ids: Vec<SpiffeId>,
        #[command(flatten)]
        common: IssueArguments,
    },
    /// For people: IDs of the operator domain; 7 days if you say nothing, 31 at most
    #[command(after_help = ISSUE_HELP)]
    Operator {
        /// Who they are, e.g. spiffe://people.example/alice
        #[arg(value_name = "SPIFFE-ID", required = true)]
        ids: Vec<SpiffeId>,
        #[command(flatten)]
        common: IssueArguments,
    },
}

#[derive(Debug, Args)]
struct IssueArguments {
    /// How long it is valid, from start to end, e.g. 12h or 30d; it starts a minute ago
    #[arg(long, value_name = "DURATION")]
    lifetime: Option<Span>,
    /// The folder for the files; made if there is none
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The files' name, for one ID [default: the last part of the ID]
    #[arg(long, value_name = "NAME", value_parser = file_stem)]
    name: Option<String>,
    /// Certify the key of this request (PKCS #10, PEM), for one ID
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
}

const RENEW_HELP: &str = "\
Same ID, kind and host names, a new key. Both files are written beside their places and then moved, the key first, with nothing in \
between, so that a server that watches them sees two that do not fit for an instant at most. If the power fails in that instant, \
renew again. A revoked certificate is not renewed.

Example:
  strongroom pki renew issued/backend.pem --revoke-old";

#[derive(Debug, Args)]
struct RenewArguments {
    /// The certificate's file
    #[arg(value_name = "FILE")]
    certificate: PathBuf,
    /// The key's file [default: FILE with the ending .key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How long the new one is valid [default: as long as the old one was]
    #[arg(long, value_name = "DURATION")]
    lifetime: Option<Span>,
    /// Revoke the old one once the new one is in place; otherwise it is good until its end
    #[arg(long)]
    revoke_old: bool,
}

const REVOKE_HELP: &str = "\
The new list is in its place when the command ends: give it to the server. Revoking again makes another list and changes nothing \
else, so after an interruption simply repeat the command.

Examples:
  strongroom pki revoke issued/backend.pem --reason key-compromise
  strongroom pki revoke --serial 5f0c6b1c0b6c4d3f9a8e7d6c5b4a3f2e
  strongroom pki revoke --id spiffe://people.example/alice --reason cessation-of-operation";

#[derive(Debug, Args)]
struct RevokeArguments {
    #[command(flatten)]
    which: WhichArguments,
    /// Why
    #[arg(long, default_value = "unspecified", value_parser = reasons())]
    reason: Reason,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichArguments {
    /// The certificate's file
    #[arg(value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// By its serial number, as `pki list`, the audit log and openssl print it
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// All certificates of this ID that are good still
    #[arg(long, value_name = "SPIFFE-ID")]
    id: Option<SpiffeId>,
}

const CRL_HELP: &str = "\
A list that has ended keeps everybody out whom it concerns. Every list has a number above that of every one before; a server \
refuses an older one.

Example, once a week from a timer:
  strongroom pki crl --dir /media/ca/pki --days 30";

fn reasons() -> impl TypedValueParser<Value = Reason> {
    let named = |word: String| Reason::ALL.into_iter().find(|reason| reason.word() == word);
    PossibleValuesParser::new(Reason::ALL.map(Reason::word)).map(move |word| named(word).expect("one of those that are possible"))
}

/// Does what was typed.
pub(super) fn run(printer: Printer, arguments: PkiArguments) -> Result<(), CliError> {
    let PkiArguments { dir, command } = arguments;
    let now = SystemClock.now();
    match command {
        PkiCommand::Init { workload_domain, operator_domain } => {
            let office = Office::init(&dir, &workload_domain, &operator_domain, now)?;
            show::made(printer, &dir, &office.overview(now)?)
        }
        PkiCommand::Issue(command) => issue(printer, &Office::open(&dir)?, &orders(command)?, now),
        PkiCommand::Renew(arguments) => renew(printer, &Office::open(&dir)?, &arguments, now),
        PkiCommand::Revoke(arguments) => {
            let RevokeArguments { which, reason } = arguments;
            show::revoked(printer, &Office::open(&dir)?.revoke(&which.meant()?, reason, now)?, now)
        }
        PkiCommand::List { all } => show::overview(printer, &Office::open(&dir)?.overview(now)?, all, now),
        PkiCommand::Crl { days, above } => {
            if !(1..=90).contains(&days) {
                return Err(CliError::Input("a revocation list is good for 1 to 90 days: --days".to_owned()));
            }
            show::lists(printer, &Office::open(&dir)?.lists(Duration::from_secs(days * 24 * 3600), above, now)?)
        }
    }
}

fn issue(printer: Printer, office: &Office, orders: &[Order], now: Timestamp) -> Result<(), CliError> {
    // All or none, as far as that can be known beforehand.
    orders.iter().try_for_each(Order::is_free)?;
    let issued = orders.iter().map(|order| Ok(show::Files::of(&office.issue(order, now)?, order, now)));
    show::issued(printer, issued.collect::<Result<_, CliError>>()?)
}

fn renew(printer: Printer, office: &Office, arguments: &RenewArguments, now: Timestamp) -> Result<(), CliError> {
    let certificate = &arguments.certificate;
    let key = arguments.key.clone().unwrap_or_else(|| certificate.with_extension("key"));
    let mut renewed = office.renew(certificate, &key, arguments.lifetime.map(|Span(life)| life), now)?;
    let mut lists = Vec::new();
    if arguments.revoke_old {
        let revocation = office.revoke(&Which::Serial(renewed.before.serial.clone()), Reason::Superseded, now)?;
        lists = revocation.lists;
        renewed.before.revoked = revocation.leaves.first().and_then(|leaf| leaf.revoked);
    }
    show::renewed(printer, &renewed, &lists, (certificate, &key), now)
}

impl WhichArguments {
    fn meant(self) -> Result<Which, CliError> {
        let file = self.certificate.map(Which::File).or(self.serial.map(Which::Serial));
        file.or(self.id.map(Which::Holder)).ok_or_else(|| CliError::Usage("name a certificate: FILE, --serial or --id".to_owned()))
    }
}

fn orders(command: IssueCommand) -> Result<Vec<Order>, CliError> {
    let (kind, ids, dns_names, addresses, common) = match command {
        IssueCommand::Server { id, dns_names, addresses, common } => (Kind::Server, vec![id], dns_names, addresses, common),
        IssueCommand::Workload { ids, common } => (Kind::Workload, ids, Vec::new(), Vec::new(), common),
        IssueCommand::Operator { ids, common } => (Kind::Operator, ids, Vec::new(), Vec::new(), common),
    };
    if ids.len() > 1 && (common.name.is_some() || common.csr.is_some()) {
        return Err(CliError::Usage("--name and --csr go with one ID".to_owned()));
    }
    if !common.out.exists() {
        private_folder(&common.out).map_err(|error| CliError::Pki(error.into()))?;
    }
    let mut orders: Vec<Order> = Vec::with_capacity(ids.len());
    for id in ids {
        let name = common.name.as_deref().unwrap_or_else(|| id.as_str().rsplit('/').next().unwrap_or_default());
        let certificate = common.out.join(format!("{name}.pem"));
        if orders.iter().any(|other| other.certificate == certificate) {
            return Err(CliError::Usage(format!("two IDs end in {name}: issue them one by one, with --name")));
        }
        let key = match &common.csr {
            Some(path) => NewKey::Requested(request(path)?),
            None => NewKey::Made(common.out.join(format!("{name}.key"))),
        };
        let (dns_names, addresses, lifetime) = (dns_names.clone(), addresses.clone(), common.lifetime.map(|Span(life)| life));
        orders.push(Order { kind, id, dns_names, addresses, lifetime, certificate, key });
    }
    Ok(orders)
}

fn request(path: &Path) -> Result<CertificateRequest, CliError> {
    let text = fs::read_to_string(path).map_err(|source| CliError::File { path: path.to_owned(), source })?;
    CertificateRequest::from_pem(&text).map_err(|error: PkiError| CliError::Pki(error.into()))
}
