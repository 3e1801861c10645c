//! `AuditService`: reads the log's own files. Reading is itself on the record.
//!
//! A reading goes through many lines to find few. So few readings go on at once, others wait for their turn, and not for long;
//! whoever asks pays for the lines that are looked at; and a reading whose caller is gone ends.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::bill::Bill;
use super::door::{Door, TURN};
use super::field::{Fault, InField, optional, optional_time, prefix};
use super::show;
use crate::api::audit_service_server::AuditService;
use crate::api::{self, Method};
use crate::audit::{Decision, Entry, Filter, Order, Page, PageBounds, Reader};
use crate::gate::{ScopeNamed, Unreleased};
use crate::model::{SpiffeId, Text, limits};
use crate::vault::{self, PageLimits};

/// Readings at once.
const READINGS: usize = 2;
/// Lines that are looked at for the worth of a call.
const LINES_A_CALL: usize = 1_000;

pub(super) struct Audit {
    door: Door,
    folder: PathBuf,
    turns: Arc<Semaphore>,
}

impl Audit {
    pub(super) fn new(door: Door, folder: PathBuf) -> Self {
        Self { door, folder, turns: Arc::new(Semaphore::new(READINGS)) }
    }
}

/// What was asked for.
struct Asked {
    scope: ScopeNamed,
    filter: Filter,
    order: Order,
    after: Option<u64>,
    page: PageLimits,
}

fn asked(message: &api::ListAuditEntriesRequest, page: PageLimits) -> Result<Asked, Fault> {
    let namespace = match message.resource_prefix.as_str() {
        "" => None,
        text => Some(prefix(text, "resource_prefix")?.0),
    };
    let after = match message.page_token.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Fault { field: "page_token", why: "not a token of this list: start again without one" })?),
    };
    let order = if message.oldest_first { Order::OldestFirst } else { Order::NewestFirst };
    Ok(Asked { scope: ScopeNamed(namespace), filter: filter(message)?, order, after, page })
}

fn filter(message: &api::ListAuditEntriesRequest) -> Result<Filter, Fault> {
    let text =
        |text: &str, field| Ok(Text::<{ limits::LABEL_KEY_BYTES }>::parse_optional(text).in_field(field)?.map(|text| text.to_string()));
    let event = |word: &str| show::EVENTS.into_iter().find(|event| show::event_word(*event) == word);
    let decision = |word: &str| [Decision::Allow, Decision::Deny].into_iter().find(|decision| show::decision_word(*decision) == word);
    Ok(Filter {
        since: optional_time(message.start_time.as_ref(), "start_time")?,
        until: optional_time(message.end_time.as_ref(), "end_time")?,
        principal: optional::<SpiffeId>(&message.principal, "principal")?.map(|id| id.to_string()),
        action: optional(&message.action, "action")?,
        resource_prefix: Some(message.resource_prefix.clone()).filter(|prefix| !prefix.is_empty()),
        method: text(&message.method, "method")?,
        event: named(&message.event, Fault { field: "event", why: "not an event: read, intent, outcome, denied, summary, system" }, event)?,
        outcome: text(&message.outcome, "outcome")?,
        decision: named(&message.decision, Fault { field: "decision", why: "not a decision: allow, deny" }, decision)?,
        ..Filter::default()
    })
}

fn named<T>(word: &str, fault: Fault, find: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Fault> {
    if word.is_empty() { Ok(None) } else { find(word).map(Some).ok_or(fault) }
}

/// As many of the entries as fit into one message, but at least one.
fn cut(mut page: Page, most_bytes: usize) -> Page {
    use prost::Message;
    let mut bytes = 0;
    let mut fits = |entry: &Entry| {
        bytes += show::entry(entry.clone()).encoded_len() + 8;
        bytes <= most_bytes
    };
    let fitting = page.entries.iter().take_while(|entry| fits(entry)).count().max(1);
    if fitting < page.entries.len() {
        page.entries.truncate(fitting);
        page.next = page.entries.last().map(|entry| entry.sequence);
    }
    page
}

/// Waits for a turn to read.
async fn turn(turns: Arc<Semaphore>, door: &Door) -> Result<OwnedSemaphorePermit, vault::Error> {
    let turn = timeout(TURN, turns.acquire_owned()).await.ok().and_then(Result::ok);
    turn.ok_or_else(|| {
        door.count_refused("audit_busy");
        vault::Error::TooMany("readings of the audit log")
    })
}

/// Reading blocks: it is done apart. It keeps its turn until it ends, even if nobody waits for it any more.
async fn read(turn: OwnedSemaphorePermit, folder: PathBuf, asked: Asked, bill: Bill) -> Result<Unreleased<Page>, vault::Error> {
    let Asked { filter, order, after, page, .. } = asked;
    // A line is longer than what the message has of it, but hardly twice as long.
    let bounds = PageBounds { entries: page.items, bytes: 2 * page.bytes };
    let (answer, answered) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let is_wanted = || !answer.is_closed();
        let read = Reader::open(&folder).and_then(|log| log.page(&filter, order, after, bounds, bill.effort(), is_wanted));
        drop(bill);
        let _ = answer.send(read.map(|read| cut(read, page.bytes)));
    });
    let read = answered.await.map_err(|_| vault::Error::Integrity("the audit log"))?;
    read.map(Unreleased::new).map_err(|error| {
        tracing::error!(%error, "the audit log cannot be read");
        vault::Error::Integrity("the audit log")
    })
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_entries(
        &self,
        request: Request<api::ListAuditEntriesRequest>,
    ) -> Result<Response<api::ListAuditEntriesResponse>, Status> {
        let bill = self.door.bill(Method::ListAuditEntries, &request, LINES_A_CALL).await?;
        let (call, mut asked) = self
            .door
            .understand(Method::ListAuditEntries, request, |message, _| asked(&message, self.door.page(message.page_size)?))
            .await?;
        let scope = std::mem::replace(&mut asked.scope, ScopeNamed(None));
        let (door, turns, folder) = (self.door.clone(), self.turns.clone(), self.folder.clone());
        let page =
            self.door.run(call, scope, move |_, _| async move { read(turn(turns, &door).await?, folder, asked, bill).await }).await?;
        Ok(Response::new(api::ListAuditEntriesResponse {
            entries: page.entries.into_iter().map(show::entry).collect(),
            next_page_token: page.next.map_or_else(String::new, |next| next.to_string()),
        }))
    }
}
