//! Key-encryption keys: rotate and list.

use crate::crypto::{self, KeyState, Keyring};
use crate::gate::{Permit, Unreleased, Visibility};
use crate::model::{NamespaceId, NamespaceName, Timestamp, limits};
use crate::storage::{Batch, CommitError, Key, Revision};

use super::namespace::{Namespace, NamespaceKeys};
use super::page::{Page, PageLimits, Shown};
use super::{Error, Open, record, row};

/// The name of the one construction, for inventories.
pub const ALGORITHM: &str = "AES-256-GCM-HKDF-SHA256-COMMIT";

/// One version of a namespace's key-encryption key, as it is shown.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The version's number.
    pub version: u32,
    /// What it may be used for.
    pub state: KeyState,
    /// When it was made.
    pub created: Timestamp,
}

impl Open {
    /// Makes a new active version. Writers that still encrypt under the old one name the keyring's old revision, are
    /// refused by the store, and begin again under the new one.
    ///
    /// # Errors
    /// [`Error::Conflict`] where another version is active than expected (0: any), or the keyring is full.
    pub async fn rotate_key(&self, permit: Permit<NamespaceId>, expected_active: u32) -> Result<Unreleased<KeyInfo>, Error> {
        let namespace = self.namespace(*permit.granted())?;
        let keys = namespace.keys();
        if expected_active != 0 && keys.keyring.active().0 != expected_active {
            return Err(Error::Conflict);
        }
        if keys.keyring.inventory().count() >= limits::KEY_VERSIONS {
            return Err(Error::State("a keyring has at most 256 versions: retire old ones"));
        }
        let keyring = keys.keyring.rotate(self.rows.system_key(), self.random(), permit.now())?;
        let info = key_infos(&namespace, &keyring).pop().ok_or(Error::Integrity("a keyring without versions"))?;
        self.write_keyring(&namespace, &keys, keyring, permit.intent()).await?;
        let version = u64::from(info.version);
        Ok(Unreleased::new(info).version(version))
    }

    async fn write_keyring(&self, namespace: &Namespace, old: &NamespaceKeys, keyring: Keyring, intent: u64) -> Result<(), Error> {
        let key = row::keyring_key(namespace.info.id);
        let sealed = self.rows.seal(&key, &record::KeyringRow { keyring: keyring.encode(), intent })?;
        let batch = Batch::new().expecting(key.clone(), old.revision).put(key.clone(), sealed);
        let revision = match self.rows.store.commit(batch).await {
            Ok(revision) => revision,
            // Whether it happened or not, what lies there now is what counts. Where it cannot be read, it is when a change
            // next meets another keyring than it expects.
            Err(CommitError::Unknown) => {
                let now = self.reload_keyring(namespace).await.map_err(|_| Error::Unknown)?;
                return if now == old.revision { Err(Error::Unknown) } else { Ok(()) };
            }
            Err(error @ CommitError::Conflict(_)) => {
                self.reload_keyring(namespace).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        namespace.replace_keys(NamespaceKeys { keyring, revision });
        Ok(())
    }

    /// After a change that expected another row: if that is the namespace's keyring, what lies there now is in force.
    pub(super) async fn look_at_keyring(&self, id: NamespaceId, unexpected: &Key) -> Result<(), Error> {
        if *unexpected != row::keyring_key(id) {
            return Ok(());
        }
        let namespace = self.namespace(id)?;
        self.reload_keyring(&namespace).await.map(drop)
    }

    async fn reload_keyring(&self, namespace: &Namespace) -> Result<Revision, Error> {
        let key = row::keyring_key(namespace.info.id);
        let (stored, revision) = self.rows.record::<record::KeyringRow>(&key).await?.ok_or(Error::Integrity("a missing keyring"))?;
        let keyring = Keyring::decode(self.rows.vault, namespace.info.id, self.rows.system_key(), &stored.keyring)?;
        namespace.replace_keys(NamespaceKeys { keyring, revision });
        Ok(revision)
    }

    /// Lists the versions of every keyring that may be shown, or of one.
    ///
    /// # Errors
    /// A page token of another list.
    pub fn list_keys(
        &self,
        permit: &Permit<Visibility>,
        only: Option<&NamespaceName>,
        page: PageLimits,
        page_token: &str,
    ) -> Result<Unreleased<Page<KeyInfo>>, Error> {
        let visible = self.visible_namespaces(permit.granted());
        let asked = visible.iter().filter(|namespace| only.is_none_or(|name| *name == namespace.info.name));
        let infos: Vec<_> = asked.flat_map(|namespace| key_infos(namespace, &namespace.keys().keyring)).collect();
        if infos.is_empty() && only.is_some() {
            return Err(Error::Absent("namespace"));
        }
        let filter = format!("keys {only:?}");
        let position = |info: &KeyInfo| [info.namespace.to_string().as_bytes(), &[0], &info.version.to_be_bytes()[..]].concat();
        Ok(Unreleased::new(self.paging(permit, &filter, page).cut(infos, page_token, position)?))
    }
}

fn key_infos(namespace: &Namespace, keyring: &Keyring) -> Vec<KeyInfo> {
    let info =
        |of: crypto::KeyInfo| KeyInfo { namespace: namespace.info.name.clone(), version: of.version, state: of.state, created: of.created };
    keyring.inventory().map(info).collect()
}

impl Shown for KeyInfo {
    fn shown_bytes(&self) -> usize {
        192
    }
}
