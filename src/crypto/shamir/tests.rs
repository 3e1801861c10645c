//! What secret sharing promises: any quorum has the key, nobody else has a bit of it.

use super::*;
use crate::crypto::testing::{BrokenRandom, CountingRandom};

fn key(byte: u8) -> Key {
    Key::from_bytes(&mut [byte; 32])
}

fn size(threshold: u8, shares: u8) -> QuorumSize {
    QuorumSize::new(threshold, shares).expect("within the bounds")
}

fn chosen(points: &[Point], subset: u32) -> impl Iterator<Item = &Point> {
    points.iter().enumerate().filter(move |(at, _)| subset >> at & 1 == 1).map(|(_, point)| point)
}

#[test]
fn a_size_is_bounded_on_every_side() {
    for (threshold, shares) in [(2, 2), (2, 16), (16, 16), (3, 5)] {
        let size = QuorumSize::new(threshold, shares).expect("within the bounds");
        assert_eq!((size.threshold(), size.shares()), (threshold, shares));
    }
    for (threshold, shares) in [(0, 0), (0, 5), (1, 1), (1, 5), (3, 2), (16, 15), (2, 17), (17, 17), (2, 255), (255, 255)] {
        assert!(QuorumSize::new(threshold, shares).is_err(), "{threshold} of {shares}");
    }
}

// immune: row-34
#[test]
fn every_quorum_has_the_key_and_nothing_smaller_has() {
    let (random, secret) = (CountingRandom::new("subsets"), key(0xA5));
    for shares in 2..=7 {
        for threshold in 2..=shares {
            let points = split_key(&secret, size(threshold, shares), &random).expect("it counts");
            assert_eq!(points.iter().map(|point| point.index).collect::<Vec<_>>(), (1..=shares).collect::<Vec<_>>());
            for subset in 0..1_u32 << shares {
                let combined = combine_key(chosen(&points, subset));
                let right = combined.as_ref().is_ok_and(|key| key.expose() == secret.expose());
                assert_eq!(right, subset.count_ones() >= u32::from(threshold), "{threshold} of {shares}: {subset:b}");
                assert_eq!(combined.is_err(), subset.count_ones() < 2);
            }
        }
    }
}

// immune: row-34
#[test]
fn sixteen_of_sixteen_are_needed_where_sixteen_are() {
    let secret = key(0x5A);
    let points = split_key(&secret, size(16, 16), &CountingRandom::new("sixteen")).expect("it counts");
    assert_eq!(combine_key(&points).expect("all").expose(), secret.expose());
    for missing in 0..16 {
        assert_ne!(combine_key(chosen(&points, 0xFFFF ^ 1 << missing)).expect("15 of them").expose(), secret.expose(), "without {missing}");
    }
}

#[test]
fn points_that_cannot_be_combined_are_refused() {
    let point = |index, byte| Point { index, value: key(byte) };
    for points in
        [vec![], vec![point(1, 1)], vec![point(1, 1), point(1, 1)], vec![point(1, 1), point(1, 2)], vec![point(0, 1), point(1, 2)]]
    {
        assert!(matches!(combine_key(&points), Err(CryptoError::Refused)), "{points:?}");
    }
}

/// Multiplication by x in AES's field: FIPS 197, section 4.2.1.
const fn times_x(byte: u8) -> u8 {
    byte << 1 ^ if byte & 0x80 == 0 { 0 } else { 0x1B }
}

/// How far counts of bytes are from uniform. 255 degrees of freedom: 255 on average, and beyond 414 once in 10^9 uniform counts.
fn chi_square(counts: &[u32; 256]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

// immune: row-33
#[test]
fn coefficients_are_uniform_zero_among_them() {
    const KEYS: usize = 31_250; // of 32 bytes each: 10^6 polynomials
    let (random, secret) = (CountingRandom::new("chi square"), key(0));
    let (mut of_two, mut first_of_three, mut second_of_three) = ([0; 256], [0; 256], [0; 256]);
    for _ in 0..KEYS {
        // The secret is 0, so f(1) = c1 where two are needed. Where three are: f(1) = c1 + c2, f(2) = 2·c1 + 4·c2, hence
        // 4·f(1) + f(2) = 6·c1 and 2·f(1) + f(2) = 6·c2; and 6·c is uniform if c is.
        for byte in split_key(&secret, size(2, 2), &random).expect("it counts")[0].value.expose() {
            of_two[usize::from(*byte)] += 1;
        }
        let points = split_key(&secret, size(3, 3), &random).expect("it counts");
        for (one, two) in points[0].value.expose().iter().zip(points[1].value.expose()) {
            first_of_three[usize::from(times_x(times_x(*one)) ^ two)] += 1;
            second_of_three[usize::from(times_x(*one) ^ two)] += 1;
        }
    }
    for counts in [of_two, first_of_three, second_of_three] {
        assert!(chi_square(&counts) < 414.0, "{}", chi_square(&counts));
    }
    let mut biased = of_two;
    biased[1] += std::mem::take(&mut biased[0]);
    assert!(chi_square(&biased) > 414.0, "a generator that never gives 0 would be seen");
}

// immune: row-33
#[test]
fn every_byte_has_a_polynomial_of_its_own() {
    let points = split_key(&key(0), size(2, 2), &CountingRandom::new("own")).expect("it counts");
    let distinct: std::collections::HashSet<_> = points[0].value.expose().iter().collect();
    assert!(distinct.len() > 16, "{} values in 32 bytes", distinct.len());
    let again = split_key(&key(0), size(2, 2), &CountingRandom::new("another")).expect("it counts");
    assert_ne!(points[0].value.expose(), again[0].value.expose());
}

// immune: row-32
#[test]
fn the_arithmetic_is_the_audited_one() {
    let lock = include_str!("../../../Cargo.lock");
    let pinned = "name = \"vsss-rs\"\nversion = \"6.0.1\"\n\
                  source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
                  checksum = \"d6bfc736cfd88115aedb95ba84bc2d428fe351e92a56f69fce090af301402d91\"\n";
    assert!(lock.contains(pinned), "another version: read whether its GF(256) still has no tables, and no bias, then change this test");
    for tables in ["sharks", "blahaj"] {
        assert!(!lock.contains(&format!("name = \"{tables}\"\n")), "{tables} does its arithmetic by tables");
    }
}

// immune: row-35
#[test]
fn without_randomness_nothing_is_split() {
    assert!(split_key(&key(1), size(3, 5), &BrokenRandom::after(0)).is_err());
    assert!(split_key(&key(1), size(3, 5), &BrokenRandom::after(1)).is_ok());
}

#[test]
fn nothing_shows_a_share() {
    let points = split_key(&key(1), size(2, 2), &CountingRandom::new("debug")).expect("it counts");
    assert_eq!(format!("{:?}", points[1]), "Point { index: 2, value: Key(..) }");
}
