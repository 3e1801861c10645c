//! Page tokens: where a list goes on, sealed to who asked and for what.

use crate::crypto::{self, Context, Random};
use crate::model::VaultId;

use super::Error;

/// Makes and reads page tokens. Share one for a vault.
pub(super) struct PageTokens {
    key: crypto::Key,
    vault: VaultId,
}

const UNUSABLE: Error = Error::Invalid { field: "page_token", why: "not a token of this list: start again without one" };

impl PageTokens {
    pub(super) const fn new(key: crypto::Key, vault: VaultId) -> Self {
        Self { key, vault }
    }

    /// The token with which this principal's list under this filter goes on after `position`.
    pub(super) fn make(&self, principal: &str, filter: &str, position: &[u8], random: &dyn Random) -> Result<String, Error> {
        let context = self.context(principal, filter);
        crypto::encrypt(&self.key, &context, position, random).map(hex::encode).map_err(Error::Crypto)
    }

    /// The position in a token; none for the empty one, where every list begins.
    pub(super) fn read(&self, principal: &str, filter: &str, token: &str) -> Result<Option<Vec<u8>>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let sealed = hex::decode(token).map_err(|_| UNUSABLE)?;
        let position = crypto::decrypt(&self.key, &self.context(principal, filter), &sealed).map_err(|_| UNUSABLE)?;
        Ok(Some(position.into_exposed()))
    }

    const fn context<'a>(&self, principal: &'a str, filter: &'a str) -> Context<'a> {
        Context::Page { vault: self.vault, principal, filter: filter.as_bytes() }
    }
}

/// One page of a list that lies in memory, ordered by `position`.
pub(super) struct Paging<'a> {
    pub(super) tokens: &'a PageTokens,
    pub(super) principal: &'a str,
    pub(super) filter: &'a str,
    pub(super) random: &'a dyn Random,
    pub(super) page_items: usize,
}

/// What a list returns.
#[derive(Debug)]
pub struct Page<T> {
    /// The items, at most as many as asked for.
    pub items: Vec<T>,
    /// The next page's token; empty when this was the last.
    pub next_page_token: String,
}

impl Paging<'_> {
    /// The items after the token's position. `items` are in ascending order of `position`.
    pub(super) fn cut<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        page_token: &str,
        position: impl Fn(&T) -> Vec<u8>,
    ) -> Result<Page<T>, Error> {
        let after = self.tokens.read(self.principal, self.filter, page_token)?;
        let is_new = |item: &T| after.as_ref().is_none_or(|after| position(item) > *after);
        let mut rest = items.into_iter().filter(is_new);
        let page: Vec<_> = rest.by_ref().take(self.page_items).collect();
        let next_page_token = match (page.last(), rest.next()) {
            (Some(last), Some(_)) => self.tokens.make(self.principal, self.filter, &position(last), self.random)?,
            _ => String::new(),
        };
        Ok(Page { items: page, next_page_token })
    }
}
