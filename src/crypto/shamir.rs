//! Shamir's secret sharing of a key (A. Shamir, *How to Share a Secret*, CACM 22, 1979), byte by byte over GF(2^8) with AES's
//! polynomial x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2).
//!
//! ```text
//! split(s, t, n):   for each byte:  f(x) = s + c1·x + … + c(t-1)·x^(t-1)   every c uniform, zero among them
//!                   share i = f(i), i = 1 … n
//! combine:          f(0) out of t shares, by Lagrange's interpolation
//! ```
//!
//! With t - 1 shares every key is as likely as every other. Shares prove nothing about each other: too few or wrong ones combine to
//! 32 other bytes, so whoever combines must have something that tells the right ones; a slot has its wrapped root key.
//!
//! The arithmetic is that of the crate `vsss-rs`, which has no tables and no branches on secret bytes. It takes random numbers from a
//! generator that cannot fail, so it is given numbers that have been drawn before it begins.

#![expect(clippy::disallowed_types, reason = "the one home of secret sharing")]

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use super::{CryptoError, Key, Random, RandomFailed};
use crate::memory::leaving_no_trace;
use crate::model::Invalid;

const KEY_BYTES: usize = 32;

/// Bytes of the random number that one coefficient is made of.
const NUMBER_BYTES: usize = 4;

/// More of the stack than splitting and combining use. What they leave there are single bytes at most: vsss-rs goes byte by byte, with
/// its polynomials on the heap.
const STACK_BYTES: usize = 8192;

/// How many shares there are of a key, and how many of them give it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumSize {
    threshold: u8,
    shares: u8,
}

impl QuorumSize {
    /// Most shares of a key.
    pub const MOST_SHARES: u8 = 16;

    /// `threshold` of `shares`.
    ///
    /// # Errors
    /// Unless 2 ≤ threshold ≤ shares ≤ 16. One share would be the key itself, in one hand.
    pub const fn new(threshold: u8, shares: u8) -> Result<Self, Invalid> {
        if threshold < 2 {
            return Err(Invalid("a quorum needs 2 shares at least"));
        }
        if threshold > shares {
            return Err(Invalid("a quorum cannot need more shares than there are"));
        }
        if shares > Self::MOST_SHARES {
            return Err(Invalid("a quorum has 16 shares at most"));
        }
        Ok(Self { threshold, shares })
    }

    /// How many shares give the key back.
    #[must_use]
    pub const fn threshold(self) -> u8 {
        self.threshold
    }

    /// How many there are.
    #[must_use]
    pub const fn shares(self) -> u8 {
        self.shares
    }
}

/// One share: the polynomials' values at `index`. 32 bytes in the arena, wiped when dropped; no `Clone`; `Debug` shows the index alone.
#[derive(Debug)]
pub struct Point {
    /// Where: 1 to 16.
    pub index: u8,
    /// One value for each byte of the key.
    pub value: Key,
}

impl Point {
    /// `index ‖ value`, the form that vsss-rs takes.
    fn joined(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + KEY_BYTES);
        out.push(self.index);
        out.extend_from_slice(self.value.expose());
        out
    }
}

/// Splits a key into shares with the indexes 1, 2, …
///
/// # Errors
/// There is no randomness; nothing has been split then.
pub fn split_key(secret: &Key, size: QuorumSize, random: &dyn Random) -> Result<Vec<Point>, RandomFailed> {
    let mut numbers = Zeroizing::new(vec![0; NUMBER_BYTES * KEY_BYTES * usize::from(size.threshold - 1)]);
    random.fill(&mut numbers)?;
    Ok(leaving_no_trace::<STACK_BYTES, _>(|| split_with(secret, size, Drawn(&numbers))))
}

/// The key, out of as many shares as its threshold says; with fewer, or wrong ones, 32 other bytes.
///
/// # Errors
/// [`CryptoError::Refused`]: fewer than two shares, two of one index, or an index of 0.
pub fn combine_key<'a>(points: impl IntoIterator<Item = &'a Point>) -> Result<Key, CryptoError> {
    let points: Zeroizing<Vec<_>> = Zeroizing::new(points.into_iter().map(Point::joined).collect());
    leaving_no_trace::<STACK_BYTES, _>(|| {
        let secret = Zeroizing::new(Gf256::combine_bytes(&*points).map_err(|_| CryptoError::Refused)?);
        Key::try_fill(|out| {
            out.copy_from_slice(&secret);
            Ok(())
        })
    })
}

fn split_with(secret: &Key, size: QuorumSize, mut numbers: Drawn<'_>) -> Vec<Point> {
    let (threshold, count) = (usize::from(size.threshold), usize::from(size.shares));
    let shares = Gf256::split_bytes(threshold, count, secret.expose(), &mut numbers).map(Zeroizing::new);
    assert!(numbers.0.is_empty(), "vsss-rs takes one number for each coefficient of each byte");
    shares.expect("the size is within vsss-rs's bounds, too").iter().map(|share| point(share)).collect()
}

fn point(share: &[u8]) -> Point {
    let (index, bytes) = share.split_first().expect("a share begins with its index");
    let filled = Key::try_fill(|out| {
        out.copy_from_slice(bytes);
        Ok::<_, Infallible>(())
    });
    let Ok(value) = filled;
    Point { index: *index, value }
}

/// Random numbers that have been drawn already, to be handed out once.
struct Drawn<'a>(&'a [u8]);

impl Drawn<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.take(&mut out);
        out
    }

    fn take(&mut self, out: &mut [u8]) {
        let (head, rest) = self.0.split_at_checked(out.len()).expect("there is one number for each coefficient of each byte");
        out.copy_from_slice(head);
        self.0 = rest;
    }
}

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.array::<NUMBER_BYTES>()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.array()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.take(out);
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}

#[cfg(test)]
mod tests;
