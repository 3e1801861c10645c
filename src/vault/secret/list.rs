//! Finding secrets: below a prefix, or by provider and subject. What is found is shown only if its own path may be.

use crate::gate::{BelowAt, Permit, Unreleased};
use crate::model::{Effort, SecretName, Text, limits};
use crate::storage::{Key, PageSize, Row};

use super::super::namespace::Namespace;
use super::super::page::{Page, PageLimits, Shown};
use super::super::record::SecretMeta;
use super::super::{Error, Open};
use super::SecretInfo;
use super::create::lookup_prefix;
use super::head::Place;
use super::row::Head;

/// Rows that one call looks at, so that a caller who may see little does not scan the whole namespace: the page then
/// ends early, with a token to go on.
const ROWS_LOOKED_AT: usize = 4 * limits::PAGE_ITEMS;
/// Rows that are opened before others get their turn on this thread: a third of a millisecond.
const ROWS_A_TURN: usize = 64;
/// Secrets that one look-up returns: those that were stored first, so that a copy planted later hides none of them.
const FOUND: usize = 64;

impl Open {
    /// The secrets below the permit's prefix, in the order of their keyed hashes. Each row that is opened is added to `effort`.
    ///
    /// # Errors
    /// A page token of another list, [`Error::Integrity`].
    pub async fn list(
        &self,
        permit: Permit<BelowAt>,
        page: PageLimits,
        page_token: &str,
        effort: &Effort,
    ) -> Result<Unreleased<Page<SecretInfo>>, Error> {
        let below = permit.granted();
        let namespace = self.namespace(below.namespace)?;
        let prefix_key = head_key(&namespace, &below.prefix)?;
        let filter = format!("secrets {} {:?}", below.namespace_name, below.prefix);
        let principal = permit.principal().map_or("", |principal| principal.id.as_str());
        let mut after =
            self.pages.read(principal, &filter, page_token)?.map(Key::new).transpose().map_err(|_| Error::Integrity("a page token"))?;
        // What lies below a prefix comes after a secret that is named by the prefix itself.
        after.get_or_insert_with(|| prefix_key.clone());
        let (mut items, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        loop {
            // Who sees little has few scans made all the same: each takes as many rows as all before it.
            let wanted = (page.items - items.len()).max(looked_at).clamp(1, limits::PAGE_ITEMS);
            let wanted = PageSize::new(wanted).map_err(|_| Error::Integrity("a page's size"))?;
            let found = self.rows.store.scan(&prefix_key, after.as_ref(), wanted).await?;
            looked_at += found.rows.len();
            for (key, row) in &found.rows {
                if items.len() >= page.items {
                    return self.page_until(items, principal, &filter, after.as_ref());
                }
                row_opened(effort).await;
                let info = self.visible(&permit, &namespace, key, row)?;
                bytes += info.as_ref().map_or(0, Shown::shown_bytes);
                if bytes > page.bytes && !items.is_empty() {
                    return self.page_until(items, principal, &filter, after.as_ref());
                }
                items.extend(info);
                after = Some(key.clone());
            }
            match found.more {
                true if items.len() < page.items && looked_at < ROWS_LOOKED_AT => {}
                true => return self.page_until(items, principal, &filter, after.as_ref()),
                false => return Ok(Unreleased::new(Page { items, next_page_token: String::new() })),
            }
        }
    }

    /// A page that goes on after the row of this key.
    fn page_until(
        &self,
        items: Vec<SecretInfo>,
        principal: &str,
        filter: &str,
        last: Option<&Key>,
    ) -> Result<Unreleased<Page<SecretInfo>>, Error> {
        let position = last.map_or(&[][..], Key::as_bytes);
        let next_page_token = self.pages.make(principal, filter, position, self.random())?;
        Ok(Unreleased::new(Page { items, next_page_token }))
    }

    /// The access tokens of that provider and subject. Each row that is opened is added to `effort`.
    ///
    /// # Errors
    /// [`Error::Integrity`].
    pub async fn find_tokens(
        &self,
        permit: Permit<BelowAt>,
        provider: &Text<{ limits::TOKEN_FIELD_BYTES }>,
        subject: &Text<{ limits::TOKEN_FIELD_BYTES }>,
        effort: &Effort,
    ) -> Result<Unreleased<Vec<SecretInfo>>, Error> {
        let namespace = self.namespace(permit.granted().namespace)?;
        let prefix = lookup_prefix(&namespace.keys(), namespace.info.id, provider.as_str(), subject.as_str())?;
        let prefix = Key::new(prefix).map_err(|_| Error::Integrity("a look-up row's key"))?;
        let lookups = self.rows.store.scan(&prefix, None, PageSize::MAX).await?;
        let mut found = Vec::new();
        for (lookup, target) in &lookups.rows {
            row_opened(effort).await;
            let key = Key::new(target.value.to_vec()).map_err(|_| Error::Integrity("a look-up row"))?;
            let row = self.rows.row(&key).await?.ok_or(Error::Integrity("a look-up row"))?;
            let info = self.visible(&permit, &namespace, &key, &row)?;
            let is_asked_for = |info: &SecretInfo| {
                lookup.as_bytes().ends_with(info.id.as_bytes())
                    && info.token.as_ref().is_some_and(|token| token.provider == *provider && token.subject == *subject)
            };
            match info {
                Some(info) if is_asked_for(&info) => found.push(info),
                Some(_) => return Err(Error::Integrity("a look-up row, which leads to another secret,")),
                None => {}
            }
        }
        found.sort_by_key(|info| (info.created, info.id));
        found.truncate(FOUND);
        Ok(Unreleased::new(found))
    }

    /// What a head row shows to the permit's holder, if anything.
    fn visible(
        &self,
        permit: &Permit<BelowAt>,
        namespace: &std::sync::Arc<Namespace>,
        key: &Key,
        row: &Row,
    ) -> Result<Option<SecretInfo>, Error> {
        let below = permit.granted();
        let place = Place { namespace: namespace.clone(), keys: namespace.keys(), key: key.clone() };
        let head = Head::decode(&row.value)?;
        let meta = place.open_meta(self, &head)?;
        let name = checked_name(&place, below, &meta)?;
        if !below.visibility.shows(below.namespace, &name.path) {
            return Ok(None);
        }
        SecretInfo::of(name, &head, &meta, row.revision, permit.now())
    }
}

/// Counts a row that is about to be opened, and lets others have their turn every so often.
pub(super) async fn row_opened(effort: &Effort) {
    if effort.add(1).is_multiple_of(ROWS_A_TURN) {
        tokio::task::yield_now().await;
    }
}

/// The name in the metadata, which must be the one whose key the row lies under.
pub(super) fn checked_name(place: &Place, below: &BelowAt, meta: &SecretMeta) -> Result<SecretName, Error> {
    let path: crate::model::SecretPath = meta.path.parse().map_err(|_| Error::Integrity("a secret's name"))?;
    if head_key(&place.namespace, path.segments())? != place.key {
        return Err(Error::Integrity("a secret's name, which is another's,"));
    }
    Ok(SecretName { namespace: below.namespace_name.clone(), path })
}

/// The key of the head of a path, or of all heads below a prefix.
pub(super) fn head_key(namespace: &Namespace, segments: impl IntoIterator<Item: AsRef<str>, IntoIter: Clone>) -> Result<Key, Error> {
    Key::new(namespace.keys().keyring.index_key().head_key(namespace.info.id, segments)).map_err(|_| Error::Integrity("a head's key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_while_many_rows_are_opened() {
        let turns = Effort::default();
        let others = turns.clone();
        let other = tokio::spawn(async move {
            loop {
                others.add(1);
                tokio::task::yield_now().await;
            }
        });
        let effort = Effort::default();
        for _ in 0..1_000 {
            row_opened(&effort).await;
        }
        other.abort();
        assert_eq!((effort.so_far(), turns.so_far()), (1_000, 1_000 / ROWS_A_TURN));
    }
}
