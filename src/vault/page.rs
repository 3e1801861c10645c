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

/// How long a page may be: it ends at whichever comes first, but has at least one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Items.
    pub items: usize,
    /// Bytes of what is shown, so that a page fits into one message.
    pub bytes: usize,
}

/// What can stand in a page.
pub(super) trait Shown {
    /// How many bytes it takes on the wire, at most.
    fn shown_bytes(&self) -> usize;
}

/// One page of a list that lies in memory, ordered by `position`.
pub(super) struct Paging<'a> {
    pub(super) tokens: &'a PageTokens,
    pub(super) principal: &'a str,
    pub(super) filter: &'a str,
    pub(super) random: &'a dyn Random,
    pub(super) limits: PageLimits,
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
    pub(super) fn cut<T: Shown>(
        &self,
        items: impl IntoIterator<Item = T>,
        page_token: &str,
        position: impl Fn(&T) -> Vec<u8>,
    ) -> Result<Page<T>, Error> {
        let after = self.tokens.read(self.principal, self.filter, page_token)?;
        let is_new = |item: &T| after.as_ref().is_none_or(|after| position(item) > *after);
        let (mut page, mut bytes, mut is_cut): (Vec<T>, _, _) = (Vec::new(), 0, false);
        for item in items.into_iter().filter(is_new) {
            bytes += item.shown_bytes();
            is_cut = page.len() == self.limits.items || (bytes > self.limits.bytes && !page.is_empty());
            if is_cut {
                break;
            }
            page.push(item);
        }
        let next_page_token = match page.last() {
            Some(last) if is_cut => self.tokens.make(self.principal, self.filter, &position(last), self.random)?,
            _ => String::new(),
        };
        Ok(Page { items: page, next_page_token })
    }
}
