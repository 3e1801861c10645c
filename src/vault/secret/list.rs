//! Finding secrets: below a prefix, or by provider and subject. What is found is shown only if its own path may be.

use crate::gate::{BelowAt, Permit, Unreleased};
use crate::model::{SecretName, Text, limits};
use crate::storage::{Key, PageSize, Row};

use super::super::namespace::Namespace;
use super::super::page::Page;
use super::super::record::SecretMeta;
use super::super::{Error, Open};
use super::SecretInfo;
use super::create::lookup_prefix;
use super::head::Place;
use super::row::Head;

/// Rows that one call looks at, so that a caller who may see little does not scan the whole namespace: the page then
/// ends early, with a token to go on.
const ROWS_LOOKED_AT: usize = 4 * limits::PAGE_ITEMS;
/// Secrets that one look-up returns.
const FOUND: usize = 64;

impl Open {
    /// The secrets below the permit's prefix, in the order of their keyed hashes.
    ///
    /// # Errors
    /// A page token of another list, [`Error::Integrity`].
    pub async fn list(&self, permit: Permit<BelowAt>, page_items: usize, page_token: &str) -> Result<Unreleased<Page<SecretInfo>>, Error> {
        let below = permit.granted();
        let namespace = self.namespace(below.namespace)?;
        let prefix_key = head_key(&namespace, &below.prefix)?;
        let filter = format!("secrets {} {:?}", below.namespace_name, below.prefix);
        let principal = permit.principal().map_or("", |principal| principal.id.as_str());
        let mut after =
            self.pages.read(principal, &filter, page_token)?.map(Key::new).transpose().map_err(|_| Error::Integrity("a page token"))?;
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let wanted = PageSize::new((page_items - items.len()).max(1)).map_err(|_| Error::Integrity("a page's size"))?;
            let page = self.rows.store.scan(&prefix_key, after.as_ref(), wanted).await?;
            looked_at += page.rows.len();
            for (key, row) in &page.rows {
                after = Some(key.clone());
                items.extend(self.visible(&permit, &namespace, key, row)?);
            }
            let position = after.as_ref().filter(|_| page.more).map(|key| key.as_bytes().to_vec());
            match position {
                Some(position) if items.len() >= page_items || looked_at >= ROWS_LOOKED_AT => {
                    let next_page_token = self.pages.make(principal, &filter, &position, self.random())?;
                    return Ok(Unreleased::new(Page { items, next_page_token }));
                }
                Some(_) => {}
                None => return Ok(Unreleased::new(Page { items, next_page_token: String::new() })),
            }
        }
    }

    /// The access tokens of that provider and subject.
    ///
    /// # Errors
    /// [`Error::Integrity`].
    pub async fn find_tokens(
        &self,
        permit: Permit<BelowAt>,
        provider: &Text<{ limits::TOKEN_FIELD_BYTES }>,
        subject: &Text<{ limits::TOKEN_FIELD_BYTES }>,
    ) -> Result<Unreleased<Vec<SecretInfo>>, Error> {
        let namespace = self.namespace(permit.granted().namespace)?;
        let prefix = lookup_prefix(&namespace.keys(), namespace.info.id, provider.as_str(), subject.as_str())?;
        let prefix = Key::new(prefix).map_err(|_| Error::Integrity("a look-up row's key"))?;
        let lookups = self.rows.store.scan(&prefix, None, PageSize::new(FOUND).expect("64 is a page")).await?;
        let mut found = Vec::new();
        for (lookup, target) in &lookups.rows {
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

/// The name in the metadata, which must be the one whose key the row lies under.
fn checked_name(place: &Place, below: &BelowAt, meta: &SecretMeta) -> Result<SecretName, Error> {
    let path: crate::model::SecretPath = meta.path.parse().map_err(|_| Error::Integrity("a secret's name"))?;
    if head_key(&place.namespace, path.segments())? != place.key {
        return Err(Error::Integrity("a secret's name, which is another's,"));
    }
    Ok(SecretName { namespace: below.namespace_name.clone(), path })
}

fn head_key(namespace: &Namespace, segments: &[String]) -> Result<Key, Error> {
    Key::new(namespace.keys().keyring.index_key().head_key(namespace.info.id, segments)).map_err(|_| Error::Integrity("a head's key"))
}
