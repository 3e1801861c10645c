//! Labels that the alert rules and the dashboard ask for, show or group by: the metric has them, with values that it can have.
//! Names of metrics, reasons and codes are looked at in `operations`.

use std::collections::{BTreeMap, BTreeSet};

use strongroom::api::Method;

use crate::operations::{ALERTS, DASHBOARD, all_metrics};

/// Labels that Prometheus itself puts to whatever it scrapes.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];

/// An expression, and the labels that its legend or its message shows.
struct Asked {
    expression: String,
    named: Vec<String>,
}

/// The values of each label of each line.
type Shown = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What stands between these words, each time.
fn between<'a>(text: &'a str, begin: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).map(move |rest| rest.split(end).next().unwrap_or_default().trim())
}

fn alerts() -> Vec<Asked> {
    let rule = |rule: &str| {
        let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr: '")?.strip_suffix('\''));
        let named = between(rule, "$labels.", ' ').map(str::to_owned).collect();
        Asked { expression: expression.unwrap_or_else(|| panic!("no expression: {rule}")).to_owned(), named }
    };
    ALERTS.split("- alert: ").skip(1).map(rule).collect()
}

fn panels() -> Vec<Asked> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let targets = dashboard["panels"].as_array().expect("panels").iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let target = |target: &serde_json::Value| {
        let legend = target["legendFormat"].as_str().unwrap_or_default();
        let expression = target["expr"].as_str().expect("an expression").to_owned();
        Asked { expression, named: between(legend, "{{", '}').map(str::to_owned).collect() }
    };
    targets.map(target).collect()
}

/// `label="value"` with a comma between them; in an expression also with other operators than `=`.
fn pairs(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((before, rest)) = text.split_once('"') {
        let (value, rest) = rest.split_once('"').unwrap_or_else(|| panic!("no end of a value: {text}"));
        found.push((before.trim_matches([' ', ',', '=', '~', '!']).to_owned(), value.to_owned()));
        text = rest;
    }
    found
}

/// Each of our metrics in an expression, with what it asks of its labels.
fn selectors(expression: &str) -> Vec<(&str, Vec<(String, String)>)> {
    let (mut found, mut rest) = (Vec::new(), expression);
    while let Some(at) = ["strongroom_", "process_"].iter().filter_map(|begin| rest.find(begin)).min() {
        rest = &rest[at..];
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let braces = after.strip_prefix('{').and_then(|inside| inside.split_once('}')).map_or("", |(inside, _)| inside);
        found.push((name, pairs(braces)));
        rest = after;
    }
    found
}

fn shown(metrics: &str) -> Shown {
    let mut shown = Shown::new();
    for line in metrics.lines() {
        let [(name, labels)] = &selectors(line)[..] else { continue };
        // Other lines are about metrics, or none of theirs.
        if line.starts_with(name) {
            let known = shown.entry((*name).to_owned()).or_default();
            labels.iter().for_each(|(label, value)| _ = known.entry(label.clone()).or_default().insert(value.clone()));
        }
    }
    shown
}

/// Whether a label can have that value, also if it was not seen.
fn can_be(label: &str, value: &str, seen: &BTreeSet<String>) -> bool {
    match label {
        "method" => value == "other" || Method::ALL.iter().any(|method| method.name() == value),
        // `operations` looks for those where they are given.
        "reason" | "code" => true,
        _ => seen.contains(value),
    }
}

/// What of it nobody would ever see.
fn wrong(asked: &Asked, shown: &Shown) -> Vec<String> {
    let mut wrong = Vec::new();
    let of_expression = selectors(&asked.expression);
    let groups: Vec<_> = between(&asked.expression, "by (", ')').flat_map(|labels| labels.split(',').map(str::trim)).collect();
    for (name, matchers) in &of_expression {
        let Some(labels) = shown.get(*name) else {
            wrong.push(format!("no line is called {name}"));
            continue;
        };
        for (label, values) in matchers.iter().filter(|(label, _)| !OF_PROMETHEUS.contains(&label.as_str())) {
            let can_be = |value| labels.get(label).is_some_and(|seen| can_be(label, value, seen));
            wrong.extend(values.split('|').filter(|value| !can_be(value)).map(|value| format!("{name} has no {label}={value:?}")));
        }
        let missing = groups.iter().filter(|label| !labels.contains_key(**label));
        wrong.extend(missing.map(|label| format!("{name} has no {label} to group by")));
    }
    for label in &asked.named {
        // Of what was grouped, no other label is left.
        let of_groups = groups.contains(&label.as_str());
        let of_metrics = of_expression.iter().all(|(name, _)| shown.get(*name).is_some_and(|labels| labels.contains_key(label)));
        if !of_groups && (!groups.is_empty() || !of_metrics) && !OF_PROMETHEUS.contains(&label.as_str()) {
            wrong.push(format!("{label} is no label of {}", asked.expression));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_ask_for_labels_that_exist() {
    let shown = shown(&all_metrics().await);
    let asked: Vec<_> = alerts().into_iter().chain(panels()).collect();
    let labels: usize =
        asked.iter().map(|one| one.named.len() + selectors(&one.expression).iter().map(|of| of.1.len()).sum::<usize>()).sum();
    assert!(asked.len() > 40 && labels > 15, "{} expressions, {labels} labels", asked.len());
    let wrong: Vec<_> = asked.iter().flat_map(|one| wrong(one, &shown)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_label_that_is_not_there_is_found() {
    let shown = shown(
        "# HELP strongroom_ends End\nstrongroom_ends{issuer=\"a\",kind=\"b\"} 1\nstrongroom_calls_total{method=\"Seal\",code=\"OK\"} 2\n",
    );
    let found = |expression: &str, named: &[&str]| {
        let named = named.iter().map(|label| (*label).to_owned()).collect();
        !wrong(&Asked { expression: expression.to_owned(), named }, &shown).is_empty()
    };
    for (expression, named) in [
        ("strongroom_ends - time()", ["issuer"]),
        ("sum by (method, code) (rate(strongroom_calls_total{method=~\"Seal|Unseal|other\",code!=\"OK\"}[5m]))", ["method"]),
        ("strongroom_ends{kind=\"b\",job=\"strongroom\"} / strongroom_ends", ["job"]),
    ] {
        assert!(!found(expression, &named), "{expression}");
    }
    for (expression, named) in [
        ("strongroom_ends - time()", &["domain"][..]),
        ("strongroom_end", &[]),
        ("strongroom_ends{kind=\"c\"}", &[]),
        ("strongroom_ends{issuer=\"a\",sort=\"b\"}", &[]),
        ("strongroom_calls_total{method=~\"Seal|Reveal\"}", &[]),
        ("sum by (rpc) (strongroom_calls_total)", &[]),
        ("sum by (method) (strongroom_calls_total)", &["code"]),
    ] {
        assert!(found(expression, named), "{expression} {named:?}");
    }
}
