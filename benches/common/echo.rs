//! The ceiling: a bare tonic service over the same mutual TLS, which answers at once with as many bytes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::api::secret_service_server::{SecretService, SecretServiceServer};
use strongroom::api::{self, CreateSecretResponse, RevealSecretResponse, Secret};
use strongroom::config::{Config, Revocation as Configured};
use strongroom::identity::{AcceptLimits, LiveTls, Revocation, ServerTls, TrustAnchor, accept, load_certificates, load_private_key};
use strongroom::model::{Clock, SystemClock};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct Echo {
    payload: Vec<u8>,
}

/// Serves with the TLS of a site's configuration, and says where.
pub(crate) async fn serve(config: &Path, payload_bytes: usize) {
    let config = Config::load(config).expect("the site's configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let tls = Arc::new(LiveTls::new(tls(&config)));
    let connections = accept(listener, tls, AcceptLimits::default(), |_| {}, std::future::pending());
    eprintln!("echo: serving on {address}");
    let limits = &config.limits;
    Server::builder()
        .timeout(limits.request_timeout)
        .max_concurrent_streams(Some(limits.streams_per_connection))
        .http2_max_header_list_size(Some(limits.header_list_max_bytes))
        .max_connection_age(Duration::from_secs(3600))
        .add_service(SecretServiceServer::new(Echo { payload: vec![b'x'; payload_bytes] }))
        .serve_with_incoming(connections)
        .await
        .expect("it serves");
}

fn tls(config: &Config) -> ServerTls {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let anchors = config.tls.trust.iter().map(|trust| {
        assert_eq!(trust.revocation, Configured::None, "the bench's own site has no lists");
        let roots = trust.roots.iter().flat_map(|file| load_certificates(file).expect("roots")).collect();
        TrustAnchor::new(trust.domain.clone(), trust.class, roots, Revocation::NoneByConfiguration, clock.now()).expect("an anchor")
    });
    let (chain, key) = (load_certificates(&config.tls.certificate).expect("a chain"), load_private_key(&config.tls.key).expect("a key"));
    ServerTls::new(chain, key, anchors.collect(), clock.clone()).expect("the site's TLS")
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the echo only reveals and creates"))
}

#[tonic::async_trait]
impl SecretService for Echo {
    async fn reveal_secret(&self, _: Request<api::RevealSecretRequest>) -> Result<Response<RevealSecretResponse>, Status> {
        Ok(Response::new(RevealSecretResponse { payload: self.payload.clone(), version: 1, revision: 1, expire_time: None }))
    }

    async fn create_secret(&self, request: Request<api::CreateSecretRequest>) -> Result<Response<CreateSecretResponse>, Status> {
        let secret = Secret { name: request.into_inner().name, updated_by: "spiffe://apps.test/backend".to_owned(), ..Default::default() };
        Ok(Response::new(CreateSecretResponse { secret: Some(secret), warnings: Vec::new() }))
    }

    async fn update_secret(&self, _: Request<api::UpdateSecretRequest>) -> Result<Response<api::UpdateSecretResponse>, Status> {
        not_here()
    }

    async fn update_secret_metadata(
        &self,
        _: Request<api::UpdateSecretMetadataRequest>,
    ) -> Result<Response<api::UpdateSecretMetadataResponse>, Status> {
        not_here()
    }

    async fn describe_secret(&self, _: Request<api::DescribeSecretRequest>) -> Result<Response<api::DescribeSecretResponse>, Status> {
        not_here()
    }

    async fn list_secrets(&self, _: Request<api::ListSecretsRequest>) -> Result<Response<api::ListSecretsResponse>, Status> {
        not_here()
    }

    async fn list_secret_versions(
        &self,
        _: Request<api::ListSecretVersionsRequest>,
    ) -> Result<Response<api::ListSecretVersionsResponse>, Status> {
        not_here()
    }

    async fn find_secrets(&self, _: Request<api::FindSecretsRequest>) -> Result<Response<api::FindSecretsResponse>, Status> {
        not_here()
    }

    async fn disable_secret(&self, _: Request<api::DisableSecretRequest>) -> Result<Response<api::DisableSecretResponse>, Status> {
        not_here()
    }

    async fn enable_secret(&self, _: Request<api::EnableSecretRequest>) -> Result<Response<api::EnableSecretResponse>, Status> {
        not_here()
    }

    async fn destroy_secret(&self, _: Request<api::DestroySecretRequest>) -> Result<Response<api::DestroySecretResponse>, Status> {
        not_here()
    }

    async fn restore_secret(&self, _: Request<api::RestoreSecretRequest>) -> Result<Response<api::RestoreSecretResponse>, Status> {
        not_here()
    }

    async fn purge_secret(&self, _: Request<api::PurgeSecretRequest>) -> Result<Response<api::PurgeSecretResponse>, Status> {
        not_here()
    }
}
