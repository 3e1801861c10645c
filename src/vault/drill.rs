//! A drill: whether the keys of a restored vault open what they should. One value is opened for each key version of each
//! namespace, and nothing of it is shown.

use std::collections::BTreeMap;

use crate::crypto::{self, EnvelopeIds, KeyState};
use crate::model::{NamespaceId, NamespaceName};
use crate::storage::{Key, PageSize};

use super::row::Head;
use super::{Error, Open, row};

/// What became of one key version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The key's version.
    pub version: u32,
    /// What the key may be used for.
    pub state: KeyState,
    /// Values that lie under it.
    pub values: u64,
    /// Whether one of them opened.
    pub opened: Opened,
}

/// Whether a value opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It did.
    Yes,
    /// Nothing lies under this key version.
    NoValue,
    /// The key version is disabled, scheduled or destroyed: it opens nothing, as it should.
    OutOfService,
    /// It did not.
    No,
}

impl Open {
    /// Opens one value for each key version of each namespace.
    ///
    /// # Errors
    /// The store's; [`Error::Integrity`] for a row that has not even the form of one.
    pub async fn open_canaries(&self) -> Result<Vec<Canary>, Error> {
        let mut found: BTreeMap<(NamespaceId, u32), (u64, bool)> = BTreeMap::new();
        for class in [b"h", b"v"] {
            let prefix = row::key(&[class]);
            let mut after: Option<Key> = None;
            loop {
                let page = self.rows.store.scan(&prefix, after.as_ref(), PageSize::MAX).await?;
                for (key, stored) in &page.rows {
                    let head = Head::decode(&stored.value)?;
                    let namespace = row::namespace_of(key.as_bytes())?;
                    let (values, opened) = found.entry((namespace, head.kek_version)).or_default();
                    *values += 1;
                    if *values == 1 {
                        *opened = self.opens(namespace, &head);
                    }
                }
                match page.rows.last() {
                    Some((last, _)) if page.more => after = Some(last.clone()),
                    _ => break,
                }
            }
        }
        Ok(self.canaries(&found))
    }

    fn opens(&self, namespace: NamespaceId, head: &Head<'_>) -> bool {
        let Ok(keys) = self.namespace(namespace).map(|namespace| namespace.keys()) else { return false };
        let Ok(kek) = keys.keyring.for_decrypt(head.kek_version) else { return false };
        let Head { secret, version, kek_version, .. } = *head;
        let ids = EnvelopeIds { vault: self.rows.vault, namespace, secret, version, kek_version };
        crypto::open_both(kek, ids, head.wrapped_dek, head.meta, head.payload).is_ok()
    }

    fn canaries(&self, found: &BTreeMap<(NamespaceId, u32), (u64, bool)>) -> Vec<Canary> {
        let mut all = Vec::new();
        for namespace in self.namespaces.load().values() {
            for info in namespace.keys().keyring.inventory() {
                let (values, opened) = found.get(&(namespace.info.id, info.version)).copied().unwrap_or_default();
                let is_in_service = matches!(info.state, KeyState::Active | KeyState::DecryptOnly);
                let opened = match (is_in_service, values, opened) {
                    (false, ..) => Opened::OutOfService,
                    (true, 0, _) => Opened::NoValue,
                    (true, _, true) => Opened::Yes,
                    (true, _, false) => Opened::No,
                };
                all.push(Canary { namespace: namespace.info.name.clone(), version: info.version, state: info.state, values, opened });
            }
        }
        all.sort_by(|a, b| (&a.namespace, a.version).cmp(&(&b.namespace, b.version)));
        all
    }
}
