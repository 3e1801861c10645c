//! Lists come in pages.

use std::future::Future;

use serde::Serialize;

use super::ClientError;
use crate::model::limits;

/// Which page of a list to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// At most this many items; 0 for the server's default of 100; never over 1,000.
    pub size: u32,
    /// [`Listed::next`] of the page before; empty for the first page.
    pub token: String,
}

/// One page of a list, or what [`collect`] put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// The items. A page may be empty and still have a next one.
    pub items: Vec<T>,
    /// The next page's token; `None` when this was the last.
    #[serde(skip)]
    pub next: Option<String>,
}

impl<T> Listed<T> {
    pub(super) fn of<W>(wire: Vec<W>, next: String, typed: impl Fn(W) -> Result<T, ClientError>) -> Result<Self, ClientError> {
        let items = wire.into_iter().map(typed).collect::<Result<_, _>>()?;
        Ok(Self { items, next: (!next.is_empty()).then_some(next) })
    }
}

/// Fetches page after page until there are `limit` items, or no more of them; 0 for all. `next` of the answer is where
/// the list goes on.
///
/// # Errors
/// The first error of `fetch`.
pub async fn collect<T, F, A>(limit: usize, fetch: F) -> Result<Listed<T>, ClientError>
where
    F: Fn(Page) -> A,
    A: Future<Output = Result<Listed<T>, ClientError>>,
{
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut all = Listed { items: Vec::new(), next: Some(String::new()) };
    while let Some(token) = all.next.take() {
        let missing = limit - all.items.len();
        if missing == 0 {
            all.next = Some(token);
            break;
        }
        let size = u32::try_from(missing.min(limits::PAGE_ITEMS)).unwrap_or(u32::MAX);
        let page = fetch(Page { size, token: token.clone() }).await?;
        if page.items.len() > missing || page.next.as_ref() == Some(&token) {
            return Err(ClientError::Answer("a page that is longer than asked for, or its own successor"));
        }
        all.items.extend(page.items);
        all.next = page.next;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of the numbers below 2,500 whose pages are never longer than 700, with an empty one in between.
    async fn numbers(page: Page) -> Result<Listed<u32>, ClientError> {
        let from: u32 = if page.token.is_empty() { 0 } else { page.token.trim_end_matches('e').parse().expect("its own token") };
        if from == 700 && !page.token.ends_with('e') {
            return Ok(Listed { items: Vec::new(), next: Some("700e".to_owned()) });
        }
        let to = 2500.min(from + page.size.min(700));
        Ok(Listed { items: (from..to).collect(), next: (to < 2500).then(|| to.to_string()) })
    }

    #[tokio::test]
    async fn pages_are_put_together_up_to_the_limit() {
        for (limit, count, more) in
            [(0, 2500, false), (1, 1, true), (700, 700, true), (1000, 1000, true), (2500, 2500, false), (9999, 2500, false)]
        {
            let all = collect(limit, numbers).await.expect("no error");
            assert_eq!((all.items.len(), all.next.is_some()), (count, more), "limit {limit}");
            assert!(all.items.iter().copied().eq(0..u32::try_from(count).expect("small")));
        }
    }

    #[tokio::test]
    async fn a_server_that_goes_round_in_circles_is_refused() {
        let circle = |_: Page| async { Ok(Listed { items: vec![1], next: Some("same".to_owned()) }) };
        assert!(matches!(collect(0, circle).await, Err(ClientError::Answer(_))));
    }
}
