//! How many may knock and how many may stay: bounds on handshakes and on connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refusal;
use super::standing::{PrincipalLimits, Seat, Standing, Standings};
use crate::model::{Class, Principal};

/// Bounds of the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// Longest handshake, from the accept to the proof.
    pub handshake_timeout: Duration,
    /// Handshakes at once; more are turned away, so that strangers hold a bounded amount of memory.
    pub handshakes: usize,
    /// Handshakes at once from one IPv4 address or one IPv6 /64, so that one stranger cannot hold them all.
    pub handshakes_per_address: usize,
    /// Connections at once, handshakes not counted, so that strangers take no place of those who have proved themselves.
    pub connections: usize,
    /// Bounds for each principal.
    pub principal: PrincipalLimits,
    /// What a call may have, in bytes, header and message.
    pub call_bytes: u64,
    /// Longest time without a byte in either direction.
    pub idle: Duration,
    /// Longest time from the beginning of a call until its answer is written; the connection of one that takes longer than
    /// that, and at most twice as long, is cut: its client reads nothing.
    pub call: Duration,
    /// Longest life of a connection; the certificate's end cuts it shorter. To end connections gracefully, let the HTTP/2
    /// server ask its clients to leave some minutes before.
    pub age: Duration,
}

/// 5 s, 512 handshakes, 64 of them from one address, 10,000 connections, 5 min, 1 min, 1 h.
impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            handshakes: 512,
            handshakes_per_address: 64,
            connections: 10_000,
            principal: PrincipalLimits::default(),
            call_bytes: 272 * 1024,
            call: Duration::from_secs(60),
            idle: Duration::from_secs(5 * 60),
            age: Duration::from_secs(3600),
        }
    }
}

/// Connections of operators beyond all others.
const OPERATORS: usize = 16;

/// Hands out places; each is free again when it is dropped.
pub(super) struct Admission {
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// For operators, when there are no others left.
    operators: Arc<Semaphore>,
    principals: Standings,
    knocking: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_address: usize,
}

/// The place of one connection.
pub(super) struct Place {
    seat: Seat,
    _place: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn standing(&self) -> &Arc<Standing> {
        self.seat.standing()
    }
}

/// The place of one handshake.
pub(super) struct Knock {
    origin: IpAddr,
    knocking: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: &AcceptLimits) -> Self {
        let places = |wanted: usize| Arc::new(Semaphore::new(wanted.min(Semaphore::MAX_PERMITS)));
        Self {
            handshakes: places(limits.handshakes),
            connections: places(limits.connections),
            operators: places(OPERATORS),
            principals: Standings::new(limits.principal),
            knocking: Arc::default(),
            per_address: limits.handshakes_per_address,
        }
    }

    pub(super) fn knock(&self, address: IpAddr) -> Option<Knock> {
        let place = Arc::clone(&self.handshakes).try_acquire_owned().ok()?;
        let origin = origin(address);
        let mut knocking = locked(&self.knocking);
        let count = knocking.entry(origin).or_insert(0);
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Knock { origin, knocking: Arc::clone(&self.knocking), _place: place })
    }

    /// A place for one who has proved who it is, among all and among its own.
    /// Operators have a few more, so that the vault can be sealed however many programs there are.
    pub(super) fn enter(&self, principal: &Principal) -> Result<Place, Refusal> {
        let seat = self.principals.seat(&principal.id).ok_or(Refusal::TooManyOfOne)?;
        let among = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().map_err(|_| Refusal::Crowded);
        let place = match (among(&self.connections), principal.class) {
            (Err(_), Class::Operator) => among(&self.operators)?,
            (place, _) => place?,
        };
        Ok(Place { seat, _place: place })
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let mut knocking = locked(&self.knocking);
        if let Some(count) = knocking.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                knocking.remove(&self.origin);
            }
        }
    }
}

/// Each critical section leaves the map whole, so a panic elsewhere is no reason to stop counting.
fn locked(map: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom an address stands for: a household gets a whole IPv6 /64.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::from(u64::MAX))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(handshakes: usize, handshakes_per_address: usize, connections: usize) -> Admission {
        Admission::new(&AcceptLimits { handshakes, handshakes_per_address, connections, ..AcceptLimits::default() })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = admission(2, 2, 1);
        let first = admission.knock(address("192.0.2.1")).expect("free");
        let _second = admission.knock(address("192.0.2.2")).expect("free");
        assert!(admission.knock(address("192.0.2.3")).is_none());
        drop(first);
        assert!(admission.knock(address("192.0.2.3")).is_some());
        let principal = |name: &str, class| Principal { id: format!("spiffe://a.test/{name}").parse().expect("valid"), class };
        let (one, other) = (principal("one", Class::Workload), principal("other", Class::Workload));
        let inside = admission.enter(&one).expect("free");
        assert_eq!(admission.enter(&other).err(), Some(Refusal::Crowded));
        let operators: Vec<_> = (0..OPERATORS)
            .map(|number| admission.enter(&principal(&format!("person-{number}"), Class::Operator)).expect("kept for operators"))
            .collect();
        assert_eq!(admission.enter(&principal("one-more", Class::Operator)).err(), Some(Refusal::Crowded));
        drop((operators, inside));
        assert!(admission.enter(&other).is_ok());
    }

    #[test]
    fn one_origin_cannot_hold_every_place() {
        let admission = admission(100, 1, 1);
        let held = admission.knock(address("2001:db8::1")).expect("free");
        assert!(admission.knock(address("2001:db8::ffff:ffff:ffff:ffff")).is_none());
        assert!(admission.knock(address("2001:db8:0:1::1")).is_some());
        drop(held);
        let _held = admission.knock(address("192.0.2.1")).expect("free");
        assert!(admission.knock(address("::ffff:192.0.2.1")).is_none());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let admission = admission(100, 1, 1);
        drop(admission.knock(address("192.0.2.1")));
        let _held = admission.knock(address("192.0.2.2"));
        drop(admission.knock(address("192.0.2.2")));
        assert_eq!(locked(&admission.knocking).len(), 1);
    }
}
