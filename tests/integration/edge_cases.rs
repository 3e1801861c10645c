//! The edges of all fields that are no text: counts, numbers, times and words of a closed list. `edges` tries them out.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use prost_types::{Duration, Timestamp};
use strongroom::api::{self, Method};
use tonic::Code;

use crate::edges::{Case, Expected};
use crate::requests::{Probe, RECIPIENTS, Subject, message};

const YEAR_S: i64 = 365 * 24 * 3600;

const fn at(seconds: i64, nanos: i32) -> Timestamp {
    Timestamp { seconds, nanos }
}

const fn lasting(seconds: i64, nanos: i32) -> Duration {
    Duration { seconds, nanos }
}

/// The last moment that there is: of the year 9999.
const LAST: Timestamp = at(253_402_300_799, 999_999_999);

/// No time at all.
fn no_times() -> Vec<Timestamp> {
    vec![at(-1, 0), at(i64::MIN, 0), at(1, -1), at(1, 1_000_000_000), at(253_402_300_800, 0), at(i64::MAX, 0)]
}

/// So many seconds from now.
fn ahead(seconds: i64) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    at(i64::try_from(now).expect("before the year 9999") + seconds, 0)
}

/// Times that lie ahead, and those that do not.
fn times_ahead() -> (Vec<Timestamp>, Vec<Timestamp>) {
    (vec![ahead(60), LAST], [no_times(), vec![at(0, 0), ahead(-1)]].concat())
}

fn labels<C: FromIterator<(String, String)>>((count, key, value): (usize, usize, usize)) -> C {
    (0..count).map(|number| (format!("{number:x>key$}"), "v".repeat(value))).collect()
}

fn scopes((count, bytes): (usize, usize)) -> Vec<String> {
    vec!["s".repeat(bytes); count]
}

/// 32 of the longest are more than the 8 KiB that there are for them.
const TOO_MUCH: (usize, usize, usize) = (32, 63, 255);

struct Cases<'a> {
    method: Method,
    subject: &'a Subject,
    all: Vec<Case>,
}

impl Cases<'_> {
    /// The proper request with these values in it, one after the other: the first are taken, the others are not.
    fn values<M, T>(&mut self, field: &'static str, (taken, refused): (Vec<T>, Vec<T>), set: impl Fn(&mut M, T))
    where
        M: Message + Default,
        T: Debug,
    {
        let taken = taken.into_iter().map(|value| (value, Expected::Taken(Code::Ok)));
        let refused = refused.into_iter().map(|value| (value, Expected::Blamed(field)));
        for (value, expected) in taken.chain(refused) {
            let proper = message(self.method, self.subject, &mut Probe::none());
            let mut request = M::decode(proper.as_slice()).expect("a request of that RPC");
            let what = format!("{value:?}").chars().take(80).collect();
            set(&mut request, value);
            self.all.push(Case { field, what, request: request.encode_to_vec(), expected });
        }
    }

    fn page_size<M: Message + Default>(&mut self, set: impl Fn(&mut M, u32)) {
        self.values("page_size", (vec![0, 1, 1_000], vec![1_001, u32::MAX]), set);
    }

    /// Numbers from 1; that there is no such version is not the field's fault.
    fn key_version<M: Message + Default>(&mut self, set: impl Fn(&mut M, u32)) {
        self.values("version", (vec![], vec![0]), set);
    }

    /// What a change of a value or of its metadata says of its end. `never_expires` is not set otherwise.
    fn expiry<M: Message + Default>(&mut self, set: impl Fn(&mut M, (Timestamp, bool))) {
        self.values("expire_time", times_ahead(), |request: &mut M, time| set(request, (time, false)));
        self.values("never_expires", (vec![], vec![true]), |request: &mut M, never| set(request, (ahead(60), never)));
    }

    /// A token's scopes, of which 64 of 255 bytes are more than there is room for.
    fn scopes<M: Message + Default>(&mut self, set: impl Fn(&mut M, Vec<String>)) {
        let counts = (vec![(0, 0), (64, 1)], vec![(65, 1), (64, 255)]);
        self.values("access_token.scopes", counts, |request: &mut M, count| set(request, scopes(count)));
    }

    fn grants<M: Message + Default>(&mut self, set: impl Fn(&mut M, Vec<api::Grant>)) {
        let grant = |actions: &[i32], pattern: &str| api::Grant { actions: actions.to_vec(), path_pattern: pattern.to_owned() };
        let describe = i32::from(api::Action::Describe);
        let all_but_administer = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12];
        self.values("grants", (vec![1, 64], vec![0, 65]), |request: &mut M, count| set(request, vec![grant(&[describe], "**"); count]));
        let actions = vec![vec![], vec![0], vec![13], vec![-1], vec![i32::MAX], vec![i32::MIN], vec![1, 1], vec![1, 0], vec![1, 13]];
        let taken = vec![vec![1], vec![12], all_but_administer.to_vec()];
        self.values("grants.actions", (taken, actions), |request: &mut M, actions| set(request, vec![grant(&actions, "**")]));
        let (longest, most) = (vec!["x".repeat(128); 8].join("/"), "*/".repeat(7) + "**");
        let beyond = vec![format!("{longest}x"), ["x"; 9].join("/"), "*/".repeat(8) + "**", String::new()];
        self.values("grants.path_pattern", (vec![longest, most], beyond), |request: &mut M, pattern| {
            set(request, vec![grant(&[describe], &pattern)]);
        });
        self.values("grants.path_pattern", (vec![], vec!["a/**"]), |request: &mut M, pattern| {
            set(request, vec![grant(&[api::Action::Audit.into()], pattern)]);
        });
    }
}

/// The cases of an RPC.
pub(crate) fn other_cases(method: Method, subject: &Subject) -> Vec<Case> {
    let mut cases = Cases { method, subject, all: Vec::new() };
    match method {
        Method::CreateSecret | Method::UpdateSecret | Method::UpdateSecretMetadata | Method::RevealBatch | Method::WatchSecrets => {
            of_secrets(&mut cases);
        }
        Method::CreateNamespace => of_namespaces(&mut cases),
        Method::CreateRole | Method::UpdateRole | Method::CreateBinding => of_access(&mut cases),
        Method::ListSecrets => cases.page_size(|request: &mut api::ListSecretsRequest, size| request.page_size = size),
        Method::ListSecretVersions => cases.page_size(|request: &mut api::ListSecretVersionsRequest, size| request.page_size = size),
        Method::ListNamespaces => cases.page_size(|request: &mut api::ListNamespacesRequest, size| request.page_size = size),
        Method::ListRoles => cases.page_size(|request: &mut api::ListRolesRequest, size| request.page_size = size),
        Method::ListBindings => cases.page_size(|request: &mut api::ListBindingsRequest, size| request.page_size = size),
        Method::DisableKey => cases.key_version(|request: &mut api::DisableKeyRequest, version| request.version = version),
        Method::EnableKey => cases.key_version(|request: &mut api::EnableKeyRequest, version| request.version = version),
        Method::RetireKey => cases.key_version(|request: &mut api::RetireKeyRequest, version| request.version = version),
        Method::CancelKeyRetirement => {
            cases.key_version(|request: &mut api::CancelKeyRetirementRequest, version| request.version = version);
        }
        Method::GetKeyStatement => cases.key_version(|request: &mut api::GetKeyStatementRequest, version| request.version = version),
        Method::CreateProposal => of_proposals(&mut cases),
        Method::ListProposals => cases.page_size(|request: &mut api::ListProposalsRequest, size| request.page_size = size),
        Method::ListKeys => cases.page_size(|request: &mut api::ListKeysRequest, size| request.page_size = size),
        Method::ListRewraps => cases.page_size(|request: &mut api::ListRewrapsRequest, size| request.page_size = size),
        Method::RotateKey | Method::StartRewrap | Method::ResumeRewrap => of_rewraps(&mut cases),
        Method::ListAuditEntries => {
            let times = || (vec![at(0, 0), LAST], no_times());
            cases.page_size(|request: &mut api::ListAuditEntriesRequest, size| request.page_size = size);
            cases.values("start_time", times(), |request: &mut api::ListAuditEntriesRequest, time| request.start_time = Some(time));
            cases.values("end_time", times(), |request: &mut api::ListAuditEntriesRequest, time| request.end_time = Some(time));
        }
        Method::ListBackups => cases.page_size(|request: &mut api::ListBackupsRequest, size| request.page_size = size),
        Method::CreateBackup => {
            let spans = (
                vec![lasting(1, 0), lasting(10 * YEAR_S, 0)],
                vec![lasting(0, 0), lasting(-1, 0), lasting(10 * YEAR_S + 1, 0), lasting(1, 1)],
            );
            cases.values("keep", spans, |request: &mut api::CreateBackupRequest, keep| request.keep = Some(keep));
        }
        // Texts, and numbers that may be any; `edges` knows whether a field was forgotten.
        _ => {}
    }
    cases.all
}

fn of_secrets(cases: &mut Cases<'_>) {
    match cases.method {
        Method::CreateSecret => {
            let counts = (vec![(0, 0, 0), (32, 63, 100)], vec![(33, 2, 1), TOO_MUCH]);
            cases.values("labels", counts, |request: &mut api::CreateSecretRequest, count| request.labels = labels(count));
            cases.scopes(|request: &mut api::CreateSecretRequest, scopes| {
                request.labels.clear();
                request.access_token.get_or_insert_default().scopes = scopes;
            });
            cases.values("expire_time", times_ahead(), |request: &mut api::CreateSecretRequest, time| request.expire_time = Some(time));
        }
        Method::UpdateSecret => {
            let unseen = (vec![], vec![0]);
            cases.values("expected_revision", unseen, |request: &mut api::UpdateSecretRequest, seen| request.expected_revision = seen);
            cases.scopes(|request: &mut api::UpdateSecretRequest, scopes| request.access_token.get_or_insert_default().scopes = scopes);
            cases.expiry(|request: &mut api::UpdateSecretRequest, (time, never)| {
                (request.expire_time, request.never_expires) = (Some(time), never);
            });
        }
        Method::UpdateSecretMetadata => {
            type Request = api::UpdateSecretMetadataRequest;
            cases.values("expected_revision", (vec![], vec![0]), |request: &mut Request, seen| request.expected_revision = seen);
            let counts = (vec![(0, 0, 0), (32, 63, 100)], vec![(33, 2, 1), TOO_MUCH]);
            cases.values("set_labels", counts, |request: &mut Request, count| request.set_labels = labels(count));
            let keys = |count: usize| (0..count).map(|number| number.to_string()).collect();
            cases.values("remove_labels", (vec![0, 32], vec![33]), |request: &mut Request, count| request.remove_labels = keys(count));
            cases.expiry(|request: &mut Request, (time, never)| (request.expire_time, request.never_expires) = (Some(time), never));
        }
        Method::RevealBatch => {
            type Request = api::RevealBatchRequest;
            let name = format!("{}/none", cases.subject.namespace);
            let items = |count: usize, modulus: u64| {
                let item = |number| api::RevealBatchItem { name: name.clone(), version: number % modulus };
                (0..count as u64).map(item).collect::<Vec<_>>()
            };
            cases.values("items", (vec![1, 256], vec![0, 257]), |request: &mut Request, count| request.items = items(count, 1_000));
            cases.values("items", (vec![], vec![2, 256]), |request: &mut Request, count| request.items = items(count, count as u64 - 1));
        }
        _ => {
            let times = (vec![lasting(0, 0), lasting(YEAR_S, 0)], no_durations(YEAR_S + 1));
            cases.values("expiring_within", times, |request: &mut api::WatchSecretsRequest, time| request.expiring_within = Some(time));
        }
    }
}

fn of_rewraps(cases: &mut Cases<'_>) {
    let rates = || (vec![0, 1, 1_000_000], vec![1_000_001, u32::MAX]);
    match cases.method {
        Method::RotateKey => {
            type Request = api::RotateKeyRequest;
            cases.values("rate_per_s", rates(), |request: &mut Request, rate| (request.rewrap, request.rate_per_s) = (true, rate));
            // Without the rewrap that they are for.
            cases.values("rate_per_s", (vec![0], vec![1]), |request: &mut Request, rate| request.rate_per_s = rate);
            cases.values("reencrypt", (vec![false], vec![true]), |request: &mut Request, anew| request.reencrypt = anew);
        }
        Method::StartRewrap => {
            cases.values("rate_per_s", rates(), |request: &mut api::StartRewrapRequest, rate| request.rate_per_s = rate);
        }
        _ => cases.values("rate_per_s", rates(), |request: &mut api::ResumeRewrapRequest, rate| request.rate_per_s = rate),
    }
}

/// No whole seconds, or so many and more.
fn no_durations(too_long: i64) -> Vec<Duration> {
    vec![lasting(too_long, 0), lasting(i64::MAX, 0), lasting(-1, 0), lasting(1, 1), lasting(1, -1), lasting(YEAR_S, 999_999_999)]
}

fn of_namespaces(cases: &mut Cases<'_>) {
    type Request = api::CreateNamespaceRequest;
    let numbers = (vec![1, 2], vec![0, 3, -1, i32::MIN, i32::MAX]);
    cases.values("environment", numbers, |request: &mut Request, number| request.environment = number);
    let bound =
        |set: fn(&mut api::NamespaceLimits, u32)| move |request: &mut Request, number| set(request.limits.get_or_insert_default(), number);
    let payloads = (vec![0, 1, 65_536], vec![65_537, u32::MAX]);
    cases.values("limits.payload_max_bytes", payloads, bound(|limits, bytes| limits.payload_max_bytes = bytes));
    cases.values("limits.versions_kept", (vec![0, 1, 1_000], vec![1_001, u32::MAX]), bound(|limits, kept| limits.versions_kept = kept));
    let windows = (vec![lasting(1, 0), lasting(YEAR_S, 0)], [no_durations(YEAR_S + 1), vec![lasting(0, 0)]].concat());
    cases.values("limits.recovery_window", windows, |request: &mut Request, window| {
        request.limits.get_or_insert_default().recovery_window = Some(window);
    });
    const DAY_S: i64 = 24 * 3600;
    let periods = (
        vec![lasting(DAY_S, 0), lasting(10 * YEAR_S, 0)],
        [no_durations(10 * YEAR_S + 1), vec![lasting(0, 0), lasting(DAY_S - 1, 0), lasting(DAY_S, 1)]].concat(),
    );
    cases.values("limits.cryptoperiod", periods, |request: &mut Request, period| {
        request.limits.get_or_insert_default().cryptoperiod = Some(period);
    });
}

fn of_proposals(cases: &mut Cases<'_>) {
    type Request = api::CreateProposalRequest;
    let week_s = 7 * 24 * 3_600;
    let times = (vec![ahead(60), ahead(week_s - 60)], [no_times(), vec![at(0, 0), ahead(-1), ahead(week_s + 60), LAST]].concat());
    cases.values("expire_time", times, |request: &mut Request, time| request.expire_time = Some(time));

    let quorum = |request: &mut Request, (threshold, shares): (u32, u32)| {
        let new = api::NewQuorumSlot { threshold, shares, recipients: Vec::new() };
        request.change = Some(api::ProposedChange { add_quorum_slot: Some(new), ..Default::default() });
    };
    let sizes =
        (vec![(2, 2), (2, 16), (16, 16)], vec![(0, 0), (1, 1), (1, 3), (3, 2), (2, 17), (17, 17), (258, 258), (u32::MAX, u32::MAX)]);
    cases.values("change.add_quorum_slot.threshold", sizes, quorum);
    cases.values("change.add_quorum_slot.threshold", (vec![(2, 3)], vec![(2, 1)]), quorum);
    cases.all.last_mut().expect("just made").field = "change.add_quorum_slot.shares";

    let to = |request: &mut Request, recipients: Vec<&str>| {
        let new = api::NewQuorumSlot { threshold: 2, shares: 2, recipients: recipients.into_iter().map(str::to_owned).collect() };
        request.change = Some(api::ProposedChange { add_quorum_slot: Some(new), ..Default::default() });
    };
    let [one, two] = RECIPIENTS;
    let refused = vec![vec![one], vec![one, one], vec![one, two, one], vec![one, ""], vec![one, "age1"], vec![one; 17]];
    cases.values("change.add_quorum_slot.recipients", (vec![vec![], vec![one, two]], refused), to);

    let names = (vec![format!("an-hsm-{}", "x".repeat(56))], vec![String::new(), "a".repeat(64), "-a".to_owned(), "A".to_owned()]);
    cases.values("change.add_token_slot.hsm", names, |request: &mut Request, hsm| {
        request.change = Some(api::ProposedChange { add_token_slot: Some(api::NewTokenSlot { hsm }), ..Default::default() });
    });

    let no_recipients = || vec![String::new(), "age1".to_owned(), one.to_uppercase(), format!("{one} ")];
    let enrol = |request: &mut Request, (name, recipient): (String, String)| {
        let new = api::RecipientEnrolment { name, recipient };
        request.change = Some(api::ProposedChange { enrol_recipient: Some(new), ..Default::default() });
    };
    let names = (vec!["x".repeat(63)], vec![String::new(), "x".repeat(64)]);
    let named = |names: Vec<String>| names.into_iter().map(|name| (name, one.to_owned())).collect::<Vec<_>>();
    cases.values("change.enrol_recipient.name", (named(names.0), named(names.1)), enrol);
    let to = |recipients: Vec<String>| recipients.into_iter().map(|recipient| ("cleo".to_owned(), recipient)).collect::<Vec<_>>();
    cases.values("change.enrol_recipient.recipient", (to(vec![two.to_owned()]), to(no_recipients())), enrol);
    cases.values("change.remove_recipient.recipient", (vec![one.to_owned()], no_recipients()), |request: &mut Request, recipient| {
        request.change = Some(api::ProposedChange { remove_recipient: Some(api::RecipientRemoval { recipient }), ..Default::default() });
    });

    let id = "0".repeat(32);
    let no_ids = || vec![String::new(), "0".repeat(31), "0".repeat(33), "g".repeat(32)];
    cases.values("change.remove_slot.slot_id", (vec![id.clone()], no_ids()), |request: &mut Request, slot_id| {
        request.change = Some(api::ProposedChange { remove_slot: Some(api::SlotRemoval { slot_id }), ..Default::default() });
    });
    let lists = vec![vec![id.clone(), id.clone()], vec!["g".repeat(32)], vec![String::new()]];
    cases.values("change.replace_root_key.dropped_slot_ids", (vec![vec![], vec![id]], lists), |request: &mut Request, dropped_slot_ids| {
        let new = api::RootKeyReplacement { dropped_slot_ids };
        request.change = Some(api::ProposedChange { replace_root_key: Some(new), ..Default::default() });
    });
    cases.values("change", (vec![], vec![false, true]), |request: &mut Request, both| {
        let add_passphrase_slot = both.then_some(api::NewPassphraseSlot {});
        let remove_slot = both.then(|| api::SlotRemoval { slot_id: "0".repeat(32) });
        request.change = Some(api::ProposedChange { add_passphrase_slot, remove_slot, ..Default::default() });
    });
}

fn of_access(cases: &mut Cases<'_>) {
    match cases.method {
        Method::CreateRole => cases.grants(|request: &mut api::CreateRoleRequest, grants| request.grants = grants),
        Method::UpdateRole => {
            type Request = api::UpdateRoleRequest;
            cases.grants(|request: &mut Request, grants| request.grants = grants);
            cases.values("expected_revision", (vec![], vec![0]), |request: &mut Request, seen| request.expected_revision = seen);
        }
        _ => {
            type Request = api::CreateBindingRequest;
            let starts = (vec![at(0, 0), ahead(60), LAST], no_times());
            cases.values("start_time", starts, |request: &mut Request, time| request.start_time = Some(time));
            cases.values("end_time", times_ahead(), |request: &mut Request, time| request.end_time = Some(time));
            // By the millisecond: before the start, at it, and after it.
            let start = ahead(3_600).seconds;
            let ends = (vec![6_000_000], vec![4_999_999, 5_000_000, 5_999_999]);
            cases.values("end_time", ends, |request: &mut Request, nanos| {
                (request.start_time, request.end_time) = (Some(at(start, 5_000_000)), Some(at(start, nanos)));
            });
            // On the vault itself, support would be allowed nothing.
            cases.values("namespace", (vec![], vec![""]), |request: &mut Request, none| request.namespace = none.to_owned());
        }
    }
}
