//! `KeyService`.

use tonic::{Request, Response, Status};

use super::door::{Door, caller};
use super::field::{Fault, optional, parsed, reason};
use super::watch::Watches;
use super::{rewrap, show};
use crate::api::key_service_server::KeyService;
use crate::api::{self, Method};
use crate::gate::{AnyNamespace, Call, InNamespace};
use crate::model::{NamespaceName, limits};
use crate::vault::{KeyStep, KeyStepTaken, RewrapOrder, Rotation};

pub(super) struct Keys {
    door: Door,
    watches: Watches,
}

impl Keys {
    pub(super) const fn new(door: Door, watches: Watches) -> Self {
        Self { door, watches }
    }

    async fn step(&self, (call, (namespace, version)): (Call, (NamespaceName, u32)), step: KeyStep) -> Result<KeyStepTaken, Status> {
        let taken = self
            .door
            .run(call, InNamespace(namespace), move |vault, permit| async move { vault.open()?.step_key(permit, version, step).await });
        taken.await
    }
}

/// Rows a second; 0 for the default.
fn rate(rate_per_s: u32) -> Result<u32, Fault> {
    let fault = Fault { field: "rate_per_s", why: "must be 1 to 1,000,000, or 0 for the default" };
    if rate_per_s > limits::REWRAP_RATE_PER_S { Err(fault) } else { Ok(rate_per_s) }
}

/// Whose rewrap an order is about.
fn ordered(call: &mut Call, namespace: &str, why: &str) -> Result<InNamespace, Fault> {
    reason(call, why)?;
    parsed(namespace, "namespace").map(InNamespace)
}

/// The rewrap that a rotation begins with it, if any.
fn rewrap_with(message: &api::RotateKeyRequest) -> Result<Option<RewrapOrder>, Fault> {
    const WHY: &str = "makes sense with rewrap alone";
    match message {
        api::RotateKeyRequest { rewrap: true, reencrypt, rate_per_s, .. } => {
            Ok(Some(RewrapOrder { reencrypt: *reencrypt, rate_per_s: rate(*rate_per_s)? }))
        }
        api::RotateKeyRequest { reencrypt: true, .. } => Err(Fault { field: "reencrypt", why: WHY }),
        api::RotateKeyRequest { rate_per_s: 1.., .. } => Err(Fault { field: "rate_per_s", why: WHY }),
        _ => Ok(None),
    }
}

/// Notes which version a call is about.
fn key_version(call: &mut Call, namespace: &str, version: u32) -> Result<(NamespaceName, u32), Fault> {
    if version == 0 {
        return Err(Fault { field: "version", why: "versions are numbered from 1" });
    }
    call.detail.push(("key_version", version.to_string()));
    Ok((parsed(namespace, "namespace")?, version))
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn rotate_key(&self, request: Request<api::RotateKeyRequest>) -> Result<Response<api::RotateKeyResponse>, Status> {
        let (call, (resource, rotation)) = self
            .door
            .understand(Method::RotateKey, request, |message, call| {
                let namespace = ordered(call, &message.namespace, &message.reason)?;
                let rewrap = rewrap_with(&message)?;
                Ok((namespace, Rotation { expected_active: message.expected_active_version, rewrap }))
            })
            .await?;
        let rotated = self.door.run(call, resource, move |vault, permit| async move { vault.open()?.rotate_key(permit, rotation).await });
        let (key, rewrap) = rotated.await?;
        Ok(Response::new(api::RotateKeyResponse { key: Some(show::key(key)), rewrap: rewrap.map(show::rewrap) }))
    }

    async fn list_keys(&self, request: Request<api::ListKeysRequest>) -> Result<Response<api::ListKeysResponse>, Status> {
        let (call, (only, items, token)) = self
            .door
            .understand(Method::ListKeys, request, |message, call| {
                let only: Option<NamespaceName> = optional(&message.namespace, "namespace")?;
                call.detail = only.iter().map(|name| ("namespace", name.to_string())).collect();
                Ok((only, self.door.page(message.page_size)?, message.page_token))
            })
            .await?;
        let listed = self
            .door
            .run(call, AnyNamespace, move |vault, permit| async move { vault.open()?.list_keys(&permit, only.as_ref(), items, &token) });
        let page = listed.await?;
        let keys = page.items.into_iter().map(show::key).collect();
        Ok(Response::new(api::ListKeysResponse { keys, next_page_token: page.next_page_token }))
    }

    async fn disable_key(&self, request: Request<api::DisableKeyRequest>) -> Result<Response<api::DisableKeyResponse>, Status> {
        let asked = self.door.understand(Method::DisableKey, request, |message, call| {
            reason(call, &message.reason)?;
            key_version(call, &message.namespace, message.version)
        });
        let taken = self.step(asked.await?, KeyStep::Disable).await?;
        Ok(Response::new(api::DisableKeyResponse { key: Some(show::key(taken.key)) }))
    }

    async fn enable_key(&self, request: Request<api::EnableKeyRequest>) -> Result<Response<api::EnableKeyResponse>, Status> {
        let asked = self.door.understand(Method::EnableKey, request, |message, call| {
            reason(call, &message.reason)?;
            key_version(call, &message.namespace, message.version)
        });
        let taken = self.step(asked.await?, KeyStep::Enable).await?;
        Ok(Response::new(api::EnableKeyResponse { key: Some(show::key(taken.key)) }))
    }

    async fn retire_key(&self, request: Request<api::RetireKeyRequest>) -> Result<Response<api::RetireKeyResponse>, Status> {
        let asked = self.door.understand(Method::RetireKey, request, |message, call| {
            reason(call, &message.reason)?;
            key_version(call, &message.namespace, message.version)
        });
        let taken = self.step(asked.await?, KeyStep::Retire).await?;
        Ok(Response::new(api::RetireKeyResponse { key: Some(show::key(taken.key)), statement: taken.statement.unwrap_or_default() }))
    }

    async fn cancel_key_retirement(
        &self,
        request: Request<api::CancelKeyRetirementRequest>,
    ) -> Result<Response<api::CancelKeyRetirementResponse>, Status> {
        let asked = self.door.understand(Method::CancelKeyRetirement, request, |message, call| {
            reason(call, &message.reason)?;
            key_version(call, &message.namespace, message.version)
        });
        let taken = self.step(asked.await?, KeyStep::Cancel).await?;
        Ok(Response::new(api::CancelKeyRetirementResponse { key: Some(show::key(taken.key)) }))
    }

    async fn get_key_statement(
        &self,
        request: Request<api::GetKeyStatementRequest>,
    ) -> Result<Response<api::GetKeyStatementResponse>, Status> {
        let (call, (namespace, version)) = self
            .door
            .understand(Method::GetKeyStatement, request, |message, call| key_version(call, &message.namespace, message.version))
            .await?;
        let found = self
            .door
            .run(call, InNamespace(namespace), move |vault, permit| async move { vault.open()?.key_statement(permit, version).await });
        Ok(Response::new(api::GetKeyStatementResponse { statement: found.await? }))
    }

    async fn start_rewrap(&self, request: Request<api::StartRewrapRequest>) -> Result<Response<api::StartRewrapResponse>, Status> {
        let (call, (resource, order)) = self
            .door
            .understand(Method::StartRewrap, request, |message, call| {
                let namespace = ordered(call, &message.namespace, &message.reason)?;
                Ok((namespace, RewrapOrder { reencrypt: message.reencrypt, rate_per_s: rate(message.rate_per_s)? }))
            })
            .await?;
        let started = self.door.run(call, resource, move |vault, permit| async move { vault.open()?.start_rewrap(permit, order).await });
        Ok(Response::new(api::StartRewrapResponse { rewrap: Some(show::rewrap(started.await?)) }))
    }

    async fn pause_rewrap(&self, request: Request<api::PauseRewrapRequest>) -> Result<Response<api::PauseRewrapResponse>, Status> {
        let parse = |message: api::PauseRewrapRequest, call: &mut Call| ordered(call, &message.namespace, &message.reason);
        let (call, resource) = self.door.understand(Method::PauseRewrap, request, parse).await?;
        let paused = self.door.run(call, resource, |vault, permit| async move { vault.open()?.pause_rewrap(permit).await });
        Ok(Response::new(api::PauseRewrapResponse { rewrap: Some(show::rewrap(paused.await?)) }))
    }

    async fn resume_rewrap(&self, request: Request<api::ResumeRewrapRequest>) -> Result<Response<api::ResumeRewrapResponse>, Status> {
        let (call, (resource, rate_per_s)) = self
            .door
            .understand(Method::ResumeRewrap, request, |message, call| {
                Ok((ordered(call, &message.namespace, &message.reason)?, rate(message.rate_per_s)?))
            })
            .await?;
        let resumed =
            self.door.run(call, resource, move |vault, permit| async move { vault.open()?.resume_rewrap(permit, rate_per_s).await });
        Ok(Response::new(api::ResumeRewrapResponse { rewrap: Some(show::rewrap(resumed.await?)) }))
    }

    async fn list_rewraps(&self, request: Request<api::ListRewrapsRequest>) -> Result<Response<api::ListRewrapsResponse>, Status> {
        let (call, (only, items, token)) = self
            .door
            .understand(Method::ListRewraps, request, |message, call| {
                let only: Option<NamespaceName> = optional(&message.namespace, "namespace")?;
                call.detail = only.iter().map(|name| ("namespace", name.to_string())).collect();
                Ok((only, self.door.page(message.page_size)?, message.page_token))
            })
            .await?;
        let listed = self
            .door
            .run(call, AnyNamespace, move |vault, permit| async move { vault.open()?.list_rewraps(&permit, only.as_ref(), items, &token) });
        let page = listed.await?;
        let rewraps = page.items.into_iter().map(show::rewrap).collect();
        Ok(Response::new(api::ListRewrapsResponse { rewraps, next_page_token: page.next_page_token }))
    }

    type WatchRewrapStream = rewrap::Stream;

    async fn watch_rewrap(&self, request: Request<api::WatchRewrapRequest>) -> Result<Response<rewrap::Stream>, Status> {
        let caller = caller(&request)?;
        let (call, namespace) =
            self.door.understand(Method::WatchRewrap, request, |message, _| parsed(&message.namespace, "namespace")).await?;
        rewrap::begin(&self.watches, call, caller, InNamespace(namespace)).await.map(Response::new)
    }
}
