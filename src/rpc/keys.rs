//! `KeyService`.

use tonic::{Request, Response, Status};

use super::door::Door;
use super::field::{optional, parsed, reason};
use super::show;
use crate::api::key_service_server::KeyService;
use crate::api::{self, Method};
use crate::gate::{AnyNamespace, InNamespace};
use crate::model::NamespaceName;

pub(super) struct Keys {
    door: Door,
}

impl Keys {
    pub(super) const fn new(door: Door) -> Self {
        Self { door }
    }
}

#[tonic::async_trait]
impl KeyService for Keys {
    async fn rotate_key(&self, request: Request<api::RotateKeyRequest>) -> Result<Response<api::RotateKeyResponse>, Status> {
        let (call, (namespace, expected)) = self
            .door
            .understand(Method::RotateKey, request, |message, call| {
                reason(call, &message.reason)?;
                Ok((parsed::<NamespaceName>(&message.namespace, "namespace")?, message.expected_active_version))
            })
            .await?;
        let resource = InNamespace(namespace);
        let rotated = self.door.run(call, resource, move |vault, permit| async move { vault.open()?.rotate_key(permit, expected).await });
        Ok(Response::new(api::RotateKeyResponse { key: Some(show::key(rotated.await?)) }))
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
}
