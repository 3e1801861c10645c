//! Revocation lists, as far as they are kept track of: whose, which number, how long they are good. And the highest numbers
//! ever seen, below which no list is believed: an older one, still within its time, would let back in whoever a newer one
//! keeps out.

use std::collections::BTreeMap;
use std::fmt;

use x509_parser::prelude::CertificateRevocationList;

use super::IdentityError;
use crate::crypto::sha256;
use crate::model::{Timestamp, TrustDomain};

/// Most lists of all trust domains together: what one entry of the audit log can hold the numbers of.
pub(super) const LISTS_MAX: usize = 100;
/// Longest list number (RFC 5280, section 5.2.3).
const NUMBER_BYTES: usize = 20;

/// One revocation list in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// The trust domain that it is configured for.
    pub domain: TrustDomain,
    /// Its issuer's common name, or the whole name where there is none; for people, at most 64 characters of it.
    pub issuer: String,
    /// Which of its issuer's lists it is (RFC 5280, section 5.2.3).
    pub number: ListNumber,
    /// When it ends: from then on nobody of its CA is let in.
    pub next_update: Timestamp,
    key: String,
}

/// The number of a list, which rises from list to list of one CA.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ListNumber {
    /// Before the digits: of two numbers without leading zeros the longer is the higher.
    length: usize,
    hex: String,
}

/// The highest number seen of each list's issuer. As text, and read back from it, it stands in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HighestLists(BTreeMap<String, ListNumber>);

impl RevocationList {
    pub(super) fn read(domain: &TrustDomain, list: &CertificateRevocationList<'_>) -> Result<Self, &'static str> {
        let end = list.next_update().ok_or("a revocation list has no nextUpdate: make it with one")?;
        let number =
            list.crl_number().ok_or("a revocation list has no crlNumber, so an older one could take its place: make it with one")?;
        let name = list.issuer().iter_common_name().next().and_then(|name| name.as_str().ok());
        let issuer = name.map_or_else(|| list.issuer().to_string(), str::to_owned).chars().take(64).collect();
        // Two domains may have CAs of one name.
        let key = hex::encode(&sha256(&[domain.as_str().as_bytes(), &[0], list.issuer().as_raw()].concat())[..8]);
        let number = ListNumber::parse(&number.to_str_radix(16)).ok_or("the crlNumber of a revocation list has more than 20 bytes")?;
        Ok(Self { domain: domain.clone(), issuer, number, next_update: super::leaf::timestamp(end.timestamp()), key })
    }
}

impl ListNumber {
    fn parse(hex: &str) -> Option<Self> {
        let digits = hex.trim_start_matches('0');
        let fits = digits.len() <= 2 * NUMBER_BYTES && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self { length: digits.len(), hex: digits.to_owned() })
    }
}

/// Lowercase hex without leading zeros; the number 0 as `0`.
impl fmt::Display for ListNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.hex.is_empty() { "0" } else { &self.hex })
    }
}

impl HighestLists {
    /// From the text that [`fmt::Display`] makes; `None` if it is not such a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let pair = |word: &str| {
            let (key, number) = word.split_once(':')?;
            Some((key.to_owned(), ListNumber::parse(number)?))
        };
        text.split_ascii_whitespace().map(pair).collect::<Option<_>>().map(Self)
    }

    /// Refuses a list that is older than one seen before; otherwise these numbers are seen as well, and those of lists that
    /// are configured no more are forgotten.
    pub(super) fn admit(&mut self, lists: &[RevocationList]) -> Result<(), IdentityError> {
        for list in lists {
            if let Some(highest) = self.0.get(&list.key).filter(|highest| **highest > list.number) {
                let (domain, issuer) = (list.domain.clone(), list.issuer.clone());
                return Err(IdentityError::OlderList { domain, issuer, number: list.number.clone(), highest: highest.clone() });
            }
        }
        self.0 = lists.iter().map(|list| (list.key.clone(), list.number.clone())).collect();
        Ok(())
    }
}

impl fmt::Display for HighestLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|(key, number)| format!("{key}:{number}")).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(key: &str, number: &str) -> RevocationList {
        let number = ListNumber::parse(number).expect("a number");
        let domain = "shop.example".parse().expect("valid");
        RevocationList { domain, issuer: "CA".to_owned(), number, next_update: Timestamp::MAX, key: key.to_owned() }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let number = |text| ListNumber::parse(text).expect("a number");
        assert!(number("9") < number("10") && number("ff") < number("100") && number("0100") == number("100"));
        assert!(number("0") < number("1") && number("0").to_string() == "0");
        assert!(ListNumber::parse(&"f".repeat(40)).is_some() && ListNumber::parse(&"f".repeat(41)).is_none());
        assert!(ListNumber::parse("-1").is_none() && ListNumber::parse("F").is_none());
    }

    // immune: row-65
    #[test]
    fn an_older_list_is_refused_and_changes_nothing() {
        let mut highest = HighestLists::default();
        highest.admit(&[list("a", "9"), list("b", "1")]).expect("the first");
        highest.admit(&[list("a", "10"), list("b", "1")]).expect("newer, and the same again");
        let seen = highest.clone();
        let error = highest.admit(&[list("a", "9"), list("b", "2")]).expect_err("older").to_string();
        assert!(error.contains("shop.example") && error.contains("number 9") && error.contains("number 10"), "{error}");
        assert_eq!(highest, seen);
    }

    #[test]
    fn they_come_back_out_of_their_text() {
        let mut highest = HighestLists::default();
        highest.admit(&[list("00ff", "9"), list("01ff", &"f".repeat(40))]).expect("the first");
        assert_eq!(HighestLists::parse(&highest.to_string()), Some(highest));
        assert_eq!(HighestLists::parse(""), Some(HighestLists::default()));
        assert!(HighestLists::parse("00ff").is_none() && HighestLists::parse("00ff:xyz").is_none());
    }

    #[test]
    fn the_most_of_them_fit_into_an_entry_of_the_log() {
        let lists: Vec<_> = (0..LISTS_MAX).map(|number| list(&format!("{number:016x}"), &"f".repeat(2 * NUMBER_BYTES))).collect();
        let mut highest = HighestLists::default();
        highest.admit(&lists).expect("the first");
        assert!(highest.to_string().len() + 1_024 < crate::audit::LINE_BYTES);
    }
}
