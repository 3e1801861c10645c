//! What the commands of the small CA print.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::super::CliError;
use super::super::output::{Column, Format, Printer, json_text, print};
use crate::client::Listed;
use crate::model::Timestamp;
use crate::pki::Usage;
use crate::pki::office::{List, NewKey, Order, Overview, Registered, Renewed, Revocation, Standing, State};

/// A leaf as the books have it.
#[derive(Debug, Serialize)]
pub(super) struct Leaf {
    serial: String,
    id: String,
    kind: &'static str,
    usage: &'static str,
    class: &'static str,
    dns_names: Vec<String>,
    addresses: Vec<String>,
    not_before: String,
    not_after: String,
    state: &'static str,
    revoke_time: Option<String>,
    revoke_reason: Option<&'static str>,
}

/// A new leaf and where it lies.
#[derive(Debug, Serialize)]
pub(super) struct Files {
    #[serde(flatten)]
    leaf: Leaf,
    certificate: String,
    key: Option<String>,
}

/// A new leaf in the place of another.
#[derive(Debug, Serialize)]
struct Replaced {
    #[serde(flatten)]
    files: Files,
    before: Leaf,
    lists: Vec<ListShown>,
}

#[derive(Debug, Serialize)]
struct ListShown {
    class: &'static str,
    number: u64,
    this_update: String,
    next_update: String,
    file: String,
}

#[derive(Debug, Serialize)]
struct Authority {
    class: &'static str,
    domain: String,
    certificate: String,
    not_after: String,
    list: ListShown,
}

const LEAF: &[Column<Leaf>] = &[
    ("SERIAL", |leaf| leaf.serial.clone()),
    ("ID", |leaf| leaf.id.clone()),
    ("USAGE", |leaf| leaf.usage.to_owned()),
    ("CLASS", |leaf| leaf.class.to_owned()),
    ("ENDS", |leaf| leaf.not_after.clone()),
    ("STATE", |leaf| leaf.state.to_owned()),
];

const FILES: &[Column<Files>] = &[
    ("SERIAL", |files| files.leaf.serial.clone()),
    ("ID", |files| files.leaf.id.clone()),
    ("ENDS", |files| files.leaf.not_after.clone()),
    ("CERTIFICATE", |files| files.certificate.clone()),
    ("KEY", |files| files.key.clone().unwrap_or_default()),
];

const LIST: &[Column<ListShown>] = &[
    ("CLASS", |list| list.class.to_owned()),
    ("NUMBER", |list| list.number.to_string()),
    ("ENDS", |list| list.next_update.clone()),
    ("FILE", |list| list.file.clone()),
];

const AUTHORITY: &[Column<Authority>] = &[
    ("CLASS", |authority| authority.class.to_owned()),
    ("DOMAIN", |authority| authority.domain.clone()),
    ("ENDS", |authority| authority.not_after.clone()),
    ("CERTIFICATE", |authority| authority.certificate.clone()),
    ("LIST", |authority| authority.list.file.clone()),
];

impl Leaf {
    fn of(leaf: &Registered, now: Timestamp) -> Self {
        Self {
            serial: leaf.serial.clone(),
            id: leaf.id.to_string(),
            kind: leaf.kind.word(),
            usage: match leaf.kind.usage() {
                Usage::Server => "server",
                Usage::Client => "client",
            },
            class: leaf.kind.class().word(),
            dns_names: leaf.dns_names.clone(),
            addresses: leaf.addresses.iter().map(ToString::to_string).collect(),
            not_before: leaf.not_before.to_string(),
            not_after: leaf.not_after.to_string(),
            state: leaf.state(now).word(),
            revoke_time: leaf.revoked.map(|revoked| revoked.time.to_string()),
            revoke_reason: leaf.revoked.map(|revoked| revoked.reason.word()),
        }
    }
}

impl Files {
    pub(super) fn of(leaf: &Registered, order: &Order, now: Timestamp) -> Self {
        let key = if let NewKey::Made(key) = &order.key { Some(shown(key)) } else { None };
        Self { leaf: Leaf::of(leaf, now), certificate: shown(&order.certificate), key }
    }
}

impl ListShown {
    fn of(list: &List) -> Self {
        let (this_update, next_update) = (list.this_update.to_string(), list.next_update.to_string());
        Self { class: list.class.word(), number: list.number, this_update, next_update, file: shown(&list.path) }
    }

    fn all(lists: &[List]) -> Vec<Self> {
        lists.iter().map(Self::of).collect()
    }
}

impl Authority {
    fn of(standing: &Standing) -> Self {
        let (domain, not_after) = (standing.domain.to_string(), standing.not_after.to_string());
        let (certificate, list) = (shown(&standing.certificate), ListShown::of(&standing.list));
        Self { class: standing.class.word(), domain, certificate, not_after, list }
    }
}

pub(super) fn made(printer: Printer, folder: &Path, overview: &Overview) -> Result<(), CliError> {
    printer.list(&whole(overview.authorities.iter().map(Authority::of).collect()), AUTHORITY)?;
    printer.note(&format!("Whoever has {} can be anybody: keep it off the server, on an encrypted disk, and back it up.", shown(folder)));
    printer.note("Next: `strongroom pki issue --help`. The lists end in 30 days: `strongroom pki crl` makes the next ones.");
    Ok(())
}

pub(super) fn issued(printer: Printer, files: Vec<Files>) -> Result<(), CliError> {
    printer.list(&whole(files), FILES)
}

pub(super) fn renewed(
    printer: Printer,
    renewed: &Renewed,
    lists: &[List],
    (certificate, key): (&Path, &Path),
    now: Timestamp,
) -> Result<(), CliError> {
    let files = Files { leaf: Leaf::of(&renewed.leaf, now), certificate: shown(certificate), key: Some(shown(key)) };
    let before = &renewed.before;
    if printer.format == Format::Json {
        let replaced = Replaced { files, before: Leaf::of(before, now), lists: ListShown::all(lists) };
        return printer.item(&replaced, &[]);
    }
    printer.list(&whole(vec![files]), FILES)?;
    if before.state(now) == State::Valid {
        printer.note(&format!("The one before, {}, is good until {}; --revoke-old would end it.", before.serial, before.not_after));
    }
    hand_over(printer, lists);
    Ok(())
}

pub(super) fn revoked(printer: Printer, revocation: &Revocation, now: Timestamp) -> Result<(), CliError> {
    let leaves: Vec<_> = revocation.leaves.iter().map(|leaf| Leaf::of(leaf, now)).collect();
    if printer.format == Format::Json {
        let all = json!({ "items": leaves, "more": false, "lists": ListShown::all(&revocation.lists) });
        return print(json_text(&all).as_bytes());
    }
    printer.list(&whole(leaves), LEAF)?;
    hand_over(printer, &revocation.lists);
    Ok(())
}

pub(super) fn lists(printer: Printer, lists: &[List]) -> Result<(), CliError> {
    printer.list(&whole(ListShown::all(lists)), LIST)?;
    printer.note("Give them to the server, and make the next ones well before these end.");
    Ok(())
}

/// Those that have ended are shown if `all` is.
pub(super) fn overview(printer: Printer, overview: &Overview, all: bool, now: Timestamp) -> Result<(), CliError> {
    let (shown, ended): (Vec<_>, Vec<_>) = overview.leaves.iter().partition(|leaf| all || leaf.not_after > now);
    let leaves: Vec<_> = shown.into_iter().map(|leaf| Leaf::of(leaf, now)).collect();
    let authorities: Vec<_> = overview.authorities.iter().map(Authority::of).collect();
    if printer.format == Format::Json {
        let all = json!({ "items": leaves, "more": false, "authorities": authorities, "warnings": overview.warnings });
        return print(json_text(&all).as_bytes());
    }
    printer.list(&whole(leaves), LEAF)?;
    for Authority { class, domain, list, .. } in &authorities {
        printer.note(&format!("class {class}, domain {domain}: list number {}, good until {}", list.number, list.next_update));
    }
    if !ended.is_empty() {
        printer.note(&format!("{} have ended and are not shown: --all", ended.len()));
    }
    overview.warnings.iter().for_each(|warning| printer.note(&format!("warning: {warning}")));
    Ok(())
}

fn hand_over(printer: Printer, lists: &[List]) {
    for list in lists {
        let (class, number, end) = (list.class.word(), list.number, list.next_update);
        printer.note(&format!("Give the server list number {number} of class {class}, good until {end}: {}", shown(&list.path)));
    }
}

fn whole<T>(items: Vec<T>) -> Listed<T> {
    Listed { items, next: None }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
