//! Every RPC as raw bytes, without the typed client, which refuses some of them before they are sent.

use prost::Message;
use prost::bytes::{Buf, BufMut};
use strongroom::api::{self, Method};
use strongroom::client::tls::{ClientFiles, ClientTls, Timeouts, connect};
use strongroom::model::SpiffeId;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::harness::{PASSPHRASE, Running, Site, server_id};

/// What the requests of [`request`] are about.
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

/// Calls an RPC with a request that makes sense.
pub(crate) async fn call(channel: &Channel, method: Method, subject: &Subject) -> Result<(), Status> {
    send(channel, method, request(method, subject)).await.map(drop)
}

/// Sends bytes as a request, whether or not they are one.
pub(crate) async fn send(channel: &Channel, method: Method, bytes: Vec<u8>) -> Result<Response<Vec<u8>>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    grpc.unary(Request::new(bytes), method.path().parse().expect("a path"), Raw).await
}

/// A request that makes sense, encoded. Exhaustive: an RPC that is not here does not compile.
pub(crate) fn request(method: Method, subject: &Subject) -> Vec<u8> {
    let (name, namespace) = (subject.secret.clone(), subject.namespace.clone());
    let made = format!("made-{}", subject.number);
    let grants = vec![api::Grant { actions: vec![api::Action::Audit.into()], path_pattern: "**".to_owned() }];
    let (role, expected_revision) = subject.role.clone();
    match method {
        Method::CreateSecret => {
            api::CreateSecretRequest { name: subject.absent.clone(), payload: b"value".to_vec(), ..Default::default() }.encode_to_vec()
        }
        Method::UpdateSecret => {
            let payload = b"other".to_vec();
            api::UpdateSecretRequest { name, payload, expected_revision: subject.revision, ..Default::default() }.encode_to_vec()
        }
        Method::UpdateSecretMetadata => {
            let set_labels = [("a".to_owned(), "b".to_owned())].into();
            api::UpdateSecretMetadataRequest { name, expected_revision: subject.revision, set_labels, ..Default::default() }.encode_to_vec()
        }
        Method::RevealSecret => api::RevealSecretRequest { name, reason: "a test".to_owned(), ..Default::default() }.encode_to_vec(),
        Method::DescribeSecret => api::DescribeSecretRequest { name }.encode_to_vec(),
        Method::ListSecrets => api::ListSecretsRequest { prefix: namespace, ..Default::default() }.encode_to_vec(),
        Method::ListSecretVersions => api::ListSecretVersionsRequest { name, ..Default::default() }.encode_to_vec(),
        Method::FindSecrets => api::FindSecretsRequest { namespace, provider: "wepay".to_owned(), subject: "1".to_owned() }.encode_to_vec(),
        Method::DisableSecret => api::DisableSecretRequest { name, ..Default::default() }.encode_to_vec(),
        Method::EnableSecret => api::EnableSecretRequest { name, ..Default::default() }.encode_to_vec(),
        Method::DestroySecret => api::DestroySecretRequest { name, ..Default::default() }.encode_to_vec(),
        Method::RestoreSecret => api::RestoreSecretRequest { name, ..Default::default() }.encode_to_vec(),
        Method::PurgeSecret => api::PurgeSecretRequest { name, ..Default::default() }.encode_to_vec(),
        Method::CreateNamespace => {
            api::CreateNamespaceRequest { name: made, environment: api::Environment::Stage.into(), ..Default::default() }.encode_to_vec()
        }
        Method::DescribeNamespace => api::DescribeNamespaceRequest { name: namespace }.encode_to_vec(),
        Method::ListNamespaces => api::ListNamespacesRequest::default().encode_to_vec(),
        Method::CreateRole => api::CreateRoleRequest { name: made, grants, ..Default::default() }.encode_to_vec(),
        Method::UpdateRole => api::UpdateRoleRequest { name: role, grants, expected_revision, ..Default::default() }.encode_to_vec(),
        Method::DeleteRole => api::DeleteRoleRequest { name: role, expected_revision: 0 }.encode_to_vec(),
        Method::DescribeRole => api::DescribeRoleRequest { name: role }.encode_to_vec(),
        Method::ListRoles => api::ListRolesRequest::default().encode_to_vec(),
        Method::CreateBinding => {
            let principal = format!("spiffe://people.test/{made}");
            api::CreateBindingRequest { role: "support".to_owned(), principal, namespace, ..Default::default() }.encode_to_vec()
        }
        Method::DeleteBinding => api::DeleteBindingRequest { binding_id: subject.binding.clone(), reason: String::new() }.encode_to_vec(),
        Method::ListBindings => api::ListBindingsRequest { namespace, ..Default::default() }.encode_to_vec(),
        Method::RotateKey => api::RotateKeyRequest { namespace, ..Default::default() }.encode_to_vec(),
        Method::ListKeys => api::ListKeysRequest { namespace, ..Default::default() }.encode_to_vec(),
        Method::GetStatus => api::GetStatusRequest {}.encode_to_vec(),
        Method::Unseal => api::UnsealRequest { passphrase: PASSPHRASE.as_bytes().to_vec() }.encode_to_vec(),
        Method::Seal => api::SealRequest::default().encode_to_vec(),
        Method::ListAuditEntries => api::ListAuditEntriesRequest { resource_prefix: namespace, ..Default::default() }.encode_to_vec(),
    }
}

/// A codec that changes nothing.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length).to_vec()))
    }
}
