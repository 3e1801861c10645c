//! The vault's own work: settling what a crash left in doubt, and ending recovery windows that have run out.

use std::sync::Arc;
use std::time::Instant;

use crate::gate::{Gate, Refusal, SecretAt};
use crate::model::{Action, NamespaceId};
use crate::storage::{Batch, Key, PageSize};

use super::record::{PurgeJob, State};
use super::{Error, Open, Vault, row};

/// Purges looked at in one round.
const AT_ONCE: usize = 256;

impl Vault {
    /// One round of the vault's own work; while sealed, shares that waited too long are forgotten, and no more. To be called when the
    /// vault was opened, and from time to time.
    ///
    /// # Errors
    /// The first thing that went wrong; the next round begins again.
    pub async fn housekeep(&self, gate: &Gate) -> Result<(), Refusal<Error>> {
        self.forget_stale_shares();
        let Ok(open) = self.open() else { return Ok(()) };
        open.ceremonies().forget_stale(Instant::now());
        open.catch_up().await.map_err(Refusal::Failed)?;
        open.settle(self.take_in_doubt(), gate).await;
        // A clock that jumped must not delete what people may still want back.
        if self.implausible_clock().is_some() {
            return Ok(());
        }
        open.forget_old_proposals(open.clock.now()).await.map_err(Refusal::Failed)?;
        open.destroy_due_keys(gate).await?;
        self.purge_due(&open, gate).await
    }

    /// Purges a page of what is due; where nothing of it could be, the next one, so that what is damaged or under a key version out of
    /// service keeps nothing else alive.
    async fn purge_due(&self, open: &Arc<Open>, gate: &Gate) -> Result<(), Refusal<Error>> {
        let mut after = None;
        loop {
            let due = open.due(after.as_ref()).await.map_err(Refusal::Failed)?;
            let (mut purged, mut locked) = (0, 0);
            for (key, job) in &due {
                // A seal ends this too, at once.
                if !self.is_open() {
                    return Ok(());
                }
                match open.purge_one(key, job, gate).await {
                    Ok(()) => purged += 1,
                    Err(Refusal::Failed(Error::State(_))) => locked += 1,
                    Err(Refusal::Failed(error @ Error::Integrity(_))) => tracing::error!(%error, "a destroyed secret cannot be purged"),
                    Err(error) => return Err(error),
                }
            }
            if locked > 0 {
                tracing::warn!(locked, "destroyed secrets cannot be purged while their key version is out of service");
            }
            match due.last() {
                Some((key, _)) if purged == 0 && due.len() == AT_ONCE => after = Some(key.clone()),
                _ => return Ok(()),
            }
        }
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

    async fn due(&self, after: Option<&Key>) -> Result<Vec<(Key, PurgeJob)>, Error> {
        let page = self.rows.store.scan(&row::purges_prefix(), after, PageSize::new(AT_ONCE).expect("256 is a page")).await?;
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
