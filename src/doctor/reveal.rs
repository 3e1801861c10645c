//! Who can reveal: whose binding, live or still to begin, holds a role that reveals, and whether that is wider than it need be.

use std::collections::BTreeSet;

use super::finding::{Check, Finding, Unseen};
use super::server::{Access, Answers};
use crate::client::{BindingInfo, RoleInfo};
use crate::config::Trust;
use crate::model::{Action, Class, SpiffeId, Timestamp};

/// How many are named.
const NAMED: usize = 20;

/// A binding that reveals.
struct Holder<'a> {
    binding: &'a BindingInfo,
    role: &'a RoleInfo,
    class: Option<Class>,
}

pub(super) fn check(answers: &Answers, trust: &[Trust], now: Timestamp) -> Vec<Finding> {
    match &answers.access {
        Ok(access) => judge(access, trust, now),
        Err(Unseen { why, advice }) => {
            vec![Check::Reveal.unknown(&Unseen::new(format!("who can reveal cannot be seen: {why}"), advice.clone()))]
        }
    }
}

fn judge(access: &Access, trust: &[Trust], now: Timestamp) -> Vec<Finding> {
    let class = |id: &SpiffeId| trust.iter().find(|trust| trust.domain == id.trust_domain()).map(|trust| trust.class);
    let (mut holders, mut found) = (Vec::new(), Vec::new());
    for binding in access.bindings.iter().filter(|binding| binding.end_time.is_none_or(|end| end > now)) {
        match access.roles.iter().find(|role| role.name == binding.role) {
            Some(role) if reveals(role) => holders.push(Holder { binding, role, class: class(&binding.principal) }),
            Some(_) => {}
            None => found.push(Check::Reveal.unknown(&Unseen::new(
                format!("a binding of {} refers to the role {}, which is not listed", binding.principal, binding.role),
                "run doctor again",
            ))),
        }
    }
    // People first: they are few, and each of them should have a reason.
    holders.sort_by_key(|holder| (holder.class != Some(Class::Operator), holder.binding.principal.clone()));
    found.insert(0, summary(&holders));
    found.extend(holders.iter().filter_map(too_wide));
    found
}

fn reveals(role: &RoleInfo) -> bool {
    role.grants.iter().any(|grant| grant.actions.contains(Action::Reveal))
}

fn summary(holders: &[Holder<'_>]) -> Finding {
    let of = |class| {
        holders.iter().filter(|holder| holder.class == class).map(|holder| &holder.binding.principal).collect::<BTreeSet<_>>().len()
    };
    let (operators, workloads, strangers) = (of(Some(Class::Operator)), of(Some(Class::Workload)), of(None));
    let mut told: Vec<_> = holders.iter().take(NAMED).map(Holder::shown).collect();
    if holders.len() > NAMED {
        told.push(format!("{} more (`strongroom binding list`)", holders.len() - NAMED));
    }
    let strangers = if strangers > 0 { format!(" and {strangers} of domains that are not trusted") } else { String::new() };
    let list = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
    Check::Reveal.pass(format!("{operators} operators and {workloads} workloads{strangers} can reveal{list}"))
}

/// On the vault a role that reveals reaches no secret, but somebody meant it to; and people reveal for an hour, not for good.
fn too_wide(holder: &Holder<'_>) -> Option<Finding> {
    let BindingInfo { principal, binding_id, namespace_id, end_time, .. } = holder.binding;
    let delete = format!("give it in one namespace, with an end, and `strongroom binding delete {binding_id}`");
    if namespace_id.is_empty() {
        let found = format!("{principal} holds {}, which reveals, on the vault as a whole", holder.role.name);
        return Some(Check::Reveal.warn(found, delete));
    }
    let everything = holder.patterns().any(|pattern| pattern == "**");
    let standing = holder.class == Some(Class::Operator) && everything && end_time.is_none();
    standing.then(|| Check::Reveal.warn(format!("{principal}, a person, can reveal everything in {}, without end", holder.place()), delete))
}

impl Holder<'_> {
    fn patterns(&self) -> impl Iterator<Item = String> {
        let grants = self.role.grants.iter().filter(|grant| grant.actions.contains(Action::Reveal));
        grants.map(|grant| grant.path_pattern.to_string())
    }

    fn place(&self) -> &str {
        if self.binding.namespace_id.is_empty() { "the vault" } else { &self.binding.namespace }
    }

    fn shown(&self) -> String {
        let patterns: Vec<_> = self.patterns().collect();
        let end = self.binding.end_time.map_or_else(String::new, |end| format!(" until {end}"));
        format!("{} in {} ({}){end}", self.binding.principal, self.place(), patterns.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Grant;
    use crate::config::Revocation;
    use crate::doctor::Verdict;
    use crate::model::BindingId;

    const NOW: u64 = 1_000_000;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_unix_ms(milliseconds).expect("valid")
    }

    fn role(name: &str, grant: &str) -> RoleInfo {
        RoleInfo {
            name: name.parse().expect("valid"),
            description: String::new(),
            grants: vec![grant.parse::<Grant>().expect("valid")],
            built_in: false,
            revision: 0,
            update_time: None,
            updated_by: String::new(),
        }
    }

    fn binding(role: &str, principal: &str, namespace: &str, end: Option<u64>) -> BindingInfo {
        BindingInfo {
            binding_id: BindingId::from_bytes([1; 16]),
            role: role.parse().expect("valid"),
            principal: principal.parse().expect("valid"),
            namespace: namespace.to_owned(),
            namespace_id: namespace.to_owned(),
            start_time: None,
            end_time: end.map(at),
            reason: String::new(),
            suspended: String::new(),
            created_by: String::new(),
            create_time: at(1),
            revision: 1,
        }
    }

    fn judged(bindings: Vec<BindingInfo>) -> Vec<Finding> {
        let trust =
            |domain: &str, class| Trust { domain: domain.parse().expect("valid"), class, roots: Vec::new(), revocation: Revocation::None };
        let trust = [trust("apps.test", Class::Workload), trust("people.test", Class::Operator)];
        let roles = vec![role("reader", "reveal:**"), role("narrow", "reveal:merchants/*"), role("support", "describe:**")];
        judge(&Access { roles, bindings }, &trust, at(NOW))
    }

    fn worst(binding: BindingInfo) -> Verdict {
        judged(vec![binding]).iter().map(|finding| finding.verdict).max().expect("a finding")
    }

    #[test]
    fn people_with_everything_for_good_and_the_vault_as_a_whole_warn() {
        let (ann, app) = ("spiffe://people.test/ann", "spiffe://apps.test/app");
        assert_eq!(worst(binding("reader", app, "shop", None)), Verdict::Pass);
        assert_eq!(worst(binding("reader", ann, "shop", None)), Verdict::Warn);
        assert_eq!(worst(binding("reader", ann, "shop", Some(NOW + 1))), Verdict::Pass);
        assert_eq!(worst(binding("narrow", ann, "shop", None)), Verdict::Pass);
        assert_eq!(worst(binding("reader", app, "", Some(NOW + 1))), Verdict::Warn);
        assert_eq!(worst(binding("support", ann, "", None)), Verdict::Pass);
        assert_eq!(worst(binding("gone", ann, "shop", None)), Verdict::Unknown);
    }

    #[test]
    fn people_are_named_first_and_ended_bindings_not_at_all() {
        let found = judged(vec![
            binding("reader", "spiffe://apps.test/app", "shop", None),
            binding("narrow", "spiffe://people.test/zoe", "shop", Some(NOW + 1)),
            binding("reader", "spiffe://people.test/old", "shop", Some(NOW)),
        ]);
        let told = &found[0].found;
        assert!(
            told.starts_with("1 operators and 1 workloads can reveal: spiffe://people.test/zoe in shop (merchants/*) until "),
            "{told}"
        );
        assert!(told.contains("spiffe://apps.test/app in shop (**)") && !told.contains("old"), "{told}");
        assert_eq!(judged(Vec::new())[0].found, "0 operators and 0 workloads can reveal");
    }
}
