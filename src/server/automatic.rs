//! A vault that opens by itself after a start, with the HSM of a slot.
//!
//! It is tried again while the HSM is away, until the vault is open, was sealed by somebody, or the HSM has refused the PIN: a token
//! locks itself after a few wrong ones. What went wrong is told once, not at each try.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::parts::Parts;
use crate::audit::{AuditLog, Draft, Event};
use crate::config::{Config, Hsm};
use crate::gate::{Gate, Refusal, WholeVault};
use crate::model::{Action, HsmName};
use crate::seal::{SealError, TokenError};
use crate::vault::{Error, Vault};

/// The pause after the first try; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The method in the audit log.
const WORK: &str = "automatic_unseal";

/// Opens the vault if it can, and as soon as it can.
pub(super) fn unseal(config: &Config, parts: &Parts) -> impl Future<Output = ()> + Send + 'static {
    let hsms = config.hsms.iter().filter(|hsm| hsm.unseal_at_start).cloned().collect();
    let opener = Opener { vault: parts.vault.clone(), gate: parts.gate.clone(), audit: parts.audit.clone(), told: BTreeMap::new() };
    let mut openings = parts.vault.openings();
    async move {
        tokio::select! {
            _ = openings.wait_for(|open| *open) => {}
            () = opener.run(hsms) => {}
        }
    }
}

struct Opener {
    vault: Arc<Vault>,
    gate: Arc<Gate>,
    audit: Arc<AuditLog>,
    /// What was last told of an HSM.
    told: BTreeMap<HsmName, String>,
}

impl Opener {
    async fn run(mut self, mut hsms: Vec<Hsm>) {
        let mut pause = FIRST_PAUSE;
        while !hsms.is_empty() {
            let mut away = Vec::new();
            for hsm in hsms {
                if self.vault.was_sealed() || self.try_one(&hsm).await {
                    return;
                }
                if self.told.contains_key(&hsm.name) {
                    away.push(hsm);
                }
            }
            hsms = away;
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// Whether there is nothing left to do. Forgets what was told of an HSM that is not to be asked again.
    async fn try_one(&mut self, hsm: &Hsm) -> bool {
        let error = match self.open(hsm).await {
            Ok(true) => return true,
            Ok(false) => {
                tracing::warn!(hsm = %hsm.name, "no slot of the vault is this HSM's: `unseal_at_start` does nothing for it");
                self.told.remove(&hsm.name);
                return false;
            }
            Err(error) => error,
        };
        let (why, is_final) = (error.to_string(), matches!(error, Error::Seal(SealError::Token(token)) if token.is_final()));
        if self.told.get(&hsm.name) != Some(&why) {
            let next = if is_final { "it is not asked again before the next start" } else { "it is asked again" };
            tracing::warn!(hsm = %hsm.name, why, "the vault stays sealed: its HSM does not open it; {next}; `strongroom unseal` works");
            self.vault.note_waiting(format!("HSM {}: {why}; {next}", hsm.name));
            self.note(hsm, &error).await;
        }
        if is_final {
            self.told.remove(&hsm.name);
        } else {
            self.told.insert(hsm.name.clone(), why);
        }
        false
    }

    /// Opens the vault; says whether there was a slot for it.
    async fn open(&self, hsm: &Hsm) -> Result<bool, Error> {
        let Some(slot) = self.vault.open_slot_with(&hsm.token).await? else { return Ok(false) };
        let (vault, gate, name) = (self.vault.clone(), self.gate.clone(), hsm.name.clone());
        // On a task of its own: a person may open the vault meanwhile, which ends this one, and an intent must have its outcome.
        let opened = tokio::spawn(async move {
            let work = |permit| async {
                let opened = vault.unseal_with(permit, slot).await?;
                tracing::info!(hsm = %name, "the vault has opened itself with its HSM");
                Ok(opened.with("hsm", &name))
            };
            gate.run_own(WORK, Action::Operate, WholeVault::VAULT, work).await
        });
        match opened.await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(Refusal::Failed(error))) => Err(error),
            Ok(Err(_)) => Err(Error::State("the audit log cannot be written, and nothing is opened without it")),
            Err(_) => Err(Error::State("opening it was interrupted")),
        }
    }

    async fn note(&self, hsm: &Hsm, error: &Error) {
        let why = match error {
            Error::Seal(SealError::Token(error)) => TokenError::word(*error),
            other => crate::gate::Failure::word(other),
        };
        let mut draft = Draft::new(Event::System, WORK).with("hsm", &hsm.name).with("why", why);
        draft.outcome = Some("failed");
        // What cannot be written stands in the operational log at least.
        let _ = self.audit.append(draft).await;
    }
}
