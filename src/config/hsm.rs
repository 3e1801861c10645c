//! The HSMs that open slots.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Refused;
use super::raw::RawHsm;
use super::{Hsm, bounds};
use crate::hsm::Token;
use crate::model::Invalid;
use crate::seal::{TokenLabel, TokenLabels};

/// Most HSMs: as many as there are slots.
const HSMS: usize = 8;

/// All of them, each name and each key once.
pub(super) fn hsms(raw: Vec<RawHsm>, folder: &Path) -> Result<Vec<Hsm>, Refused> {
    if raw.len() > HSMS {
        return Err(Refused::new("hsm", format!("has {} entries but must have at most {HSMS}; leave some out", raw.len())));
    }
    let mut hsms: Vec<Hsm> = Vec::new();
    for (index, one) in raw.into_iter().enumerate() {
        let one = hsm(index, one, folder)?;
        if hsms.iter().any(|other| other.name == one.name) {
            return Err(Refused::new(format!("hsm[{index}].name"), "stands there twice; give each HSM a name of its own"));
        }
        if hsms.iter().any(|other| other.token.labels == one.token.labels) {
            return Err(Refused::new(format!("hsm[{index}].key"), "is another HSM's, with the same token; one entry for each key"));
        }
        hsms.push(one);
    }
    Ok(hsms)
}

fn hsm(index: usize, raw: RawHsm, folder: &Path) -> Result<Hsm, Refused> {
    let key = |name: &str| format!("hsm[{index}].{name}");
    let text = |name: &str, typed: Option<String>, what: &str| {
        typed.filter(|typed| !typed.is_empty()).ok_or_else(|| Refused::new(key(name), format!("is missing; {what}")))
    };
    let file = |name: &str, typed: Option<PathBuf>, what: &str| match typed {
        Some(path) if !path.as_os_str().is_empty() => Ok(folder.join(path)),
        _ => Err(Refused::new(key(name), format!("is missing; name {what}"))),
    };
    let label = |name: &'static str| move |why: Invalid| Refused::new(format!("hsm[{index}].{name}"), why.0);
    let name = text("name", raw.name, "give the HSM a name for `strongroom init --hsm` and for the logs, e.g. \"main\"")?;
    let name =
        name.parse().map_err(|_| Refused::new(key("name"), "must be 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter or digit"))?;
    let token = text("token", raw.token, "name the label of the token, e.g. \"strongroom\"")?;
    let key_label = text("key", raw.key, "name the label of the AES key in it, e.g. \"strongroom-root\"")?;
    let labels = TokenLabels {
        token: TokenLabel::parse(&token).map_err(label("token"))?,
        key: TokenLabel::parse(&key_label).map_err(label("key"))?,
    };
    let timeout = raw.timeout_s.or(bounds::HSM_TIMEOUT_S.default);
    let token = Token {
        module: file("module", raw.module, "the HSM's PKCS#11 library, e.g. \"/usr/lib/softhsm/libsofthsm2.so\"")?,
        labels,
        pin_file: file("pin_file", raw.pin_file, "the file with the PIN of the token's user")?,
        timeout: Duration::from_secs(bounds::HSM_TIMEOUT_S.apply_at(&key("timeout_s"), timeout)?),
    };
    Ok(Hsm { name, token, unseal_at_start: raw.unseal_at_start.unwrap_or(false) })
}
