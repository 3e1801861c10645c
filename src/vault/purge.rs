//! The vault's own work: settling what a crash left in doubt, and ending recovery windows that have run out.

use std::sync::Arc;

use crate::gate::{Gate, Refusal, SecretAt};
use crate::model::{Action, NamespaceId};
use crate::storage::{Batch, Key, PageSize};

use super::record::{PurgeJob, State};
use super::{Error, Open, Vault, row};

/// Purges looked at in one round.
const AT_ONCE: usize = 256;

impl Vault {
    /// One round of the vault's own work; does nothing while sealed. To be called when the vault was opened, and from
    /// time to time.
    ///
    /// # Errors
    /// The first thing that went wrong; the next round begins again.
    pub async fn housekeep(&self, gate: &Gate) -> Result<(), Refusal<Error>> {
        let Ok(open) = self.open() else { return Ok(()) };
        open.catch_up().await.map_err(Refusal::Failed)?;
        open.settle(self.take_in_doubt(), gate).await;
        // A clock that jumped must not delete what people may still want back.
        if self.implausible_clock().is_some() {
            return Ok(());
        }
        for (key, job) in open.due().await.map_err(Refusal::Failed)? {
            // A seal ends this too, at once.
            if !self.is_open() {
                return Ok(());
            }
            match open.purge_one(&key, &job, gate).await {
                // One that is damaged must not keep the others alive.
                Err(Refusal::Failed(error @ Error::Integrity(_))) => tracing::error!(%error, "a destroyed secret cannot be purged"),
                purged => purged?,
            }
        }
        Ok(())
    }
}

impl Open {
    async fn purge_one(self: &Arc<Self>, key: &Key, job: &PurgeJob, gate: &Gate) -> Result<(), Refusal<Error>> {
        let at = secret_at(job).map_err(Refusal::Failed)?;
        if self.is_still_due(key, &at).await.map_err(Refusal::Failed)? {
            let open = self.clone();
            return gate.run_own("PurgeDue", Action::Destroy, at, |permit| async move { open.purge(permit, 0).await }).await.map(drop);
        }
        let deleted = self.rows.store.commit(Batch::new().delete(key.clone())).await;
        deleted.map(drop).map_err(|error| Refusal::Failed(error.into()))
    }

    async fn due(&self) -> Result<Vec<(Key, PurgeJob)>, Error> {
        let page = self.rows.store.scan(&row::purges_prefix(), None, PageSize::new(AT_ONCE).expect("256 is a page")).await?;
        let now = self.clock.now().unix_ms();
        let mut due = Vec::new();
        for (key, row) in page.rows {
            if row::purge_due_ms(&key)? > now {
                break;
            }
            match self.rows.open(&key, &row.value) {
                Ok(job) => due.push((key, job)),
                Err(error) => tracing::error!(%error, "a destroyed secret cannot be purged"),
            }
        }
        Ok(due)
    }

    /// Whether the secret is still destroyed, and by the destruction that set this date.
    async fn is_still_due(&self, key: &Key, at: &SecretAt) -> Result<bool, Error> {
        let place = self.place(at)?;
        let Some(found) = self.find(&place, at).await? else { return Ok(false) };
        Ok(found.meta.state() == State::Destroyed && found.meta.purge_ms == row::purge_due_ms(key)?)
    }
}

fn secret_at(job: &PurgeJob) -> Result<SecretAt, Error> {
    let damaged = || Error::Integrity("a purge's record");
    let namespace = NamespaceId::from_bytes(job.namespace_id.as_slice().try_into().map_err(|_| damaged())?);
    Ok(SecretAt { namespace, name: job.name.parse().map_err(|_| damaged())? })
}
