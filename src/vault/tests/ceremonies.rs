//! Shares, proposals and ceremonies.

use super::*;
use crate::model::{ProposalId, SlotId};
use crate::seal::{Header, QuorumSize, SealError};

const VAULT: WholeVault = WholeVault::VAULT;

/// Proposes changes of slots.
fn kim() -> SpiffeId {
    "spiffe://people.test/kim".parse().expect("valid")
}

/// Approves them.
fn bea() -> SpiffeId {
    "spiffe://people.test/bea".parse().expect("valid")
}

fn size(threshold: u8, shares: u8) -> QuorumSize {
    QuorumSize::new(threshold, shares).expect("within the bounds")
}

fn share(text: &str) -> SlotSecret {
    SlotSecret::Share(SecretBytes::new(text.as_bytes().to_vec()))
}

fn passphrase() -> SlotSecret {
    SlotSecret::Passphrase(SecretBytes::new(PASSPHRASE.to_vec()))
}

fn add_quorum() -> ProposedChange {
    ProposedChange::AddSlot(NewSlot::quorum(size(2, 3), Vec::new()).expect("no recipients"))
}

/// Opened by two of three shares.
async fn sealed_by_shares() -> (Fixture, Vec<String>) {
    let slot = FirstSlot::Quorum { size: size(2, 3), recipients: Vec::new() };
    Fixture::sealed_by(Arc::new(MemoryStore::new()), slot).await
}

/// A share of another vault of the same shape, which its own checksum calls right, with the ids of this one: a wrong share.
async fn wrong_share(fixture: &Fixture, number: usize) -> String {
    let header = fixture.header().await;
    let slot = header.slots().next().expect("a slot").id;
    crate::seal::forged_share(header.vault_id(), slot, u8::try_from(number).expect("16 at most"))
}

impl Fixture {
    /// Open, with a passphrase slot, `kim` who proposes and `bea` who approves.
    async fn staffed() -> Self {
        let fixture = Self::open().await;
        fixture.bind("key-admin", kim(), None).await.expect("bound");
        fixture.bind("approver", bea(), None).await.expect("bound");
        fixture
    }

    async fn header(&self) -> Header {
        let rows = self.rows("H").await;
        Header::decode(&rows[0].1.value).expect("a header")
    }

    async fn propose(&self, who: SpiffeId, change: ProposedChange) -> Result<ProposalInfo, Error> {
        let draft = ProposalDraft { change, reason: Text::parse("as agreed").expect("valid"), expires: None };
        self.propose_as(who, draft, None).await
    }

    async fn propose_as(&self, who: SpiffeId, draft: ProposalDraft, id: Option<&str>) -> Result<ProposalInfo, Error> {
        self.run_as(who, Method::CreateProposal, VAULT, id, |vault, permit| async move { vault.open()?.propose(permit, draft).await }).await
    }

    async fn approve(&self, who: SpiffeId, id: ProposalId) -> Result<ProposalInfo, Error> {
        self.run(who, Method::ApproveProposal, VAULT, move |vault, permit| async move { vault.open()?.approve(permit, id).await }).await
    }

    async fn withdraw(&self, who: SpiffeId, id: ProposalId) -> Result<ProposalInfo, Error> {
        self.run(who, Method::WithdrawProposal, VAULT, move |vault, permit| async move { vault.open()?.withdraw(permit, id).await }).await
    }

    async fn describe_proposal(&self, id: ProposalId) -> Result<ProposalInfo, Error> {
        let described = self.run(kim(), Method::DescribeProposal, VAULT, move |vault, permit| async move {
            vault.open()?.describe_proposal(permit, id).await
        });
        described.await
    }

    async fn present(&self, who: SpiffeId, id: ProposalId, secret: SlotSecret) -> Result<Presented, Error> {
        self.run(who, Method::PresentSecret, VAULT, move |vault, permit| async move { vault.present(permit, id, secret).await }).await
    }

    async fn carry_out(&self, who: SpiffeId, id: ProposalId, new: Option<&str>) -> Result<CarriedOut, Error> {
        let new = new.map(|text| SecretBytes::new(text.as_bytes().to_vec()));
        self.run(who, Method::CarryOutProposal, VAULT, move |vault, permit| async move { vault.carry_out(permit, id, new).await }).await
    }

    async fn test_slot(&self, who: SpiffeId, secret: SlotSecret) -> Result<Tried, Error> {
        self.run(who, Method::TestSlot, VAULT, |vault, permit| async move { vault.test_slot(permit, secret).await }).await
    }

    async fn slots(&self) -> Vec<SlotDetails> {
        self.run(kim(), Method::ListSlots, VAULT, |vault, permit| async move { vault.list_slots(permit).await }).await.expect("listed")
    }

    /// Proposed by `kim`, approved by `bea`, the passphrase brought.
    async fn ready(&self, change: ProposedChange) -> ProposalId {
        let id = self.propose(kim(), change).await.expect("proposed").id;
        self.approve(bea(), id).await.expect("approved");
        self.present(kim(), id, passphrase()).await.expect("presented");
        id
    }

    /// A quorum slot of two of three shares, and their texts.
    async fn add_quorum(&self) -> (SlotId, Vec<String>) {
        let done = self.carry_out(kim(), self.ready(add_quorum()).await, None).await.expect("carried out");
        let texts = done.shares.into_iter().map(|share| String::from_utf8(share.text.into_exposed()).expect("text")).collect();
        (done.slot.expect("a slot").info.id, texts)
    }

    async fn seal(&self) {
        self.run(ana(), Method::Seal, VAULT, |vault, permit| async move { vault.seal(permit).await }).await.expect("sealed");
    }

    /// The entries of the audit log.
    async fn log(&self) -> String {
        self.audit.append(crate::audit::Draft::new(crate::audit::Event::System, "mark")).await.expect("written");
        let folder = self._folder.path().join("audit");
        let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()).collect()
    }
}

#[tokio::test]
async fn custodians_open_the_vault_one_share_after_the_other() {
    let (fixture, shares) = sealed_by_shares().await;
    assert_eq!(shares.len(), 3);
    let Unsealing::Waiting(progress) = fixture.give(ben(), share(&shares[2])).await.expect("taken") else { panic!("one is not enough") };
    assert_eq!((progress.threshold, progress.shares, progress.given), (2, 3, 1));
    // The same one again changes nothing, whoever gives it.
    let Unsealing::Waiting(again) = fixture.give(ana(), share(&shares[2])).await.expect("taken") else { panic!("still one") };
    assert_eq!(again.given, 1);
    assert_eq!(fixture.vault.unsealing().len(), 1);
    assert_eq!(fixture.give(cleo(), share(&shares[0])).await.expect("opened"), Unsealing::Open(fixture.pins.vault_id));
    assert!(fixture.vault.is_open() && fixture.vault.unsealing().is_empty());
    let log = fixture.log().await;
    assert!(log.contains("spiffe://people.test/ben #3, spiffe://people.test/cleo #1"), "{log}");
    assert!(shares.iter().all(|text| !log.contains(&text[20..40])));
}

// immune: row-31
#[tokio::test]
async fn wrong_shares_fail_together_and_their_givers_are_named() {
    let (fixture, shares) = sealed_by_shares().await;
    let wrong = wrong_share(&fixture, 1).await;
    for round in 1..=3 {
        fixture.give(cleo(), share(&wrong)).await.expect("nothing tells that it is wrong");
        let error = fixture.give(ben(), share(&shares[1])).await.expect_err("one of them is wrong");
        assert!(matches!(&error, Error::Quorum { why: SealError::QuorumFailed, .. }), "{error:?}");
        assert!(!fixture.vault.is_open() && fixture.vault.unsealing().is_empty(), "all are forgotten");
        let log = fixture.log().await;
        let named =
            if round == 1 { "spiffe://people.test/cleo #1,".to_owned() } else { format!("cleo #1 ({round} failed rounds in a row)") };
        assert!(log.contains(&named), "{log}");
    }
    // Whoever is not among the wrong ones opens it with somebody else.
    fixture.give(ben(), share(&shares[1])).await.expect("taken");
    fixture.give(ana(), share(&shares[2])).await.expect("opened");
    assert!(fixture.vault.is_open());
}

#[tokio::test]
async fn a_share_that_belongs_elsewhere_leaves_those_that_were_given() {
    let (fixture, shares) = sealed_by_shares().await;
    let (_, others) = sealed_by_shares().await;
    fixture.give(ben(), share(&shares[0])).await.expect("taken");
    let wrong = wrong_share(&fixture, 1).await;
    for text in [others[1].as_str(), "srshare1", "", &wrong, &shares[1][..87], &shares[1].replace('q', "p")] {
        let error = fixture.give(cleo(), share(text)).await.expect_err("refused");
        assert!(matches!(error, Error::Seal(SealError::Share(_))), "{error:?}");
        assert_eq!(fixture.vault.unsealing()[0].given, 1);
    }
    fixture
        .give(cleo(), share(&format!(" {}\n{} ", &shares[1][..40], &shares[1][40..]).to_uppercase()))
        .await
        .expect("blanks do not count");
    assert!(fixture.vault.is_open());
}

#[tokio::test]
async fn shares_are_forgotten_when_somebody_says_so_and_when_a_passphrase_opens_the_vault() {
    let (fixture, shares) = sealed_by_shares().await;
    fixture.give(ben(), share(&shares[0])).await.expect("taken");
    let forgotten = fixture.run(cleo(), Method::ForgetShares, VAULT, |vault, permit| async move { Ok(vault.forget_shares(permit)) }).await;
    assert_eq!(forgotten.expect("forgotten"), 1);
    assert!(fixture.vault.unsealing().is_empty());
    let Unsealing::Waiting(progress) = fixture.give(ben(), share(&shares[1])).await.expect("taken") else { panic!("it begins anew") };
    assert_eq!(progress.given, 1);

    let fixture = Fixture::staffed().await;
    let (_, shares) = fixture.add_quorum().await;
    assert!(fixture.vault.shut().await);
    fixture.give(ben(), share(&shares[0])).await.expect("taken");
    assert_eq!(fixture.vault.unsealing().len(), 1);
    fixture.unseal().await.expect("opened");
    assert!(fixture.vault.unsealing().is_empty());
}

#[tokio::test]
async fn one_person_is_one_vote_and_never_the_proposers_own() {
    let fixture = Fixture::staffed().await;
    fixture.bind("approver", kim(), None).await.expect("bound");
    let id = fixture.propose(kim(), add_quorum()).await.expect("proposed").id;
    // immune: row-26
    assert!(matches!(fixture.approve(kim(), id).await, Err(Error::OwnProposal)));
    assert_eq!(fixture.describe_proposal(id).await.expect("there").state, ProposalState::Open);
    fixture.approve(bea(), id).await.expect("approved");
    let twice = fixture.approve(bea(), id).await.expect("nothing changes");
    assert_eq!((twice.votes.len(), twice.state), (1, ProposalState::Approved));
}

#[tokio::test]
async fn a_vote_counts_as_long_as_its_holder_may_approve() {
    let fixture = Fixture::staffed().await;
    let binding = fixture.bind("approver", cleo(), None).await.expect("bound").binding.id;
    let id = fixture.propose(kim(), add_quorum()).await.expect("proposed").id;
    assert_eq!(fixture.approve(cleo(), id).await.expect("approved").state, ProposalState::Approved);
    fixture.present(kim(), id, passphrase()).await.expect("presented");
    fixture.unbind(ben(), binding).await.expect("unbound");
    assert_eq!(fixture.describe_proposal(id).await.expect("there").state, ProposalState::Open);
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::State(_))));
    assert_eq!(fixture.slots().await.len(), 1);
}

#[tokio::test]
async fn nothing_is_carried_out_unapproved_unopened_by_others_twice_or_late() {
    let fixture = Fixture::staffed().await;
    fixture.bind("key-admin", cleo(), None).await.expect("bound");
    let id = fixture.propose(kim(), add_quorum()).await.expect("proposed").id;
    assert!(matches!(fixture.present(kim(), id, passphrase()).await, Err(Error::State(_))), "not approved");
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::State(_))), "not approved");
    fixture.approve(bea(), id).await.expect("approved");
    let missing = fixture.carry_out(kim(), id, None).await.expect_err("nothing is open");
    assert!(matches!(&missing, Error::SlotsMissing(slots) if slots.len() == 1), "{missing:?}");
    let wrong = SlotSecret::Passphrase(SecretBytes::new(b"wrong horse battery staple".to_vec()));
    assert!(matches!(fixture.present(kim(), id, wrong).await, Err(Error::Seal(SealError::NoSlotOpens))));
    let presented = fixture.present(kim(), id, passphrase()).await.expect("presented");
    assert!(presented.missing.is_empty());
    assert!(matches!(fixture.carry_out(cleo(), id, None).await, Err(Error::NotYours)));
    assert!(matches!(fixture.carry_out(kim(), id, Some("a passphrase of nothing")).await, Err(Error::Invalid { .. })));
    assert_eq!(fixture.carry_out(kim(), id, None).await.expect("carried out").shares.len(), 3);
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::State(_))), "once");
    assert_eq!(fixture.slots().await.len(), 2);

    // What was opened for one proposal serves no other.
    fixture.ready(add_quorum()).await;
    let other = fixture.propose(kim(), add_quorum()).await.expect("proposed").id;
    fixture.approve(bea(), other).await.expect("approved");
    assert!(matches!(fixture.carry_out(kim(), other, None).await, Err(Error::SlotsMissing(_))));
    fixture.present(kim(), other, passphrase()).await.expect("presented");
    fixture.clock.ahead_ms.store(24 * 3_600_000, Ordering::SeqCst);
    assert!(matches!(fixture.carry_out(kim(), other, None).await, Err(Error::State(_))), "expired");
    assert_eq!(fixture.describe_proposal(other).await.expect("there").state, ProposalState::Expired);
}

#[tokio::test]
async fn proposals_end_and_are_bounded() {
    let fixture = Fixture::staffed().await;
    let draft = |expires| ProposalDraft { change: add_quorum(), reason: Text::parse("as agreed").expect("valid"), expires };
    let now = SystemClock.now();
    for absurd in [now, now.plus(Duration::from_secs(7 * 24 * 3600 + 60))] {
        assert!(matches!(fixture.propose_as(kim(), draft(Some(absurd)), None).await, Err(Error::Invalid { field: "expire_time", .. })));
    }
    let id = fixture.propose_as(kim(), draft(Some(now.plus(Duration::from_secs(6 * 24 * 3600)))), Some("one")).await.expect("proposed").id;
    assert_eq!(fixture.propose_as(kim(), draft(None), Some("one")).await.expect("the same").id, id, "a retry");
    let mut other = draft(None);
    other.change = ProposedChange::ReplaceRootKey { dropped: Vec::new() };
    assert!(matches!(fixture.propose_as(kim(), other, Some("one")).await, Err(Error::Exists)));

    fixture.bind("key-admin", cleo(), None).await.expect("bound");
    assert!(matches!(fixture.withdraw(cleo(), id).await, Err(Error::NotYours)));
    assert_eq!(fixture.withdraw(bea(), id).await.expect("who may approve may end").state, ProposalState::Withdrawn);
    assert!(matches!(fixture.approve(bea(), id).await, Err(Error::State(_))));
    assert!(matches!(fixture.withdraw(kim(), id).await, Err(Error::State(_))));
    assert!(matches!(fixture.describe_proposal(ProposalId::from_bytes([7; 16])).await, Err(Error::Absent(_))));

    for _ in 0..100 {
        fixture.propose(kim(), add_quorum()).await.expect("up to 100 wait");
    }
    assert!(matches!(fixture.propose(kim(), add_quorum()).await, Err(Error::State(_))));
    fixture.clock.ahead_ms.store(92 * 24 * 3_600_000, Ordering::SeqCst);
    fixture.vault.open().expect("open").forget_old_proposals(fixture.clock.now()).await.expect("forgotten");
    assert!(fixture.rows("q").await.is_empty(), "90 days after their end");
}

#[tokio::test]
async fn new_shares_open_the_vault_and_count_once_they_did() {
    let fixture = Fixture::staffed().await;
    let (slot, shares) = fixture.add_quorum().await;
    let first = fixture.slots().await[0].clone();
    assert!(first.last_opened.is_some(), "it opened the vault");
    assert!(fixture.slots().await[1].last_opened.is_none());

    // The old way goes only when the new one is known to work.
    let early = fixture.ready(ProposedChange::RemoveSlot(first.info.id)).await;
    let refused = fixture.carry_out(kim(), early, None).await.expect_err("the new one never opened");
    assert!(matches!(refused, Error::State(why) if why.contains("known to work")), "{refused:?}");
    assert!(matches!(fixture.test_slot(kim(), share(&shares[0])).await.expect("taken"), Tried::Waiting(_)));
    let Tried::Opened(tested) = fixture.test_slot(cleo(), share(&shares[2])).await.expect("opens") else { panic!("two are enough") };
    assert_eq!((tested.info.id, tested.last_opened.expect("now").1), (slot, cleo().to_string()));
    fixture.carry_out(kim(), early, None).await.expect("carried out");
    assert_eq!(fixture.slots().await.iter().map(|slot| slot.info.id).collect::<Vec<_>>(), [slot]);
    assert_eq!(fixture.rows("u").await.len(), 1, "what is known of the removed slot goes with it");

    fixture.seal().await;
    assert!(matches!(fixture.unseal().await, Err(Error::Seal(SealError::NoSlotOpens))));
    fixture.give(ben(), share(&shares[0])).await.expect("taken");
    fixture.give(cleo(), share(&shares[1])).await.expect("opened");
    assert!(fixture.vault.is_open());
}

#[tokio::test]
async fn the_last_slot_stays() {
    let fixture = Fixture::staffed().await;
    let only = fixture.slots().await[0].info.id;
    let id = fixture.ready(ProposedChange::RemoveSlot(only)).await;
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::State(_))));
    let id = fixture.ready(ProposedChange::RemoveSlot(SlotId::from_bytes([7; 16]))).await;
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::Seal(SealError::NoSuchSlot(_)))));
    let id = fixture.propose(kim(), ProposedChange::ReplaceRootKey { dropped: vec![only] }).await.expect("proposed").id;
    fixture.approve(bea(), id).await.expect("approved");
    fixture.present(kim(), id, passphrase()).await.expect("presented");
    let left = fixture.carry_out(kim(), id, None).await;
    assert!(matches!(left, Err(Error::Seal(SealError::LastSlot))), "none would be left: {left:?}");
    assert_eq!(fixture.slots().await.len(), 1);
}

#[tokio::test]
async fn a_passphrase_slot_is_added_with_its_passphrase() {
    let fixture = Fixture::staffed().await;
    let id = fixture.ready(ProposedChange::AddSlot(NewSlot::Passphrase)).await;
    for bad in [None, Some("too short"), Some("")] {
        assert!(matches!(fixture.carry_out(kim(), id, bad).await, Err(Error::Invalid { field: "new_passphrase", .. })), "{bad:?}");
    }
    fixture.carry_out(kim(), id, Some("another horse, another battery")).await.expect("carried out");
    let new = SlotSecret::Passphrase(SecretBytes::new(b"another horse, another battery".to_vec()));
    fixture.seal().await;
    assert!(matches!(fixture.give(ana(), new).await, Ok(Unsealing::Open(_))));
}

#[tokio::test]
async fn a_new_root_key_takes_every_slot_along_that_was_opened() {
    let fixture = Fixture::staffed().await;
    let (slot, shares) = fixture.add_quorum().await;
    fixture.create("shop/token", "STAGE_1", None).await.expect("created");
    let before = fixture.header().await;
    let id = fixture.propose(kim(), ProposedChange::ReplaceRootKey { dropped: Vec::new() }).await.expect("proposed").id;
    fixture.approve(bea(), id).await.expect("approved");
    let presented = fixture.present(kim(), id, passphrase()).await.expect("presented");
    assert_eq!(presented.missing, [slot]);
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::SlotsMissing(slots)) if slots == [slot]));
    assert_eq!(fixture.present(ben(), id, share(&shares[0])).await.expect("taken").missing, [slot]);
    assert!(fixture.present(cleo(), id, share(&shares[1])).await.expect("opened").missing.is_empty());
    fixture.carry_out(kim(), id, None).await.expect("carried out");
    let after = fixture.header().await;
    assert_ne!(before.encode(), after.encode());
    assert_eq!(fixture.reveal("shop/token").await.expect("served throughout"), "STAGE_1");

    // Both ways lead to the new key, and the old header is not what they authenticate.
    fixture.seal().await;
    fixture.unseal().await.expect("the passphrase is the same");
    fixture.seal().await;
    fixture.give(ben(), share(&shares[2])).await.expect("taken");
    fixture.give(cleo(), share(&shares[0])).await.expect("opened");
    assert_eq!(fixture.reveal("shop/token").await.expect("there"), "STAGE_1");
}

#[tokio::test]
async fn a_new_root_key_drops_the_slots_that_are_named() {
    let fixture = Fixture::staffed().await;
    let (slot, shares) = fixture.add_quorum().await;
    let id = fixture.ready(ProposedChange::ReplaceRootKey { dropped: vec![slot] }).await;
    fixture.carry_out(kim(), id, None).await.expect("carried out");
    assert_eq!(fixture.slots().await.len(), 1);
    fixture.seal().await;
    let gone = fixture.give(ben(), share(&shares[0])).await.expect_err("its slot is gone");
    assert!(matches!(gone, Error::Seal(SealError::Share(_))), "{gone:?}");
    fixture.unseal().await.expect("opened");
}

#[tokio::test]
async fn shares_for_recipients_can_be_read_by_them_alone() {
    let fixture = Fixture::staffed().await;
    let identities: Vec<_> = (0..3).map(|_| age::x25519::Identity::generate()).collect();
    let recipients: Vec<_> = identities.iter().map(|identity| identity.to_public().to_string().parse().expect("a recipient")).collect();
    assert!(NewSlot::quorum(size(2, 3), recipients[..2].to_vec()).is_err(), "one is missing");
    assert!(NewSlot::quorum(size(2, 3), vec![recipients[0].clone(), recipients[1].clone(), recipients[0].clone()]).is_err(), "one twice");
    let new = NewSlot::quorum(size(2, 3), recipients).expect("one for each");
    let done = fixture.carry_out(kim(), fixture.ready(ProposedChange::AddSlot(new)).await, None).await.expect("carried out");
    let opened: Vec<_> = done.shares.iter().zip(&identities).map(|(share, identity)| age::decrypt(identity, share.text.expose())).collect();
    assert!(age::decrypt(&identities[1], done.shares[0].text.expose()).is_err());
    for text in &opened[..2] {
        let text = String::from_utf8(text.clone().expect("its own")).expect("text");
        fixture.test_slot(cleo(), share(&text)).await.expect("a share");
    }
    assert!(fixture.slots().await[1].last_opened.is_some());
}

/// Whether the commit happened or not, and whoever else wrote meanwhile: one of the two headers is whole, and the vault opens.
#[tokio::test]
async fn a_ceremony_whose_commit_is_in_doubt_leaves_a_vault_that_opens() {
    let store = Arc::new(UnsteadyStore::default());
    let fixture = Fixture::open_over(store.clone()).await;
    fixture.bind("key-admin", kim(), None).await.expect("bound");
    fixture.bind("approver", bea(), None).await.expect("bound");
    let id = fixture.ready(ProposedChange::ReplaceRootKey { dropped: Vec::new() }).await;
    store.is_in_doubt.store(true, Ordering::SeqCst);
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::Unknown)));
    assert_eq!(fixture.describe_proposal(id).await.expect("there").state, ProposalState::CarriedOut, "it happened");
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::State(_))));
    fixture.seal().await;
    fixture.unseal().await.expect("opened");
}

#[tokio::test]
async fn a_generator_that_fails_changes_nothing_and_what_was_opened_stays() {
    let fixture = Fixture::staffed().await;
    let id = fixture.ready(add_quorum()).await;
    let before = fixture.header().await.encode();
    fixture.random.is_broken.store(true, Ordering::SeqCst);
    assert!(fixture.carry_out(kim(), id, None).await.is_err());
    fixture.random.is_broken.store(false, Ordering::SeqCst);
    assert_eq!(fixture.header().await.encode(), before);
    fixture.carry_out(kim(), id, None).await.expect("without presenting anything again");
}

#[tokio::test]
async fn a_seal_forgets_what_was_opened_for_a_ceremony() {
    let fixture = Fixture::staffed().await;
    let id = fixture.ready(add_quorum()).await;
    fixture.seal().await;
    fixture.unseal().await.expect("opened");
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::SlotsMissing(_))));
}

#[tokio::test]
async fn workloads_neither_propose_nor_approve() {
    let fixture = Fixture::staffed().await;
    fixture.bind_on_the_vault("key-admin").await.expect("bound");
    fixture.bind_on_the_vault("approver").await.expect("bound");
    let id = fixture.propose(kim(), add_quorum()).await.expect("proposed").id;
    for (method, what) in
        [(Method::ApproveProposal, "approve"), (Method::WithdrawProposal, "withdraw"), (Method::CreateProposal, "propose")]
    {
        let call = Call::new(method, peer(&owner()));
        let answer = fixture.gate.run(call, VAULT, |_| async { Ok::<_, Error>(Unreleased::new(())) }).await;
        assert!(matches!(answer, Err(Refusal::PeopleOnly)), "{what}");
    }
    assert_eq!(fixture.describe_proposal(id).await.expect("there").state, ProposalState::Open);
}

/// Whom backups are encrypted to is decided by two, and nothing is opened for it.
#[tokio::test]
async fn recovery_recipients_are_enrolled_and_removed_by_two_people() {
    let fixture = Fixture::staffed().await;
    let recipient: crate::crypto::Recipient = age::x25519::Identity::generate().to_public().to_string().parse().expect("a recipient");
    let new = NewRecipient { name: Text::parse("a second safe").expect("valid"), recipient: recipient.clone() };
    let enrolled = async || fixture.vault.open().expect("open").recovery_recipients().await.expect("listed");
    let before = enrolled().await.len();
    let id = fixture.propose(kim(), ProposedChange::EnrolRecipient(new.clone())).await.expect("proposed").id;
    assert!(matches!(fixture.carry_out(kim(), id, None).await, Err(Error::State(_))), "not approved");
    assert_eq!(enrolled().await.len(), before);
    fixture.approve(bea(), id).await.expect("approved");
    assert_eq!(fixture.carry_out(kim(), id, None).await.expect("carried out").proposal.state, ProposalState::CarriedOut);
    let found = enrolled().await.into_iter().find(|one| one.recipient == recipient).expect("enrolled");
    assert_eq!((found.name.as_str(), found.enrolled_by), ("a second safe", kim().to_string()));

    let again = fixture.propose(kim(), ProposedChange::EnrolRecipient(new)).await.expect("proposed").id;
    fixture.approve(bea(), again).await.expect("approved");
    assert!(matches!(fixture.carry_out(kim(), again, None).await, Err(Error::Exists)));
    let removal = fixture.propose(kim(), ProposedChange::RemoveRecipient(recipient)).await.expect("proposed").id;
    fixture.approve(bea(), removal).await.expect("approved");
    fixture.carry_out(kim(), removal, None).await.expect("carried out");
    assert_eq!(enrolled().await.len(), before);
}
