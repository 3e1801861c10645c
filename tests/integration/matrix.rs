//! The matrix: every RPC × identity × sealed or open, against a real server. What is expected stands in one hand-written
//! table, which no code of the product feeds.

use prost::Message;
use strongroom::api::reveal_batch_result::Outcome;
use strongroom::api::{self, Method};
use strongroom::client::{Client, StateChange};
use strongroom::model::{Environment, SpiffeId};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::harness::{person, workload};
use crate::requests::Subject;
use crate::stage::{EVERYTHING, Stage, named, new_binding};
use crate::wire::{call, code};

const COLUMNS: usize = 16;

/// Who calls. Where nothing else is said, a role is held in the namespace `here`, which is what the calls are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Backend,
    Writer,
    Reader,
    Support,
    KeyAdmin,
    KeyAdminOfVault,
    AccessAdmin,
    AccessAdminOfVault,
    Auditor,
    AuditorOfVault,
    CustodianOfVault,
    ConfiguredCustodian,
    /// Holds every action but `administer`, on the vault: that reaches no secret.
    EverythingOnVault,
    /// The same in the namespace `there`.
    EverythingElsewhere,
    AccessAdminElsewhere,
    Nobody,
}

use Identity as I;

const IDENTITIES: [Identity; COLUMNS] = [
    I::Backend,
    I::Writer,
    I::Reader,
    I::Support,
    I::KeyAdmin,
    I::KeyAdminOfVault,
    I::AccessAdmin,
    I::AccessAdminOfVault,
    I::Auditor,
    I::AuditorOfVault,
    I::CustodianOfVault,
    I::ConfiguredCustodian,
    I::EverythingOnVault,
    I::EverythingElsewhere,
    I::AccessAdminElsewhere,
    I::Nobody,
];

use Code::{FailedPrecondition as P, NotFound as N, Ok as Y, PermissionDenied as D, Unavailable as U};

/// What each identity gets while the vault is open, in the order of [`IDENTITIES`]: Y it works, D it is told that it may
/// not, N it is told that there is no such thing, P that the vault is open already.
#[rustfmt::skip]
const fn expected_open(method: Method) -> [Code; COLUMNS] {
    match method {
        //                              Bac Wri Rea Sup Key KyV Acc AcV Aud AuV Cus Con EvV EvE AcE Nob
        Method::CreateSecret         => [Y,  Y,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::UpdateSecret         => [D,  Y,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::UpdateSecretMetadata => [D,  Y,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::RevealSecret         => [Y,  D,  Y,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        // Of its one item.
        Method::RevealBatch          => [Y,  D,  Y,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::DescribeSecret       => [Y,  Y,  Y,  Y,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        // Who has any right in a namespace may know that it exists.
        Method::ListSecrets          => [Y,  Y,  Y,  Y,  D,  D,  D,  D,  D,  D,  D,  N,  D,  N,  N,  N],
        Method::ListSecretVersions   => [Y,  Y,  Y,  Y,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::FindSecrets          => [Y,  Y,  Y,  Y,  D,  D,  D,  D,  D,  D,  D,  N,  D,  N,  N,  N],
        Method::WatchSecrets         => [Y,  Y,  Y,  Y,  D,  D,  D,  D,  D,  D,  D,  N,  D,  N,  N,  N],
        Method::DisableSecret        => [D,  Y,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::EnableSecret         => [D,  Y,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        // No built-in role destroys.
        Method::DestroySecret        => [D,  D,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::RestoreSecret        => [D,  D,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::PurgeSecret          => [D,  D,  D,  D,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N,  N],
        Method::CreateNamespace      => [D,  D,  D,  D,  D,  D,  D,  Y,  D,  D,  D,  D,  D,  D,  D,  D],
        Method::DescribeNamespace    => [Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  N,  Y,  N,  N,  N],
        Method::ListNamespaces       => [Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  Y,  D,  Y,  Y,  Y,  D],
        Method::CreateRole           => [D,  D,  D,  D,  D,  D,  D,  Y,  D,  D,  D,  D,  D,  D,  D,  D],
        Method::UpdateRole           => [D,  D,  D,  D,  D,  D,  D,  Y,  D,  D,  D,  D,  D,  D,  D,  D],
        Method::DeleteRole           => [D,  D,  D,  D,  D,  D,  D,  Y,  D,  D,  D,  D,  D,  D,  D,  D],
        Method::DescribeRole         => [D,  D,  D,  D,  D,  D,  D,  Y,  D,  Y,  D,  D,  Y,  D,  D,  D],
        Method::ListRoles            => [D,  D,  D,  D,  D,  D,  D,  Y,  D,  Y,  D,  D,  Y,  D,  D,  D],
        Method::CreateBinding        => [D,  D,  D,  D,  D,  D,  Y,  Y,  D,  D,  D,  N,  D,  N,  N,  N],
        // Auditors of the vault may know of a binding that they may not delete.
        Method::DeleteBinding        => [N,  N,  N,  N,  N,  N,  Y,  Y,  N,  D,  N,  N,  D,  N,  N,  N],
        // It is not suspended.
        Method::ConfirmBinding       => [N,  N,  N,  N,  N,  N,  P,  P,  N,  D,  N,  N,  D,  N,  N,  N],
        Method::ListBindings         => [D,  D,  D,  D,  D,  D,  Y,  Y,  Y,  Y,  D,  N,  Y,  N,  N,  N],
        Method::RotateKey            => [D,  D,  D,  D,  Y,  Y,  D,  D,  D,  D,  D,  N,  Y,  N,  N,  N],
        Method::StartRewrap          => [D,  D,  D,  D,  Y,  Y,  D,  D,  D,  D,  D,  N,  Y,  N,  N,  N],
        Method::PauseRewrap          => [D,  D,  D,  D,  Y,  Y,  D,  D,  D,  D,  D,  N,  Y,  N,  N,  N],
        Method::ResumeRewrap         => [D,  D,  D,  D,  Y,  Y,  D,  D,  D,  D,  D,  N,  Y,  N,  N,  N],
        Method::WatchRewrap          => [D,  D,  D,  D,  Y,  Y,  D,  D,  D,  D,  D,  N,  Y,  N,  N,  N],
        // Who rotates elsewhere is told that there is no such namespace.
        Method::ListKeys | Method::ListRewraps => [D,  D,  D,  D,  Y,  Y,  D,  D,  D,  D,  D,  D,  Y,  N,  D,  D],
        Method::CreateProposal       => [D,  D,  D,  D,  D,  Y,  D,  D,  D,  D,  D,  D,  Y,  D,  D,  D],
        Method::ApproveProposal      => [D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  D,  D,  D],
        // Of somebody else's, who cannot approve is told that it is not theirs.
        Method::WithdrawProposal     => [D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  D,  D,  D],
        Method::DescribeProposal     => [D,  D,  D,  D,  D,  Y,  D,  D,  D,  Y,  Y,  Y,  Y,  D,  D,  D],
        Method::ListProposals        => [D,  D,  D,  D,  D,  Y,  D,  D,  D,  Y,  Y,  Y,  Y,  D,  D,  D],
        Method::ListSlots            => [D,  D,  D,  D,  D,  Y,  D,  D,  D,  Y,  Y,  Y,  Y,  D,  D,  D],
        Method::TestSlot             => [D,  D,  D,  D,  D,  Y,  D,  D,  D,  D,  Y,  Y,  Y,  D,  D,  D],
        // Nobody has approved the proposal.
        Method::PresentSecret        => [D,  D,  D,  D,  D,  P,  D,  D,  D,  D,  P,  P,  P,  D,  D,  D],
        Method::CarryOutProposal     => [D,  D,  D,  D,  D,  P,  D,  D,  D,  D,  D,  D,  P,  D,  D,  D],
        Method::ForgetShares         => [D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  Y,  Y,  D,  D,  D],
        // There is no such version.
        Method::DisableKey           => [D,  D,  D,  D,  N,  N,  D,  D,  D,  D,  D,  N,  N,  N,  N,  N],
        Method::EnableKey            => [D,  D,  D,  D,  N,  N,  D,  D,  D,  D,  D,  N,  N,  N,  N,  N],
        Method::RetireKey            => [D,  D,  D,  D,  N,  N,  D,  D,  D,  D,  D,  N,  N,  N,  N,  N],
        Method::CancelKeyRetirement  => [D,  D,  D,  D,  N,  N,  D,  D,  D,  D,  D,  N,  N,  N,  N,  N],
        Method::GetKeyStatement      => [D,  D,  D,  D,  N,  N,  D,  D,  D,  D,  D,  N,  N,  N,  N,  N],
        Method::CreateBackup         => [D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  Y,  Y,  D,  D,  D],
        Method::ListBackups          => [D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  Y,  Y,  Y,  D,  D,  D],
        Method::ListRecoveryRecipients => [D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  Y,  Y,  Y,  D,  D,  D],
        Method::GetStatus            => [D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  Y,  Y,  D,  D,  D],
        Method::Unseal               => [D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  P,  P,  P,  D,  D,  D],
        Method::Seal                 => [D,  D,  D,  D,  D,  D,  D,  D,  D,  D,  Y,  Y,  Y,  D,  D,  D],
        Method::ListAuditEntries     => [D,  D,  D,  D,  D,  D,  D,  D,  Y,  Y,  D,  N,  Y,  N,  N,  N],
    }
}

/// What anybody gets while it is sealed: none but the custodians that the configuration names is known then.
const fn expected_sealed(method: Method, is_configured_custodian: bool) -> Code {
    match (method, is_configured_custodian) {
        (Method::GetStatus | Method::Unseal | Method::ForgetShares, true) => Y,
        (Method::Seal, true) => U,
        (Method::GetStatus | Method::Unseal | Method::ForgetShares | Method::Seal, false) => D,
        _ => U,
    }
}

impl Identity {
    fn id(self) -> SpiffeId {
        match self {
            Self::Backend => workload("backend"),
            Self::ConfiguredCustodian => person("cleo"),
            // Named when the vault was made.
            Self::AccessAdminOfVault => person("ben"),
            other => person(&format!("{other:?}").to_lowercase()),
        }
    }

    /// Role and namespace, none for the vault; nothing for who gets no binding here.
    fn binding(self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Self::Backend => Some(("backend", Some("here"))),
            Self::Writer => Some(("writer", Some("here"))),
            Self::Reader => Some(("reader", Some("here"))),
            Self::Support => Some(("support", Some("here"))),
            Self::KeyAdmin => Some(("key-admin", Some("here"))),
            Self::KeyAdminOfVault => Some(("key-admin", None)),
            Self::AccessAdmin => Some(("access-admin", Some("here"))),
            Self::Auditor => Some(("auditor", Some("here"))),
            Self::AuditorOfVault => Some(("auditor", None)),
            Self::CustodianOfVault => Some(("custodian", None)),
            Self::EverythingOnVault => Some(("everything", None)),
            Self::EverythingElsewhere => Some(("everything", Some("there"))),
            Self::AccessAdminElsewhere => Some(("access-admin", Some("there"))),
            Self::AccessAdminOfVault | Self::ConfiguredCustodian | Self::Nobody => None,
        }
    }
}

/// What the caller is told; of a batch, of its one item.
async fn answer(channel: &Channel, method: Method, subject: &Subject) -> Result<Vec<u8>, Status> {
    let answer = call(channel, method, subject).await?;
    if method == Method::RevealBatch {
        let mut results = api::RevealBatchResponse::decode(answer.as_slice()).expect("an answer of that RPC").results;
        if let Some(Outcome::Failure(failure)) = results.pop().expect("one for its one item").outcome {
            return Err(Status::new(failure.code.into(), failure.message));
        }
    }
    Ok(answer)
}

/// The vault with everybody in it, and who makes what the calls are about.
struct Scene {
    stage: Stage,
    owner: Client,
    subject: Subject,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::new("").await;
        for name in ["here", "there"] {
            stage.site.make_namespace(&stage.running, name, Environment::Stage).await;
        }
        let ana = stage.ana().await;
        let everything = stage.role(&[EVERYTHING]).await;
        for identity in IDENTITIES {
            if let Some((role, namespace)) = identity.binding() {
                let role = if role == "everything" { &everything } else { role };
                ana.create_binding(new_binding(role, &identity.id(), namespace)).await.expect("bound");
            }
        }
        let owner = stage.holding("here", &["describe,create,destroy:**"]).await;
        let subject = stage.subject("here", &owner).await;
        Self { stage, owner, subject }
    }

    /// What a call is about; where it changes something, that is something that nobody has touched yet.
    async fn subject(&self, method: Method) -> Subject {
        let number = self.stage.number();
        let mut subject = Subject { absent: format!("here/absent/{number}"), number, ..self.subject.clone() };
        match method {
            Method::UpdateSecret | Method::UpdateSecretMetadata | Method::DisableSecret | Method::EnableSecret | Method::DestroySecret => {
                self.renew(&mut subject).await;
            }
            Method::RestoreSecret | Method::PurgeSecret => {
                self.renew(&mut subject).await;
                self.owner.destroy_secret(StateChange::of(&named(&subject.secret))).await.expect("destroyed");
            }
            Method::UpdateRole | Method::DeleteRole => subject.role = self.stage.fresh_role(number).await,
            Method::ApproveProposal | Method::WithdrawProposal => subject.proposal = self.stage.fresh_proposal().await,
            Method::DeleteBinding => {
                let binding = self.stage.bind("support", &person(&format!("subject-{number}")), Some("here")).await;
                subject.binding = binding.binding_id.to_string();
            }
            _ => {}
        }
        subject
    }

    async fn renew(&self, subject: &mut Subject) {
        subject.secret = format!("here/merchants/{}", subject.number);
        subject.revision = self.stage.token(&self.owner, &subject.secret).await.revision;
    }

    async fn open(&self, wrong: &mut Vec<String>) {
        for (column, identity) in IDENTITIES.into_iter().enumerate() {
            let channel = self.stage.channel(&identity.id()).await;
            for method in Method::ALL.iter().copied() {
                let answer = answer(&channel, method, &self.subject(method).await).await;
                let expected = expected_open(method)[column];
                if code(&answer) != expected {
                    wrong.push(format!("open: {method:?} by {identity:?}: {answer:?}, not {expected:?}"));
                }
                if method == Method::Seal && answer.is_ok() {
                    self.stage.site.unseal(&self.stage.running).await;
                }
            }
        }
    }

    async fn sealed(&self, wrong: &mut Vec<String>) {
        let custodian = self.stage.channel(&person("cleo")).await;
        call(&custodian, Method::Seal, &self.subject).await.expect("sealed");
        for identity in IDENTITIES {
            let channel = self.stage.channel(&identity.id()).await;
            for method in Method::ALL.iter().copied() {
                let answer = answer(&channel, method, &self.subject).await;
                let expected = expected_sealed(method, identity == Identity::ConfiguredCustodian);
                if code(&answer) != expected {
                    wrong.push(format!("sealed: {method:?} by {identity:?}: {answer:?}, not {expected:?}"));
                }
                if method == Method::Unseal && answer.is_ok() {
                    call(&custodian, Method::Seal, &self.subject).await.expect("sealed again");
                }
            }
        }
    }
}

// immune: row-24
// immune: row-25
#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_everybody_is_answered_as_the_table_says() {
    let scene = Scene::set().await;
    let mut wrong = Vec::new();
    scene.open(&mut wrong).await;
    scene.sealed(&mut wrong).await;
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
