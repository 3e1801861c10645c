//! The policy: patterns match no path that they should not, against a matcher of another make; and a change is applied or
//! refused: what is applied is there, raises nobody who made it, joins no duties, and leaves somebody who administers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom::access::{Binding, Change, Grant, Policy, Role, Scope, Target, decide};
use strongroom::model::{Action, ActionSet, BindingId, NamespaceId, PathPattern, SecretPath, SpiffeId, Timestamp};

const HERE: NamespaceId = NamespaceId::from_bytes([1; 16]);
const PEOPLE: [&str; 3] = ["spiffe://ops.example/ana", "spiffe://ops.example/ben", "spiffe://ops.example/cem"];
const ROLES: [&str; 8] = ["reader", "backend", "access-admin", "auditor", "key-admin", "custodian", "one", "two"];
const PATTERNS: [&str; 4] = ["**", "a/**", "*/b", "a/b"];
/// What nobody who administers access may do.
const TOUCHES: [Action; 5] = [Action::Reveal, Action::Use, Action::Create, Action::Update, Action::Approve];

/// Segment by segment: `*` is one, `**` at the end is one or more of what follows.
fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (Some((&"**", [])), path) => path.is_some(),
        (Some((&"*", pattern)), Some((_, path))) => matches(pattern, path),
        (Some((word, pattern)), Some((segment, path))) => word == segment && matches(pattern, path),
        (None, None) => true,
        _ => false,
    }
}

fn person(number: u8) -> SpiffeId {
    PEOPLE[usize::from(number) % PEOPLE.len()].parse().expect("valid")
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_unix_ms(number).expect("a small number")
}

/// It is 100 now.
fn binding(number: u8, role: &str, principal: SpiffeId, scope: Scope, start: u64, end: Option<u64>) -> Binding {
    Binding {
        id: BindingId::from_bytes([number; 16]),
        role: role.parse().expect("valid"),
        principal,
        scope,
        start: time(start),
        end: end.map(time),
        reason: None,
        created_by: person(0),
        created: time(0),
    }
}

/// A change out of a few bytes.
fn change([what, which, detail, times]: [u8; 4], bits: u16) -> Change {
    let name = ROLES[usize::from(which) % ROLES.len()];
    let role = || {
        let grant = Grant {
            actions: ActionSet::from_bits(bits % (1 << Action::ALL.len())).expect("bits of actions"),
            pattern: PATTERNS[usize::from(detail) % PATTERNS.len()].parse().expect("valid"),
        };
        let grants = vec![grant; usize::from(times % 67)];
        Role { name: name.parse().expect("valid"), description: None, grants, built_in: false, changed: None }
    };
    match what % 5 {
        0 => Change::CreateRole(role()),
        1 => Change::UpdateRole(role()),
        2 => Change::DeleteRole(name.parse().expect("valid")),
        3 => {
            let scope = if detail & 0x80 == 0 { Scope::Vault } else { Scope::Namespace(HERE) };
            let end = (times & 1 == 1).then_some(u64::from(times));
            Change::Bind(binding(bits.to_be_bytes()[1], name, person(detail), scope, u64::from(times & 0xf0), end))
        }
        _ => Change::Unbind(BindingId::from_bytes([bits.to_be_bytes()[1]; 16])),
    }
}

fn may(policy: &Policy, who: &SpiffeId, action: Action, now: Timestamp) -> [bool; 3] {
    let path: SecretPath = "a/b".parse().expect("valid");
    let targets = [Target::Path(HERE, &path), Target::Namespace(HERE), Target::Vault];
    targets.map(|target| decide(Some(policy), &[], who, ActionSet::of(&[action]), target, now).is_allow())
}

fn rights(policy: &Policy, who: &SpiffeId, now: Timestamp) -> Vec<bool> {
    Action::ALL.iter().flat_map(|action| may(policy, who, *action, now)).collect()
}

fn is_there(policy: &Policy, change: &Change) -> bool {
    match change {
        Change::CreateRole(role) | Change::UpdateRole(role) => policy.role(&role.name) == Some(role),
        Change::DeleteRole(name) => policy.role(name).is_none(),
        Change::Bind(binding) => policy.binding(binding.id) == Some(binding),
        Change::Unbind(id) => policy.binding(*id).is_none(),
    }
}

fn changes(all: &[([u8; 4], u16)]) {
    let first = [0, 1].map(|number| binding(number, "access-admin", person(number), Scope::Vault, 0, None));
    let mut policy = Policy::new([], first, []);
    for ([maker, rest @ ..], bits) in all.iter().map(|(bytes, bits)| ([bytes[3], bytes[0], bytes[1], bytes[2], bytes[3]], *bits)) {
        let (maker, change) = (person(maker), change(rest, bits));
        // Ids are random: a new binding never takes one that is in use.
        let is_fresh = !matches!(&change, Change::Bind(binding) if policy.binding(binding.id).is_some());
        if !is_fresh || policy.check(&maker, &change, time(100)).is_err() {
            continue;
        }
        let next = policy.with(&change);
        assert!(is_there(&next, &change), "{change:?}");
        for now in [time(100), time(300)] {
            let raised = rights(&next, &maker, now).into_iter().zip(rights(&policy, &maker, now)).any(|(after, before)| after && !before);
            assert!(!raised, "{maker} raised themselves by {change:?}");
        }
        for now in [time(100), time(300)] {
            let administers = |who: &SpiffeId| may(&next, who, Action::Administer, now).contains(&true);
            let people = [0, 1, 2].map(person);
            assert!(people.iter().any(administers), "nobody administers after {change:?}");
            for who in people.iter().filter(|who| administers(who)) {
                assert!(!TOUCHES.iter().any(|action| may(&next, who, *action, now).contains(&true)), "{who} does both after {change:?}");
            }
        }
        policy = next;
    }
}

fuzz_target!(|input: (&str, &str, Vec<([u8; 4], u16)>)| {
    let (pattern, path, all) = input;
    changes(&all);
    if let (Ok(read), Ok(path)) = (pattern.parse::<PathPattern>(), path.parse::<SecretPath>()) {
        let (words, segments): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.segments().collect());
        assert_eq!(read.matches(&path), matches(&words, &segments));
    }
});
