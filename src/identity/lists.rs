//! Revocation lists, as far as they are kept track of: whose, which number, how long they are good. And the highest numbers
//! ever seen, below which no list is believed: an older one, still within its time, would let back in whoever a newer one
//! keeps out. A number stays when its list is taken away: else whoever can take one away could bring an older one in its place.

use std::collections::BTreeMap;
use std::fmt;

use x509_parser::prelude::{CertificateRevocationList, X509Name};

use super::IdentityError;
use crate::crypto::sha256;
use crate::model::{Timestamp, TrustDomain};

/// Most lists of all trust domains together: what one entry of the audit log can hold the numbers of.
pub(super) const LISTS_MAX: usize = 100;
/// Most issuers whose numbers are kept, those included that have no list any more.
const ISSUERS_MAX: usize = 120;
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

/// The highest number seen of each list's issuer, whether it still has a list or not. As text, and read back from it, it
/// stands in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HighestLists(BTreeMap<String, ListNumber>);

impl RevocationList {
    pub(super) fn read(domain: &TrustDomain, list: &CertificateRevocationList<'_>) -> Result<Self, &'static str> {
        let end = list.next_update().ok_or("a revocation list has no nextUpdate: make it with one")?;
        let number =
            list.crl_number().ok_or("a revocation list has no crlNumber, so an older one could take its place: make it with one")?;
        // Two domains may have CAs of one name.
        let key = hex::encode(&sha256(&[domain.as_str().as_bytes(), &[0], list.issuer().as_raw()].concat())[..8]);
        let number = ListNumber::parse(&number.to_str_radix(16)).ok_or("the crlNumber of a revocation list has more than 20 bytes")?;
        let issuer = for_people(list.issuer());
        Ok(Self { domain: domain.clone(), issuer, number, next_update: super::leaf::timestamp(end.timestamp()), key })
    }
}

/// A CA's common name, or its whole name where it has none: at most 64 characters.
pub(super) fn for_people(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned).chars().take(64).collect()
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

    /// Refuses a list that is older than one seen before; otherwise these numbers are seen as well. Those of issuers that have
    /// no list here stay. The lists' signatures were verified before ([`TrustAnchor::new`](super::TrustAnchor::new)): a forged
    /// number would keep the true list out for ever.
    pub(super) fn admit(&mut self, lists: &[RevocationList]) -> Result<(), IdentityError> {
        let mut seen = self.0.clone();
        for list in lists {
            if let Some(highest) = seen.insert(list.key.clone(), list.number.clone()).filter(|highest| *highest > list.number) {
                let (domain, issuer) = (list.domain.clone(), list.issuer.clone());
                return Err(IdentityError::OlderList { domain, issuer, number: list.number.clone(), highest });
            }
        }
        if seen.len() > ISSUERS_MAX {
            return Err(IdentityError::TooManyIssuers(seen.len()));
        }
        self.0 = seen;
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

    // immune: row-65
    #[test]
    fn an_issuer_whose_list_is_taken_away_is_not_forgotten() {
        let mut highest = HighestLists::default();
        highest.admit(&[list("root", "1"), list("middle", "9")]).expect("the first");
        highest.admit(&[list("root", "2")]).expect("one of them");
        highest.admit(&[]).expect("none of them");
        // Nor after a restart.
        let mut highest = HighestLists::parse(&highest.to_string()).expect("kept");
        for older in [list("middle", "8"), list("root", "1")] {
            assert!(matches!(highest.admit(&[older]), Err(IdentityError::OlderList { .. })));
        }
        highest.admit(&[list("root", "2"), list("middle", "9")]).expect("the newest");
    }

    #[test]
    fn there_is_room_for_so_many_issuers_and_the_next_changes_nothing() {
        let mut highest = HighestLists::default();
        for issuer in 0..ISSUERS_MAX {
            highest.admit(&[list(&issuer.to_string(), "1")]).expect("room");
        }
        let seen = highest.clone();
        assert!(matches!(highest.admit(&[list("one more", "1")]), Err(IdentityError::TooManyIssuers(_))));
        assert_eq!(highest, seen);
        highest.admit(&[list("0", "2")]).expect("a known one");
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
        let lists: Vec<_> = (0..ISSUERS_MAX).map(|number| list(&format!("{number:016x}"), &"f".repeat(2 * NUMBER_BYTES))).collect();
        let mut highest = HighestLists::default();
        highest.admit(&lists).expect("the first");
        assert!(highest.to_string().len() + 1_024 < crate::audit::LINE_BYTES);
    }
}
