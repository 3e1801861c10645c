//! When a call is sent again, and after how long; and where the client's randomness comes from.

use std::sync::LazyLock;
use std::time::Duration;

use rustls::crypto::SecureRandom;

use super::ClientError;

/// The pause before the first retry is at most this long; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// No pause that the server did not ask for is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause before the next attempt, or `None` if there is to be none.
///
/// `retried` attempts were sent again so far, of at most `retries`. The pause is random in the upper half of a ceiling
/// that doubles from 50 ms to 2 s, so that callers who failed together do not return together; a delay that the server
/// `asked` for comes on top. A pause that would use up the `left` time is not worth making.
pub(super) fn pause(retried: u32, retries: u32, asked: Option<Duration>, left: Duration, random: u32) -> Option<Duration> {
    if retried >= retries {
        return None;
    }
    let ceiling = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(retried)).min(LONGEST_PAUSE);
    let jittered = ceiling.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX));
    let pause = asked.unwrap_or_default().saturating_add(jittered);
    (pause < left).then_some(pause)
}

/// A request id nobody else has: 128 random bits in hex.
pub(super) fn request_id() -> Result<String, ClientError> {
    random::<16>().map(hex::encode)
}

/// Bytes from the generator that TLS uses.
pub(super) fn random<const N: usize>() -> Result<[u8; N], ClientError> {
    static GENERATOR: LazyLock<&'static dyn SecureRandom> = LazyLock::new(|| rustls::crypto::aws_lc_rs::default_provider().secure_random);
    let mut bytes = [0; N];
    GENERATOR.fill(&mut bytes).map_err(|_| ClientError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_grow_and_stay_under_the_ceiling() {
        let ms = |retried, random| pause(retried, 99, None, LONG, random).map(|pause| pause.as_millis());
        assert_eq!((ms(0, 0), ms(0, u32::MAX)), (Some(25), Some(50)));
        assert_eq!((ms(1, 0), ms(1, u32::MAX)), (Some(50), Some(100)));
        assert_eq!((ms(6, 0), ms(6, u32::MAX)), (Some(1000), Some(2000)));
        assert_eq!(ms(98, u32::MAX), Some(2000));
    }

    #[test]
    fn it_ends_with_the_retries_and_with_the_time() {
        assert_eq!(pause(0, 0, None, LONG, 0), None);
        assert!(pause(2, 3, None, LONG, 0).is_some());
        assert_eq!(pause(3, 3, None, LONG, 0), None);
        assert_eq!(pause(0, 3, None, Duration::from_millis(25), 0), None);
        assert!(pause(0, 3, None, Duration::from_millis(26), 0).is_some());
        assert_eq!(pause(0, 3, Some(LONG), LONG, 0), None);
    }

    #[test]
    fn the_server_is_not_asked_before_it_said() {
        let asked = Duration::from_secs(3);
        assert!(pause(0, 3, Some(asked), LONG, 0).is_some_and(|pause| pause > asked));
    }

    #[test]
    fn request_ids_differ() {
        let (one, other) = (request_id().expect("random"), request_id().expect("random"));
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
