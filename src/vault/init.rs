//! A new vault: its header with one slot, the vault's own secrets, and who administers it.

use std::sync::Arc;

use crate::access::{self, Scope};
use crate::crypto::{self, CryptoError, Random, Recipient, SigningKey};
use crate::model::{BindingId, SpiffeId, Text, Timestamp, VaultId};
use crate::seal::{Argon2Parameters, Header, NewHeader, Passphrase, QuorumSize, Share, TokenKey};
use crate::storage::{Batch, CommitError, Revision, Store};

use super::ceremony::{NewShare, new_shares};
use super::lifecycle::{AUDIT_SEED, OWN_SECRETS, Pins};
use super::policy::{self, PolicyContent};
use super::recipient::first_recipients;
use super::rows::SystemRows;
use super::{Error, NewRecipient, Vault, row};

/// Of a vault that was never restored and whose system key was never replaced.
const FIRST_EPOCH: u64 = 1;

/// What opens a new vault.
#[derive(Debug)]
pub enum FirstSlot {
    /// A passphrase, at this cost.
    Passphrase(Passphrase, Argon2Parameters),
    /// Shares.
    Quorum {
        /// How many, and how many open it.
        size: QuorumSize,
        /// Whom each is encrypted to, in the order of their numbers; or nobody.
        recipients: Vec<Recipient>,
    },
}

/// Whom a new vault knows.
#[derive(Debug, Clone)]
pub struct FirstPeople {
    /// Who may administer access: nobody else may do anything.
    pub administrators: Vec<SpiffeId>,
    /// Whom backups are encrypted to.
    pub recipients: Vec<NewRecipient>,
}

impl Vault {
    /// Makes a vault in an empty store, and returns what to pin. Its system key is wiped: the vault begins sealed. The shares of a
    /// quorum go to `deliver` before there is a vault: if it does not take them, there is none. With a token it has a second slot, which
    /// the HSM opens.
    ///
    /// # Errors
    /// The store is not empty, the generator failed, the shares were not taken, or the HSM did not do its part.
    pub async fn init<E: From<Error>>(
        store: &Arc<dyn Store>,
        random: &Arc<dyn Random>,
        now: Timestamp,
        first: &FirstSlot,
        token: Option<&dyn TokenKey>,
        people: &FirstPeople,
        deliver: impl FnOnce(Vec<NewShare>) -> Result<(), E> + Send,
    ) -> Result<Pins, E> {
        let (header, system_key, shares) = new_header(random.as_ref(), now, first, token).await?;
        let (batch, pins) = new_rows(store, random, now, &header, system_key, people)?;
        if let FirstSlot::Quorum { recipients, .. } = first {
            deliver(new_shares(recipients, shares)?)?;
        }
        store.commit(batch).await.map_err(|error| match error {
            CommitError::Conflict(_) => Error::Exists,
            other => other.into(),
        })?;
        Ok(pins)
    }
}

/// The header with its slots, the system key, and the shares of the first slot, if it has any.
async fn new_header(
    random: &dyn Random,
    now: Timestamp,
    first: &FirstSlot,
    token: Option<&dyn TokenKey>,
) -> Result<(Header, crypto::Key, Vec<Share>), Error> {
    let mut id = [0; 16];
    random.fill(&mut id).map_err(CryptoError::from)?;
    let vault = VaultId::from_bytes(id);
    let NewHeader { mut header, system_key, open, shares } = match first {
        FirstSlot::Passphrase(passphrase, cost) => Header::create_with_passphrase(vault, passphrase, *cost, random, now)?,
        FirstSlot::Quorum { size, .. } => Header::create_with_quorum(vault, *size, random, now)?,
    };
    if let Some(token) = token {
        (header, _) = header.with_token(&open, token, random, now).await?;
    }
    Ok((header, system_key, shares))
}

/// The rows of a new vault, and what to pin.
fn new_rows(
    store: &Arc<dyn Store>,
    random: &Arc<dyn Random>,
    now: Timestamp,
    header: &Header,
    system_key: crypto::Key,
    people: &FirstPeople,
) -> Result<(Batch, Pins), Error> {
    let vault_id = header.vault_id();
    let rows = SystemRows::new(store.clone(), random.clone(), vault_id, system_key);
    let mut batch = Batch::new().expecting(row::header_key(), Revision::ABSENT).put(row::header_key(), header.encode());
    let mut audit_public_key = [0; 32];
    for name in OWN_SECRETS {
        let secret = crypto::Key::generate(random.as_ref()).map_err(CryptoError::from)?;
        if name == AUDIT_SEED {
            audit_public_key = SigningKey::from_seed(&secret).public_key();
        }
        let context = crypto::Context::Secret { vault: vault_id, name, epoch: FIRST_EPOCH };
        let wrapped = crypto::wrap_key(rows.system_key(), &context, &secret, random.as_ref())?;
        batch = batch.put(row::own_secret_key(name), wrapped.to_vec());
    }
    let (policy_rows, head) = policy::first_rows(&first_bindings(&people.administrators, random.as_ref(), now)?);
    batch = batch.put(row::policy_key(), rows.seal(&row::policy_key(), &head)?);
    for policy_row in &policy_rows {
        let PolicyContent::Binding(binding) = &policy_row.content else { continue };
        batch = batch.put(policy_row.key.clone(), rows.seal(&policy_row.key, binding)?);
    }
    let batch = first_recipients(batch, &rows, &people.recipients, now)?;
    Ok((batch, Pins { vault_id, audit_public_key }))
}

fn first_bindings(administrators: &[SpiffeId], random: &dyn Random, now: Timestamp) -> Result<Vec<access::Binding>, Error> {
    let binding = |principal: &SpiffeId| {
        let mut id = [0; 16];
        random.fill(&mut id).map_err(CryptoError::from)?;
        Ok(access::Binding {
            id: BindingId::from_bytes(id),
            role: "access-admin".parse().expect("a built-in role's name"),
            principal: principal.clone(),
            scope: Scope::Vault,
            start: now,
            end: None,
            reason: Text::parse_optional("named when the vault was made").expect("short and plain"),
            created_by: principal.clone(),
            created: now,
            suspended: None,
        })
    };
    administrators.iter().map(binding).collect()
}
