//! Shares that custodians have given towards a slot, and who gave which.
//!
//! What has been given says nothing of whether it is right before there is enough of it (`seal::Quorum`). Custodians who take part in
//! rounds that fail are named: which of them gave the wrong share cannot be known from one round, and after a few it shows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::{SlotId, SpiffeId};
use crate::seal::{Added, Header, OpenSlot, Quorum, Share};

use super::Error;

/// How long shares wait for the next one.
pub(super) const SHARES_WAIT: Duration = Duration::from_secs(15 * 60);

/// How far a slot's shares have come: nothing that tells whether they are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumProgress {
    /// The slot.
    pub slot: SlotId,
    /// How many shares open it.
    pub threshold: u8,
    /// How many there are.
    pub shares: u8,
    /// How many different ones were given.
    pub given: u8,
    /// When they are forgotten, if no other is given before.
    pub forgotten_in: Duration,
}

/// Shares by slot. Wiped when dropped.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    rounds: Vec<Round>,
    failures: HashMap<SpiffeId, u32>,
}

/// What was given for one slot since it last opened, failed or was forgotten.
#[derive(Debug)]
struct Round {
    quorum: Quorum,
    givers: Vec<(u8, SpiffeId)>,
    until: Instant,
}

/// What came of a share.
#[derive(Debug)]
pub(super) enum Gathered {
    /// More are needed.
    Waiting(QuorumProgress),
    /// The slot is open; who opened it, in words for the audit log.
    Open(OpenSlot, String),
}

impl Gathering {
    /// Takes a share of somebody's.
    ///
    /// # Errors
    /// [`Error::Seal`]: it does not belong here, and nothing changed. [`Error::Quorum`]: it was the last one needed, and the slot did
    /// not open; all are forgotten.
    pub(super) fn add(&mut self, header: &Header, share: Share, by: &SpiffeId, now: Instant) -> Result<Gathered, Error> {
        self.forget_stale(now);
        let index = share.index();
        let mut round = self.take_round(header, &share, now)?;
        match round.quorum.add(header, share) {
            Ok(Added::Open(open)) => {
                round.note(index, by);
                self.failures.retain(|giver, _| !round.givers.iter().any(|(_, opened)| opened == giver));
                Ok(Gathered::Open(open, round.named(&HashMap::new())))
            }
            Ok(Added::Waiting) => {
                round.note(index, by);
                round.until = now + SHARES_WAIT;
                Ok(Gathered::Waiting(self.keep(round, now)))
            }
            Ok(Added::Repeated) => Ok(Gathered::Waiting(self.keep(round, now))),
            Err(why) if round.quorum.present() == 0 && !round.givers.is_empty() => {
                round.note(index, by);
                let mut givers: Vec<_> = round.givers.iter().map(|(_, giver)| giver.clone()).collect();
                givers.sort();
                givers.dedup();
                givers.into_iter().for_each(|giver| *self.failures.entry(giver).or_default() += 1);
                Err(Error::Quorum { why, custodians: round.named(&self.failures) })
            }
            Err(why) => {
                if round.quorum.present() > 0 {
                    self.rounds.push(round);
                }
                Err(why.into())
            }
        }
    }

    /// Forgets every share; says of how many.
    pub(super) fn forget(&mut self) -> usize {
        self.rounds.drain(..).map(|round| round.quorum.present()).sum()
    }

    /// Forgets those that have waited too long.
    pub(super) fn forget_stale(&mut self, now: Instant) {
        self.rounds.retain(|round| round.until > now);
    }

    /// How far each slot's shares have come.
    pub(super) fn progress(&self, now: Instant) -> Vec<QuorumProgress> {
        self.rounds.iter().filter(|round| round.until > now).map(|round| round.progress(now)).collect()
    }

    /// The round that the share belongs to, or a new one. While it is out, it is not among the others.
    fn take_round(&mut self, header: &Header, share: &Share, now: Instant) -> Result<Round, Error> {
        let fresh = header.quorum_of(share)?;
        match self.rounds.iter().position(|round| round.quorum.slot() == fresh.slot() && round.quorum.size() == fresh.size()) {
            Some(position) => Ok(self.rounds.swap_remove(position)),
            None => Ok(Round { quorum: fresh, givers: Vec::new(), until: now + SHARES_WAIT }),
        }
    }

    fn keep(&mut self, round: Round, now: Instant) -> QuorumProgress {
        let progress = round.progress(now);
        self.rounds.push(round);
        progress
    }
}

impl Round {
    fn note(&mut self, index: u8, by: &SpiffeId) {
        self.givers.push((index, by.clone()));
    }

    fn progress(&self, now: Instant) -> QuorumProgress {
        let size = self.quorum.size();
        QuorumProgress {
            slot: self.quorum.slot(),
            threshold: size.threshold(),
            shares: size.shares(),
            given: u8::try_from(self.quorum.present()).expect("a quorum has 16 shares at most"),
            forgotten_in: self.until.saturating_duration_since(now),
        }
    }

    /// `spiffe://…/ana #1, spiffe://…/ben #4 (3 failed rounds in a row)`.
    fn named(&self, failures: &HashMap<SpiffeId, u32>) -> String {
        let one = |(index, giver): &(u8, SpiffeId)| match failures.get(giver) {
            Some(rounds) if *rounds > 1 => format!("{giver} #{index} ({rounds} failed rounds in a row)"),
            _ => format!("{giver} #{index}"),
        };
        self.givers.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{QuorumSize, SystemRandom};
    use crate::model::{Timestamp, VaultId};
    use crate::seal::NewHeader;

    #[test]
    fn a_share_waits_a_quarter_of_an_hour_for_the_next() {
        let made = Timestamp::from_unix_ms(0).expect("the first");
        let (vault, size) = (VaultId::from_bytes([1; 16]), QuorumSize::new(3, 3).expect("within the bounds"));
        let NewHeader { header, mut shares, .. } = Header::create_with_quorum(vault, size, &SystemRandom::new(), made).expect("made");
        let ben: SpiffeId = "spiffe://people.test/ben".parse().expect("valid");
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let end = begin + Duration::from_secs(900);
        let mut given = Gathering::default();
        given.add(&header, shares.remove(0), &ben, begin).expect("taken");
        given.forget_stale(end - second);
        assert_eq!(given.progress(end - second)[0].forgotten_in, second);
        assert!(given.progress(end).is_empty());
        // The next one, a moment too late, is the first of a new round, and waits as long again.
        let Gathered::Waiting(progress) = given.add(&header, shares.remove(0), &ben, end).expect("taken") else { panic!("one of three") };
        assert_eq!((progress.given, progress.forgotten_in), (1, Duration::from_secs(900)));
        given.forget_stale(end + Duration::from_secs(900));
        assert_eq!(given.forget(), 0);
    }
}
