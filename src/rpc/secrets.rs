//! `SecretService`.

use tonic::{Request, Response, Status};

use super::batch::Batch;
use super::door::{Door, caller};
use super::field::{Fault, InField, expiry, label_keys, labels, optional_time, parsed, prefix, reason, request_id, ticket, token_details};
use super::show;
use super::watch::{self, Watches};
use crate::api::secret_service_server::SecretService;
use crate::api::{self, Method};
use crate::gate::{Below, Call};
use crate::model::{NamespaceName, SecretBytes, SecretName, Text, limits};
use crate::vault::{MetadataChange, NewSecret, NewVersion, StateChange};

pub(super) struct Secrets {
    door: Door,
    watches: Watches,
}

/// Rows that a list opens for the worth of a call. Each is a decryption, as a reveal is.
const ROWS_A_CALL: usize = 16;

type Answer<T> = Result<Response<T>, Status>;

impl Secrets {
    pub(super) const fn new(door: Door, watches: Watches) -> Self {
        Self { door, watches }
    }

    /// Bounds that hold before anything is known of the namespace.
    fn payload(&self, bytes: Vec<u8>) -> Result<SecretBytes, Fault> {
        let payload = SecretBytes::new(bytes);
        if payload.is_empty() {
            return Err(Fault { field: "payload", why: "must not be empty" });
        }
        if payload.len() > self.door.payload_max_bytes.min(limits::PAYLOAD_BYTES) {
            return Err(Fault { field: "payload", why: "longer than a secret may be" });
        }
        Ok(payload)
    }

    async fn change_state(&self, call: Call, name: SecretName, expected: u64, change: StateChange) -> Result<Option<api::Secret>, Status> {
        let changed =
            self.door.run(call, name, move |vault, permit| async move { vault.open()?.change_state(permit, expected, change).await });
        changed.await.map(|info| Some(show::secret(info)))
    }
}

/// What the requests that change a secret's state have in common.
fn state_change(call: &mut Call, name: &str, why: &str, id: &str) -> Result<SecretName, Fault> {
    request_id(call, id)?;
    reason(call, why)?;
    parsed(name, "name")
}

#[tonic::async_trait]
impl SecretService for Secrets {
    type WatchSecretsStream = watch::Stream;

    async fn create_secret(&self, request: Request<api::CreateSecretRequest>) -> Answer<api::CreateSecretResponse> {
        let (call, (name, new)) = self
            .door
            .understand(Method::CreateSecret, request, |message, call| {
                let payload = self.payload(message.payload)?;
                request_id(call, &message.request_id)?;
                let name: SecretName = parsed(&message.name, "name")?;
                let token = message.access_token.as_ref().map(token_details).transpose()?;
                let labels = labels(&message.labels, "labels")?;
                let expires = optional_time(message.expire_time.as_ref(), "expire_time")?;
                Ok((name, NewSecret { payload, token, labels, expires }))
            })
            .await?;
        let stored = self.door.run(call, name, |vault, permit| async move { vault.open()?.create(permit, new).await }).await?;
        let warnings = stored.warnings.into_iter().map(str::to_owned).collect();
        Ok(Response::new(api::CreateSecretResponse { secret: Some(show::secret(stored.info)), warnings }))
    }

    async fn update_secret(&self, request: Request<api::UpdateSecretRequest>) -> Answer<api::UpdateSecretResponse> {
        let (call, (name, new)) = self
            .door
            .understand(Method::UpdateSecret, request, |message, call| {
                let payload = self.payload(message.payload)?;
                request_id(call, &message.request_id)?;
                let name: SecretName = parsed(&message.name, "name")?;
                let expected_revision = seen(message.expected_revision)?;
                let expiry = expiry(message.expire_time.as_ref(), message.never_expires)?;
                let token = message.access_token.as_ref().map(token_details).transpose()?;
                Ok((name, NewVersion { payload, expected_revision, expiry, token }))
            })
            .await?;
        let stored = self.door.run(call, name, |vault, permit| async move { vault.open()?.update(permit, new).await }).await?;
        let warnings = stored.warnings.into_iter().map(str::to_owned).collect();
        Ok(Response::new(api::UpdateSecretResponse { secret: Some(show::secret(stored.info)), warnings }))
    }

    async fn update_secret_metadata(
        &self,
        request: Request<api::UpdateSecretMetadataRequest>,
    ) -> Answer<api::UpdateSecretMetadataResponse> {
        let (call, (name, expected, change)) = self
            .door
            .understand(Method::UpdateSecretMetadata, request, |message, call| {
                request_id(call, &message.request_id)?;
                let name: SecretName = parsed(&message.name, "name")?;
                let expected = seen(message.expected_revision)?;
                let set_labels = labels(&message.set_labels, "set_labels")?;
                let remove_labels = label_keys(&message.remove_labels, "remove_labels")?;
                let expiry = expiry(message.expire_time.as_ref(), message.never_expires)?;
                Ok((name, expected, MetadataChange { set_labels, remove_labels, expiry }))
            })
            .await?;
        let changed =
            self.door.run(call, name, move |vault, permit| async move { vault.open()?.update_metadata(permit, expected, change).await });
        Ok(Response::new(api::UpdateSecretMetadataResponse { secret: Some(show::secret(changed.await?)) }))
    }

    async fn reveal_secret(&self, request: Request<api::RevealSecretRequest>) -> Answer<api::RevealSecretResponse> {
        let (call, (name, version)) = self
            .door
            .understand(Method::RevealSecret, request, |message, call| {
                reason(call, &message.reason)?;
                ticket(call, &message.ticket)?;
                Ok((parsed::<SecretName>(&message.name, "name")?, message.version))
            })
            .await?;
        let revealed = self.door.run(call, name, move |vault, permit| async move { vault.open()?.reveal(permit, version).await }).await?;
        Ok(Response::new(api::RevealSecretResponse {
            payload: revealed.payload.into_exposed(),
            version: revealed.version,
            revision: revealed.revision,
            expire_time: revealed.expires.map(show::time),
        }))
    }

    async fn reveal_batch(&self, request: Request<api::RevealBatchRequest>) -> Answer<api::RevealBatchResponse> {
        let caller = caller(&request)?;
        let (call, batch) = self.door.understand(Method::RevealBatch, request, Batch::parse).await?;
        self.door.charge(&caller, &call, batch.more_calls(&call))?;
        batch.reveal(&self.door, call).await.map(Response::new)
    }

    async fn describe_secret(&self, request: Request<api::DescribeSecretRequest>) -> Answer<api::DescribeSecretResponse> {
        let parse = |message: api::DescribeSecretRequest, _: &mut Call| parsed::<SecretName>(&message.name, "name");
        let (call, name) = self.door.understand(Method::DescribeSecret, request, parse).await?;
        let info = self.door.run(call, name, |vault, permit| async move { vault.open()?.describe(permit).await }).await?;
        Ok(Response::new(api::DescribeSecretResponse { secret: Some(show::secret(info)) }))
    }

    async fn list_secrets(&self, request: Request<api::ListSecretsRequest>) -> Answer<api::ListSecretsResponse> {
        let bill = self.door.bill(Method::ListSecrets, &request, ROWS_A_CALL).await?;
        let (call, (below, items, token)) = self
            .door
            .understand(Method::ListSecrets, request, |message, _| {
                let (namespace, prefix) = prefix(&message.prefix, "prefix")?;
                Ok((Below { namespace, prefix }, self.door.page(message.page_size)?, message.page_token))
            })
            .await?;
        let effort = bill.effort().clone();
        let page = self
            .door
            .run(call, below, move |vault, permit| async move { vault.open()?.list(permit, items, &token, &effort).await })
            .await?;
        let secrets = page.items.into_iter().map(show::secret).collect();
        Ok(Response::new(api::ListSecretsResponse { secrets, next_page_token: page.next_page_token }))
    }

    async fn list_secret_versions(&self, request: Request<api::ListSecretVersionsRequest>) -> Answer<api::ListSecretVersionsResponse> {
        let bill = self.door.bill(Method::ListSecretVersions, &request, ROWS_A_CALL).await?;
        let (call, (name, items, token)) = self
            .door
            .understand(Method::ListSecretVersions, request, |message, _| {
                Ok((parsed::<SecretName>(&message.name, "name")?, self.door.page(message.page_size)?, message.page_token))
            })
            .await?;
        let effort = bill.effort().clone();
        let page = self
            .door
            .run(call, name, move |vault, permit| async move { vault.open()?.versions(permit, items, &token, &effort).await })
            .await?;
        let versions = page.items.into_iter().map(show::version).collect();
        Ok(Response::new(api::ListSecretVersionsResponse { versions, next_page_token: page.next_page_token }))
    }

    async fn find_secrets(&self, request: Request<api::FindSecretsRequest>) -> Answer<api::FindSecretsResponse> {
        let bill = self.door.bill(Method::FindSecrets, &request, ROWS_A_CALL).await?;
        let (call, (namespace, provider, subject)) = self
            .door
            .understand(Method::FindSecrets, request, |message, call| {
                let provider: Text<{ limits::TOKEN_FIELD_BYTES }> = Text::parse(&message.provider).in_field("provider")?;
                let subject: Text<{ limits::TOKEN_FIELD_BYTES }> = Text::parse(&message.subject).in_field("subject")?;
                call.detail = vec![("provider", provider.to_string()), ("subject", subject.to_string())];
                Ok((parsed::<NamespaceName>(&message.namespace, "namespace")?, provider, subject))
            })
            .await?;
        let below = Below { namespace, prefix: Vec::new() };
        let effort = bill.effort().clone();
        let found = self
            .door
            .run(call, below, move |vault, permit| async move { vault.open()?.find_tokens(permit, &provider, &subject, &effort).await })
            .await?;
        Ok(Response::new(api::FindSecretsResponse { secrets: found.into_iter().map(show::secret).collect() }))
    }

    async fn watch_secrets(&self, request: Request<api::WatchSecretsRequest>) -> Answer<watch::Stream> {
        let caller = caller(&request)?;
        let (call, (below, from)) = self.door.understand(Method::WatchSecrets, request, |message, _| watch::parse(&message)).await?;
        self.watches.begin(call, caller, below, from).await.map(Response::new)
    }

    async fn disable_secret(&self, request: Request<api::DisableSecretRequest>) -> Answer<api::DisableSecretResponse> {
        let (call, (name, expected)) = self
            .door
            .understand(Method::DisableSecret, request, |message, call| {
                Ok((state_change(call, &message.name, &message.reason, &message.request_id)?, message.expected_revision))
            })
            .await?;
        let secret = self.change_state(call, name, expected, StateChange::Disable).await?;
        Ok(Response::new(api::DisableSecretResponse { secret }))
    }

    async fn enable_secret(&self, request: Request<api::EnableSecretRequest>) -> Answer<api::EnableSecretResponse> {
        let (call, (name, expected)) = self
            .door
            .understand(Method::EnableSecret, request, |message, call| {
                Ok((state_change(call, &message.name, &message.reason, &message.request_id)?, message.expected_revision))
            })
            .await?;
        let secret = self.change_state(call, name, expected, StateChange::Enable).await?;
        Ok(Response::new(api::EnableSecretResponse { secret }))
    }

    async fn destroy_secret(&self, request: Request<api::DestroySecretRequest>) -> Answer<api::DestroySecretResponse> {
        let (call, (name, expected)) = self
            .door
            .understand(Method::DestroySecret, request, |message, call| {
                Ok((state_change(call, &message.name, &message.reason, &message.request_id)?, message.expected_revision))
            })
            .await?;
        let secret = self.change_state(call, name, expected, StateChange::Destroy).await?;
        Ok(Response::new(api::DestroySecretResponse { secret }))
    }

    async fn restore_secret(&self, request: Request<api::RestoreSecretRequest>) -> Answer<api::RestoreSecretResponse> {
        let (call, (name, expected)) = self
            .door
            .understand(Method::RestoreSecret, request, |message, call| {
                Ok((state_change(call, &message.name, &message.reason, &message.request_id)?, message.expected_revision))
            })
            .await?;
        let secret = self.change_state(call, name, expected, StateChange::Restore).await?;
        Ok(Response::new(api::RestoreSecretResponse { secret }))
    }

    async fn purge_secret(&self, request: Request<api::PurgeSecretRequest>) -> Answer<api::PurgeSecretResponse> {
        let (call, (name, expected)) = self
            .door
            .understand(Method::PurgeSecret, request, |message, call| {
                Ok((state_change(call, &message.name, &message.reason, &message.request_id)?, message.expected_revision))
            })
            .await?;
        let purged = self.door.run(call, name, move |vault, permit| async move { vault.open()?.purge(permit, expected).await });
        Ok(Response::new(api::PurgeSecretResponse { deleted_rows: purged.await? }))
    }
}

/// A revision that the caller must have seen.
fn seen(expected_revision: u64) -> Result<u64, Fault> {
    if expected_revision == 0 {
        return Err(Fault { field: "expected_revision", why: "must be the revision that you have seen: DescribeSecret gives it" });
    }
    Ok(expected_revision)
}
