//! Whom the server believes: trust domains with their roots, how revocation is known, and the custodians.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{Class, SpiffeId, TrustDomain};

use super::error::Refused;
use super::raw::RawTrust;
use super::{Revocation, Trust, bounds, place};

/// Most entries of a list of domains, files or custodians.
pub(super) const LIST_MAX: usize = 64;

const ONE_OF_THREE: &str = "must say in exactly one way how a certificate that was taken back is known: crls = [files], \
     max_leaf_lifetime_h = 1 to 24 (only short-lived certificates), or revocation = \"none\" (a stolen certificate works until its end)";

/// The domains, each once, no root in two of them.
pub(super) fn domains(raw: Vec<RawTrust>, folder: &Path) -> Result<Vec<Trust>, Refused> {
    if raw.is_empty() {
        return Err(Refused::new("tls.trust", "is missing; add a [[tls.trust]] for each trust domain whose clients may connect"));
    }
    at_most("tls.trust", raw.len())?;
    let trust = raw.into_iter().enumerate().map(|(index, one)| domain(index, one, folder)).collect::<Result<Vec<_>, _>>()?;
    let (mut names, mut roots) = (BTreeSet::new(), BTreeSet::new());
    for (index, one) in trust.iter().enumerate() {
        if !names.insert(&one.domain) {
            return Err(Refused::new(format!("tls.trust[{index}].domain"), "stands there twice; put all roots of a domain into one entry"));
        }
        // One root in two domains could vouch for members of either: a backend's CA could make operators.
        if !one.roots.iter().all(|root| roots.insert(place::resolve(folder, root))) {
            return Err(Refused::new(format!("tls.trust[{index}].roots"), "names a file twice; a root belongs to one domain only"));
        }
    }
    Ok(trust)
}

/// The custodians, each once, each an operator.
pub(super) fn custodians(raw: Option<Vec<String>>, trust: &[Trust]) -> Result<Vec<SpiffeId>, Refused> {
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        return Err(Refused::new("custodians", "is missing; name the SPIFFE ID of at least one operator who may unseal"));
    }
    at_most("custodians", raw.len())?;
    let mut custodians = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let refused = |problem: &str| Refused::new(format!("custodians[{index}]"), problem);
        let id: SpiffeId = text.parse().map_err(|why: crate::model::Invalid| refused(why.0))?;
        let operators = trust.iter().any(|one| one.domain == id.trust_domain() && one.class == Class::Operator);
        if !operators {
            return Err(refused("is in no domain of class \"operator\" under [[tls.trust]]; only people unseal"));
        }
        if custodians.contains(&id) {
            return Err(refused("stands there twice; name each custodian once"));
        }
        custodians.push(id);
    }
    Ok(custodians)
}

fn domain(index: usize, raw: RawTrust, folder: &Path) -> Result<Trust, Refused> {
    let key = |name: &str| format!("tls.trust[{index}].{name}");
    let missing = |name: &str, what: &str| Refused::new(key(name), format!("is missing; {what}"));
    let domain = raw.domain.as_ref().ok_or_else(|| missing("domain", "name the trust domain of the SPIFFE IDs, e.g. \"shop.example\""))?;
    let domain: TrustDomain = domain.parse().map_err(|why: crate::model::Invalid| Refused::new(key("domain"), why.0))?;
    let class = match raw.class.as_deref() {
        Some("workload") => Class::Workload,
        Some("operator") => Class::Operator,
        Some(_) => return Err(Refused::new(key("class"), "must be \"workload\" (backends) or \"operator\" (people)")),
        None => return Err(missing("class", "say \"workload\" (backends) or \"operator\" (people)")),
    };
    let revocation = revocation(index, &raw, folder)?;
    let roots = raw.roots.ok_or_else(|| missing("roots", "name at least one PEM file of root certificates"))?;
    Ok(Trust { domain, class, roots: files(&key("roots"), &roots, folder)?, revocation })
}

fn revocation(index: usize, raw: &RawTrust, folder: &Path) -> Result<Revocation, Refused> {
    let key = |name: &str| format!("tls.trust[{index}].{name}");
    match (&raw.crls, raw.max_leaf_lifetime_h, raw.revocation.as_deref()) {
        (Some(crls), None, None) => Ok(Revocation::Lists(files(&key("crls"), crls, folder)?)),
        (None, Some(hours), None) => {
            let hours: u64 = bounds::MAX_LEAF_LIFETIME_H.apply_at(&key("max_leaf_lifetime_h"), Some(hours))?;
            Ok(Revocation::ShortLived { max_leaf_lifetime: Duration::from_secs(hours * 3_600) })
        }
        (None, None, Some("none")) => Ok(Revocation::None),
        (None, None, Some(_)) => Err(Refused::new(key("revocation"), "can only be \"none\"; for lists name them in crls")),
        _ => Err(Refused::new(format!("tls.trust[{index}]"), ONE_OF_THREE)),
    }
}

/// As they are typed: where links in them lead may change while the server serves.
fn files(key: &str, paths: &[PathBuf], folder: &Path) -> Result<Vec<PathBuf>, Refused> {
    if paths.is_empty() || paths.iter().any(|path| path.as_os_str().is_empty()) {
        return Err(Refused::new(key, "is empty; name at least one file"));
    }
    at_most(key, paths.len())?;
    Ok(paths.iter().map(|path| folder.join(path)).collect())
}

fn at_most(key: &str, length: usize) -> Result<(), Refused> {
    if length > LIST_MAX {
        return Err(Refused::new(key, format!("has {length} entries but must have from 1 to {LIST_MAX}; leave some out")));
    }
    Ok(())
}
