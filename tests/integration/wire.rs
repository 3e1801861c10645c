//! Every RPC as a raw call, without the typed client, which refuses some of them before they are sent.

use strongroom::api::access_service_client::AccessServiceClient;
use strongroom::api::audit_service_client::AuditServiceClient;
use strongroom::api::key_service_client::KeyServiceClient;
use strongroom::api::namespace_service_client::NamespaceServiceClient;
use strongroom::api::seal_service_client::SealServiceClient;
use strongroom::api::secret_service_client::SecretServiceClient;
use strongroom::api::{self, Method};
use strongroom::client::tls::{ClientFiles, ClientTls, Timeouts, connect};
use strongroom::model::SpiffeId;
use tonic::Status;
use tonic::transport::Channel;

use crate::harness::{PASSPHRASE, Running, Site, server_id};

/// What the calls of [`call`] are about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// A secret that is there, enabled; for `RestoreSecret` and `PurgeSecret` destroyed.
    pub(crate) secret: String,
    /// Its revision.
    pub(crate) revision: u64,
    /// A name that holds nothing.
    pub(crate) absent: String,
    /// The namespace of both.
    pub(crate) namespace: String,
    /// A custom role, and its revision.
    pub(crate) role: (String, u64),
    /// A binding in the namespace.
    pub(crate) binding: String,
    /// Makes names unique.
    pub(crate) number: usize,
}

/// A connection as somebody.
pub(crate) async fn channel(site: &Site, running: &Running, id: &SpiffeId) -> Channel {
    let files = site.credentials(id);
    let files = ClientFiles { roots: files.ca, certificate: files.certificate, key: files.key };
    let tls = ClientTls::from_files(&files, server_id()).expect("the files of the site");
    connect(&running.address().to_string(), &tls, Timeouts::default()).await.expect("connected")
}

/// Calls an RPC with a request that makes sense. Exhaustive: an RPC that is not here does not compile.
pub(crate) async fn call(channel: &Channel, method: Method, subject: &Subject) -> Result<(), Status> {
    let mut secrets = SecretServiceClient::new(channel.clone());
    let mut namespaces = NamespaceServiceClient::new(channel.clone());
    let mut access = AccessServiceClient::new(channel.clone());
    let mut keys = KeyServiceClient::new(channel.clone());
    let mut seal = SealServiceClient::new(channel.clone());
    let mut audit = AuditServiceClient::new(channel.clone());
    let name = subject.secret.clone();
    let grant = || api::Grant { actions: vec![api::Action::Audit.into()], path_pattern: "**".to_owned() };
    match method {
        Method::CreateSecret => {
            let request = api::CreateSecretRequest { name: subject.absent.clone(), payload: b"value".to_vec(), ..Default::default() };
            secrets.create_secret(request).await.map(drop)
        }
        Method::UpdateSecret => {
            let request =
                api::UpdateSecretRequest { name, payload: b"other".to_vec(), expected_revision: subject.revision, ..Default::default() };
            secrets.update_secret(request).await.map(drop)
        }
        Method::UpdateSecretMetadata => {
            let set_labels = [("a".to_owned(), "b".to_owned())].into();
            let request = api::UpdateSecretMetadataRequest { name, expected_revision: subject.revision, set_labels, ..Default::default() };
            secrets.update_secret_metadata(request).await.map(drop)
        }
        Method::RevealSecret => {
            secrets.reveal_secret(api::RevealSecretRequest { name, reason: "a test".to_owned(), ..Default::default() }).await.map(drop)
        }
        Method::DescribeSecret => secrets.describe_secret(api::DescribeSecretRequest { name }).await.map(drop),
        Method::ListSecrets => {
            secrets.list_secrets(api::ListSecretsRequest { prefix: subject.namespace.clone(), ..Default::default() }).await.map(drop)
        }
        Method::ListSecretVersions => {
            secrets.list_secret_versions(api::ListSecretVersionsRequest { name, ..Default::default() }).await.map(drop)
        }
        Method::FindSecrets => {
            let request =
                api::FindSecretsRequest { namespace: subject.namespace.clone(), provider: "wepay".to_owned(), subject: "1".to_owned() };
            secrets.find_secrets(request).await.map(drop)
        }
        Method::DisableSecret => secrets.disable_secret(api::DisableSecretRequest { name, ..Default::default() }).await.map(drop),
        Method::EnableSecret => secrets.enable_secret(api::EnableSecretRequest { name, ..Default::default() }).await.map(drop),
        Method::DestroySecret => secrets.destroy_secret(api::DestroySecretRequest { name, ..Default::default() }).await.map(drop),
        Method::RestoreSecret => secrets.restore_secret(api::RestoreSecretRequest { name, ..Default::default() }).await.map(drop),
        Method::PurgeSecret => secrets.purge_secret(api::PurgeSecretRequest { name, ..Default::default() }).await.map(drop),
        Method::CreateNamespace => {
            let name = format!("made-{}", subject.number);
            let request = api::CreateNamespaceRequest { name, environment: api::Environment::Stage.into(), ..Default::default() };
            namespaces.create_namespace(request).await.map(drop)
        }
        Method::DescribeNamespace => {
            namespaces.describe_namespace(api::DescribeNamespaceRequest { name: subject.namespace.clone() }).await.map(drop)
        }
        Method::ListNamespaces => namespaces.list_namespaces(api::ListNamespacesRequest::default()).await.map(drop),
        Method::CreateRole => {
            let name = format!("made-{}", subject.number);
            access.create_role(api::CreateRoleRequest { name, grants: vec![grant()], ..Default::default() }).await.map(drop)
        }
        Method::UpdateRole => {
            let (name, expected_revision) = subject.role.clone();
            let request = api::UpdateRoleRequest { name, grants: vec![grant()], expected_revision, ..Default::default() };
            access.update_role(request).await.map(drop)
        }
        Method::DeleteRole => {
            access.delete_role(api::DeleteRoleRequest { name: subject.role.0.clone(), expected_revision: 0 }).await.map(drop)
        }
        Method::DescribeRole => access.describe_role(api::DescribeRoleRequest { name: subject.role.0.clone() }).await.map(drop),
        Method::ListRoles => access.list_roles(api::ListRolesRequest::default()).await.map(drop),
        Method::CreateBinding => {
            let request = api::CreateBindingRequest {
                role: "support".to_owned(),
                principal: format!("spiffe://people.test/made-{}", subject.number),
                namespace: subject.namespace.clone(),
                ..Default::default()
            };
            access.create_binding(request).await.map(drop)
        }
        Method::DeleteBinding => {
            let request = api::DeleteBindingRequest { binding_id: subject.binding.clone(), reason: String::new() };
            access.delete_binding(request).await.map(drop)
        }
        Method::ListBindings => {
            access.list_bindings(api::ListBindingsRequest { namespace: subject.namespace.clone(), ..Default::default() }).await.map(drop)
        }
        Method::RotateKey => {
            keys.rotate_key(api::RotateKeyRequest { namespace: subject.namespace.clone(), ..Default::default() }).await.map(drop)
        }
        Method::ListKeys => {
            keys.list_keys(api::ListKeysRequest { namespace: subject.namespace.clone(), ..Default::default() }).await.map(drop)
        }
        Method::GetStatus => seal.get_status(api::GetStatusRequest {}).await.map(drop),
        Method::Unseal => seal.unseal(api::UnsealRequest { passphrase: PASSPHRASE.as_bytes().to_vec() }).await.map(drop),
        Method::Seal => seal.seal(api::SealRequest::default()).await.map(drop),
        Method::ListAuditEntries => {
            let request = api::ListAuditEntriesRequest { resource_prefix: subject.namespace.clone(), ..Default::default() };
            audit.list_audit_entries(request).await.map(drop)
        }
    }
}
