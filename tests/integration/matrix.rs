//! The matrix: every RPC × identity × sealed or open, against a real server. What is expected stands in one hand-written
//! table, which no code of the product feeds.

use strongroom::api::access_service_client::AccessServiceClient;
use strongroom::api::secret_service_client::SecretServiceClient;
use strongroom::api::{self, Method};
use strongroom::model::{Environment, SpiffeId};
use tonic::Code;
use tonic::transport::Channel;

use crate::harness::{Running, Site, person, workload};
use crate::wire::{Subject, call, channel};

/// Who calls. Each role is held in the namespace `here`, but for what counts on the vault alone.
const IDENTITIES: [Identity; 14] = [
    Identity::Backend,
    Identity::Writer,
    Identity::Reader,
    Identity::Support,
    Identity::KeyAdmin,
    Identity::KeyAdminOfVault,
    Identity::AccessAdmin,
    Identity::AccessAdminOfVault,
    Identity::Auditor,
    Identity::AuditorOfVault,
    Identity::Custodian,
    Identity::ConfiguredCustodian,
    Identity::ReaderElsewhere,
    Identity::Nobody,
];

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
    Custodian,
    ConfiguredCustodian,
    ReaderElsewhere,
    Nobody,
}

impl Identity {
    fn id(self) -> SpiffeId {
        match self {
            Self::Backend => workload("backend"),
            Self::ConfiguredCustodian => person("cleo"),
            Self::AccessAdminOfVault => person("ben"),
            other => person(&format!("{other:?}").to_lowercase()),
        }
    }

    /// Role and namespace; none for the vault. Nothing for who needs no binding, or gets none.
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
            Self::Custodian => Some(("custodian", None)),
            Self::ReaderElsewhere => Some(("reader", Some("there"))),
            Self::AccessAdminOfVault | Self::ConfiguredCustodian | Self::Nobody => None,
        }
    }
}

use Code::{NotFound as N, Ok as Y, PermissionDenied as D};

/// What each identity gets while the vault is open, in the order of [`IDENTITIES`]: Y it works, D it is told that it may
/// not, N it is told that there is no such thing.
#[rustfmt::skip]
const fn expected_open(method: Method) -> [Code; 14] {
    match method {
        //                              back wri  rea  sup  key  keyV acc  accV aud  audV cus  conf else nobody
        Method::CreateSecret         => [Y,  Y,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::UpdateSecret         => [D,  Y,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::UpdateSecretMetadata => [D,  Y,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::RevealSecret         => [Y,  D,   Y,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::DescribeSecret       => [Y,  Y,   Y,   Y,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::ListSecrets          => [Y,  Y,   Y,   Y,   D,   D,   D,   D,   D,   D,   D,   N,   N,   N],
        Method::ListSecretVersions   => [Y,  Y,   Y,   Y,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::FindSecrets          => [Y,  Y,   Y,   Y,   D,   D,   D,   D,   D,   D,   D,   N,   N,   N],
        Method::DisableSecret        => [D,  Y,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::EnableSecret         => [D,  Y,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        // No built-in role destroys.
        Method::DestroySecret        => [D,  D,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::RestoreSecret        => [D,  D,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::PurgeSecret          => [D,  D,   D,   D,   N,   N,   N,   N,   N,   N,   N,   N,   N,   N],
        Method::CreateNamespace      => [D,  D,   D,   D,   D,   D,   D,   Y,   D,   D,   D,   D,   D,   D],
        Method::DescribeNamespace    => [Y,  Y,   Y,   Y,   Y,   Y,   Y,   Y,   Y,   Y,   Y,   N,   N,   N],
        Method::ListNamespaces       => [Y,  Y,   Y,   Y,   Y,   Y,   Y,   Y,   Y,   Y,   Y,   D,   Y,   D],
        Method::CreateRole           => [D,  D,   D,   D,   D,   D,   D,   Y,   D,   D,   D,   D,   D,   D],
        Method::UpdateRole           => [D,  D,   D,   D,   D,   D,   D,   Y,   D,   D,   D,   D,   D,   D],
        Method::DeleteRole           => [D,  D,   D,   D,   D,   D,   D,   Y,   D,   D,   D,   D,   D,   D],
        Method::DescribeRole         => [D,  D,   D,   D,   D,   D,   D,   Y,   D,   Y,   D,   D,   D,   D],
        Method::ListRoles            => [D,  D,   D,   D,   D,   D,   D,   Y,   D,   Y,   D,   D,   D,   D],
        Method::CreateBinding        => [D,  D,   D,   D,   D,   D,   Y,   Y,   D,   D,   D,   N,   N,   N],
        // A binding is visible to auditors of the vault, who may not delete it.
        Method::DeleteBinding        => [N,  N,   N,   N,   N,   N,   Y,   Y,   N,   D,   N,   N,   N,   N],
        Method::ListBindings         => [D,  D,   D,   D,   D,   D,   Y,   Y,   Y,   Y,   D,   N,   N,   N],
        Method::RotateKey            => [D,  D,   D,   D,   Y,   Y,   D,   D,   D,   D,   D,   N,   N,   N],
        Method::ListKeys             => [D,  D,   D,   D,   Y,   Y,   D,   D,   D,   D,   D,   D,   D,   D],
        Method::GetStatus            => [D,  D,   D,   D,   D,   D,   D,   D,   D,   D,   Y,   Y,   D,   D],
        // It is open already: to a custodian that is a state in which it cannot be done.
        Method::Unseal               => [D,  D,   D,   D,   D,   D,   D,   D,   D,   D,   OPEN, OPEN, D, D],
        Method::Seal                 => [D,  D,   D,   D,   D,   D,   D,   D,   D,   D,   Y,   Y,   D,   D],
        Method::ListAuditEntries     => [D,  D,   D,   D,   D,   D,   D,   D,   Y,   Y,   D,   N,   N,   N],
    }
}

const OPEN: Code = Code::FailedPrecondition;

/// What anybody gets while it is sealed: only configured custodians get anything but that.
const fn expected_sealed(method: Method, is_configured_custodian: bool) -> Code {
    match (method, is_configured_custodian) {
        (Method::GetStatus | Method::Unseal, true) => Y,
        // It is sealed already.
        (Method::Seal, true) => Code::Unavailable,
        (Method::GetStatus | Method::Unseal | Method::Seal, false) => D,
        _ => Code::Unavailable,
    }
}

struct Stage {
    site: Site,
    running: Running,
    /// Holds everything about secrets.
    owner: Channel,
    administrator: Channel,
}

async fn stage() -> Stage {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    for name in ["here", "there"] {
        site.make_namespace(&running, name, Environment::Stage).await;
    }
    for identity in IDENTITIES {
        if let Some((role, namespace)) = identity.binding() {
            site.bind(&running, role, &identity.id(), namespace).await;
        }
    }
    let administrator = channel(&site, &running, &person("ana")).await;
    let actions = [api::Action::Describe, api::Action::Create, api::Action::Update, api::Action::Destroy].map(Into::into).to_vec();
    let grants = vec![api::Grant { actions, path_pattern: "**".to_owned() }];
    let role = api::CreateRoleRequest { name: "owner".to_owned(), grants, ..Default::default() };
    AccessServiceClient::new(administrator.clone()).create_role(role).await.expect("a role");
    site.bind(&running, "owner", &workload("owner"), Some("here")).await;
    let owner = channel(&site, &running, &workload("owner")).await;
    Stage { site, running, owner, administrator }
}

impl Stage {
    /// A secret, a role and a binding that nobody has touched yet.
    async fn subject(&self, method: Method, number: usize) -> Subject {
        let mut secrets = SecretServiceClient::new(self.owner.clone());
        let mut access = AccessServiceClient::new(self.administrator.clone());
        let secret = format!("here/there-{number}");
        let request = api::CreateSecretRequest { name: secret.clone(), payload: b"value".to_vec(), ..Default::default() };
        let mut made = secrets.create_secret(request).await.expect("stored").into_inner().secret.expect("it");
        if matches!(method, Method::RestoreSecret | Method::PurgeSecret) {
            let request = api::DestroySecretRequest { name: secret.clone(), ..Default::default() };
            made = secrets.destroy_secret(request).await.expect("destroyed").into_inner().secret.expect("it");
        }
        let grants = vec![api::Grant { actions: vec![api::Action::Verify.into()], path_pattern: "**".to_owned() }];
        let role = api::CreateRoleRequest { name: format!("subject-{number}"), grants, ..Default::default() };
        let role = access.create_role(role).await.expect("a role").into_inner().role.expect("it");
        let binding = api::CreateBindingRequest {
            role: "support".to_owned(),
            principal: format!("spiffe://people.test/subject-{number}"),
            namespace: "here".to_owned(),
            ..Default::default()
        };
        let binding = access.create_binding(binding).await.expect("bound").into_inner().binding.expect("it");
        Subject {
            secret,
            revision: made.revision,
            absent: format!("here/absent-{number}"),
            namespace: "here".to_owned(),
            role: (role.name, role.revision),
            binding: binding.binding_id,
            number,
        }
    }
}

fn code(answer: &Result<(), tonic::Status>) -> Code {
    answer.as_ref().map_or_else(tonic::Status::code, |()| Code::Ok)
}

// immune: row-24
// immune: row-25
#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_everybody_is_answered_as_the_table_says() {
    let stage = stage().await;
    let mut wrong = Vec::new();
    let mut number = 0;
    for (column, identity) in IDENTITIES.into_iter().enumerate() {
        let channel = channel(&stage.site, &stage.running, &identity.id()).await;
        for method in Method::ALL.iter().copied() {
            number += 1;
            let subject = stage.subject(method, number).await;
            let answer = call(&channel, method, &subject).await;
            let expected = expected_open(method)[column];
            if code(&answer) != expected {
                wrong.push(format!("open: {method:?} by {identity:?}: {answer:?}, not {expected:?}"));
            }
            if method == Method::Seal && answer.is_ok() {
                stage.site.unseal(&stage.running).await;
            }
        }
    }
    let subject = stage.subject(Method::RevealSecret, number + 1).await;
    let cleo = channel(&stage.site, &stage.running, &person("cleo")).await;
    call(&cleo, Method::Seal, &subject).await.expect("sealed");
    for identity in IDENTITIES {
        let channel = channel(&stage.site, &stage.running, &identity.id()).await;
        for method in Method::ALL.iter().copied() {
            let answer = call(&channel, method, &subject).await;
            let expected = expected_sealed(method, identity == Identity::ConfiguredCustodian);
            if code(&answer) != expected {
                wrong.push(format!("sealed: {method:?} by {identity:?}: {answer:?}, not {expected:?}"));
            }
            if method == Method::Unseal && answer.is_ok() {
                call(&cleo, Method::Seal, &subject).await.expect("sealed again");
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
