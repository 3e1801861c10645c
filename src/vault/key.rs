//! Key-encryption keys: rotate and list.

use std::time::Duration;

use crate::crypto::{self, KeyState, Keyring};
use crate::gate::{Permit, Unreleased, Visibility};
use crate::model::{NamespaceId, NamespaceName, Timestamp, limits};
use crate::storage::{Batch, CommitError, Key, Revision};

use super::namespace::{Namespace, NamespaceKeys};
use super::page::{Page, PageLimits, Shown};
use super::rewrap::{RewrapInfo, RewrapOrder, Writing};
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
    /// Rows under it when they were last counted, and when that was; none if it was made since, or nothing was counted.
    pub rows: Option<(u64, Timestamp)>,
    /// When a rewrap to it has ended, as far as the namespace's newest rewrap tells.
    pub rewrapped: Option<Timestamp>,
    /// How long a version of this keyring encrypts.
    pub cryptoperiod: Duration,
    /// Whether it is active although that time is over.
    pub over_age: bool,
}

/// A new active version, and what is to happen with what lies under older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rotation {
    /// The version that must be active; 0 for any.
    pub expected_active: u32,
    /// Whether every data key is put under the new version.
    pub rewrap: Option<RewrapOrder>,
}

impl Open {
    /// Makes a new active version. Writers that still encrypt under the old one name the keyring's old revision, are
    /// refused by the store, and begin again under the new one.
    ///
    /// # Errors
    /// [`Error::Conflict`] where another version is active than expected, or the keyring is full.
    pub async fn rotate_key(
        &self,
        permit: Permit<NamespaceId>,
        rotation: Rotation,
    ) -> Result<Unreleased<(KeyInfo, Option<RewrapInfo>)>, Error> {
        let Rotation { expected_active, rewrap } = rotation;
        rewrap.map_or(Ok(()), RewrapOrder::check)?;
        let namespace = self.namespace(*permit.granted())?;
        let keys = namespace.keys();
        if expected_active != 0 && keys.keyring.active().0 != expected_active {
            return Err(Error::Conflict);
        }
        if keys.keyring.inventory().count() >= limits::KEY_VERSIONS {
            return Err(Error::State("a keyring has at most 256 versions: retire old ones"));
        }
        let keyring = keys.keyring.rotate(self.rows.system_key(), self.random(), permit.now())?;
        let info = self.key_infos(&namespace, &keyring).pop().ok_or(Error::Integrity("a keyring without versions"))?;
        let version = info.version;
        let Some(order) = rewrap else {
            self.write_keyring(&namespace, &keys, keyring, permit.intent(), Batch::new(), None).await?;
            return Ok(Unreleased::new((info, None)).version(version.into()));
        };
        let job = self.rewraps.of(namespace.info.id);
        let writing = self.order_with_rotation(&job, order, version, &permit).await?;
        self.write_keyring(&namespace, &keys, keyring, permit.intent(), Batch::new(), Some(writing)).await?;
        let rewrap = self.wake_rewrap(namespace.info.id)?;
        let rate = rewrap.rate_per_s;
        Ok(Unreleased::new((info, Some(rewrap))).version(version.into()).with("rewrap_rate_per_s", rate))
    }

    /// Writes a new keyring in the place of the old one, with what goes with it and the order of a rewrap, if there is one, in the same
    /// commit.
    pub(super) async fn write_keyring(
        &self,
        namespace: &Namespace,
        old: &NamespaceKeys,
        keyring: Keyring,
        intent: u64,
        with: Batch,
        rewrap: Option<Writing<'_>>,
    ) -> Result<(), Error> {
        let key = row::keyring_key(namespace.info.id);
        let sealed = self.rows.seal(&key, &record::KeyringRow { keyring: keyring.encode(), intent })?;
        let batch = with.expecting(key.clone(), old.revision).put(key.clone(), sealed);
        let batch = rewrap.as_ref().map_or_else(|| batch.clone(), |writing| writing.add_to(batch.clone()));
        let revision = match self.rows.store.commit(batch).await {
            Ok(revision) => revision,
            // Whether it happened or not, what lies there now is what counts. Where it cannot be read, it is when a change
            // next meets another keyring than it expects.
            Err(CommitError::Unknown) => {
                let now = self.reload_keyring(namespace).await.map_err(|_| Error::Unknown)?;
                if let Some(writing) = rewrap {
                    self.settle_rewrap(writing).await?;
                }
                return if now == old.revision { Err(Error::Unknown) } else { Ok(()) };
            }
            Err(error @ CommitError::Conflict(_)) => {
                self.reload_keyring(namespace).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        namespace.replace_keys(NamespaceKeys { keyring, revision });
        if let Some(writing) = rewrap {
            writing.done(revision);
        }
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
        let infos: Vec<_> = asked.flat_map(|namespace| self.key_infos(namespace, &namespace.keys().keyring)).collect();
        if infos.is_empty() && only.is_some() {
            return Err(Error::Absent("namespace"));
        }
        let filter = format!("keys {only:?}");
        let position = |info: &KeyInfo| [info.namespace.to_string().as_bytes(), &[0], &info.version.to_be_bytes()[..]].concat();
        Ok(Unreleased::new(self.paging(permit, &filter, page).cut(infos, page_token, position)?))
    }

    pub(super) fn key_infos(&self, namespace: &Namespace, keyring: &Keyring) -> Vec<KeyInfo> {
        let (now, cryptoperiod) = (self.clock.now(), namespace.info.limits.cryptoperiod);
        let counted = self.rewraps.counted(namespace.info.id);
        let rewrap = self.rewrap_info(namespace.info.id).ok();
        let info = |of: crypto::KeyInfo| KeyInfo {
            namespace: namespace.info.name.clone(),
            version: of.version,
            state: of.state,
            created: of.created,
            rows: counted.as_ref().filter(|counted| counted.at >= of.created).map(|counted| (counted.under(of.version), counted.at)),
            rewrapped: rewrap.as_ref().filter(|rewrap| rewrap.target_version == of.version).and_then(|rewrap| rewrap.finished),
            cryptoperiod,
            over_age: of.state == KeyState::Active && now.since(of.created) >= cryptoperiod,
        };
        keyring.inventory().map(info).collect()
    }
}

impl Shown for KeyInfo {
    fn shown_bytes(&self) -> usize {
        192
    }
}
