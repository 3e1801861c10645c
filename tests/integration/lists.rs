//! What lists and look-ups show, against an evaluator of its own: written from `docs/roles.md`, over strings, sharing no code
//! with the decision.

use std::collections::BTreeSet;

use strongroom::client::{Client, NewSecret, Page, StateChange};

use crate::stage::{Stage, bytes, named, shared};

const PATHS: [&str; 18] = [
    "a", "b", "c", "a/1", "a/2", "b/1", "b/2", "c/1", "a/b/1", "a/b/2", "a/c/1", "b/b/1", "c/b/1", "a/b/c/1", "a/b/c/2", "b/c/d/1", "aa/1",
    "a/bb/1",
];
const ACTIONS: [&str; 4] = ["describe", "reveal", "describe,reveal", "create,update,destroy"];
const PATTERNS: [&str; 12] = ["**", "a/**", "a/*", "*/1", "*", "a/*/1", "*/b/**", "a", "a/b/c/*", "*/*/*/**", "aa/**", "b/c/d/1"];
const PREFIXES: [&str; 6] = ["", "a", "a/b", "b", "c/b", "no/such"];

fn covers(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let (fixed, more) = if pattern.last() == Some(&"**") { (&pattern[..pattern.len() - 1], true) } else { (&pattern[..], false) };
    let long_enough = if more { path.len() > fixed.len() } else { path.len() == fixed.len() };
    long_enough && fixed.iter().zip(&path).all(|(want, is)| *want == "*" || want == is)
}

fn is_below(prefix: &str, path: &str) -> bool {
    prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// What may be seen below a prefix under these grants.
fn expected(grants: &[(&str, &str)], prefix: &str) -> BTreeSet<String> {
    let may = |path: &&str| {
        grants.iter().any(|(actions, pattern)| actions.split(',').any(|action| action == "describe") && covers(pattern, path))
    };
    PATHS.iter().copied().filter(|path| is_below(prefix, path)).filter(may).map(str::to_owned).collect()
}

/// Everything that a list shows below a prefix, page by page; nothing where it is refused.
async fn listed(client: &Client, namespace: &str, prefix: &str, size: u32) -> BTreeSet<String> {
    let whole = if prefix.is_empty() { namespace.to_owned() } else { format!("{namespace}/{prefix}") };
    let (mut names, mut next) = (Vec::new(), Some(String::new()));
    while let Some(token) = next {
        let Ok(page) = client.list_secrets(&whole, Page { size, token }).await else { return BTreeSet::new() };
        assert!(page.items.len() <= size as usize);
        names.extend(page.items.iter().map(|secret| secret.name.to_string()));
        next = page.next;
    }
    let distinct: BTreeSet<_> = names.iter().map(|name| name[namespace.len() + 1..].to_owned()).collect();
    assert_eq!(distinct.len(), names.len(), "nothing stands in two pages");
    distinct
}

async fn furnished(stage: &Stage) -> (String, Client) {
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &["describe,create,destroy:**"]).await;
    for path in PATHS {
        let subject = if path.len() % 2 == 0 { "even" } else { "odd" };
        let new = NewSecret::access_token(&named(format!("{namespace}/{path}")), bytes(path), "provider", subject);
        owner.create_secret(new).await.expect("stored");
    }
    (namespace, owner)
}

// immune: row-22
#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_what_its_caller_may_describe_and_nothing_else() {
    let stage = shared().await;
    let (namespace, _) = furnished(&stage).await;
    // Every pattern with every set of actions, two by two, so that no grant stands alone.
    for (number, pattern) in PATTERNS.into_iter().enumerate() {
        let grants: Vec<_> =
            (0..2).map(|other| (ACTIONS[(number + other) % ACTIONS.len()], PATTERNS[(number * 5 + other * 7) % PATTERNS.len()])).collect();
        let grants = [&grants[..], &[("describe", pattern)][..number % 2]].concat();
        let spelled: Vec<_> = grants.iter().map(|(actions, pattern)| format!("{actions}:{pattern}")).collect();
        let client = stage.holding(&namespace, &spelled.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for prefix in PREFIXES {
            for size in [1, 7] {
                let seen = listed(&client, &namespace, prefix, size).await;
                assert_eq!(seen, expected(&grants, prefix), "{spelled:?} below {prefix:?} by {size}");
            }
        }
        for subject in ["even", "odd"] {
            let found = client.find_secrets(&namespace.parse().expect("valid"), "provider", subject).await.unwrap_or_default();
            let found: BTreeSet<_> = found.iter().map(|secret| secret.name.path.to_string()).collect();
            let is_of = |path: &String| path.len().is_multiple_of(2) == (subject == "even");
            assert_eq!(found, expected(&grants, "").into_iter().filter(is_of).collect(), "{spelled:?} of {subject}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_in_no_list() {
    let stage = shared().await;
    let (namespace, owner) = furnished(&stage).await;
    let name = named(format!("{namespace}/a/1"));
    owner.destroy_secret(StateChange::of(&name)).await.expect("destroyed");
    assert!(listed(&owner, &namespace, "", 5).await.contains("a/1"), "a destroyed secret can still be restored");
    owner.purge_secret(StateChange::of(&name)).await.expect("purged");
    assert!(!listed(&owner, &namespace, "", 5).await.contains("a/1"));
    let found = owner.find_secrets(&namespace.parse().expect("valid"), "provider", "odd").await.expect("found");
    assert!(!found.iter().any(|secret| secret.name == name));
}
