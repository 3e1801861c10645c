//! `NamespaceService`.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::door::Door;
use super::field::{Fault, parsed, request_id};
use super::show;
use crate::api::namespace_service_server::NamespaceService;
use crate::api::{self, Method};
use crate::gate::{AnyNamespace, InNamespace, WholeVault};
use crate::model::{Environment, NamespaceName};
use crate::vault::{NamespaceLimits, NewNamespace};

pub(super) struct Namespaces {
    door: Door,
}

impl Namespaces {
    pub(super) const fn new(door: Door) -> Self {
        Self { door }
    }
}

fn environment(number: i32) -> Result<Environment, Fault> {
    match api::Environment::try_from(number) {
        Ok(api::Environment::Stage) => Ok(Environment::Stage),
        Ok(api::Environment::Production) => Ok(Environment::Production),
        _ => Err(Fault { field: "environment", why: "must be stage or production" }),
    }
}

fn limits(wire: Option<&api::NamespaceLimits>) -> Result<NamespaceLimits, Fault> {
    let default = NamespaceLimits::default();
    let Some(wire) = wire else { return Ok(default) };
    let or = |number: u32, default: u32| if number == 0 { default } else { number };
    Ok(NamespaceLimits {
        payload_max_bytes: or(wire.payload_max_bytes, default.payload_max_bytes),
        versions_kept: or(wire.versions_kept, default.versions_kept),
        recovery_window: wire.recovery_window.as_ref().map_or(Ok(default.recovery_window), recovery_window)?,
        require_post_quantum: wire.require_post_quantum,
        cryptoperiod: wire.cryptoperiod.as_ref().map_or(Ok(default.cryptoperiod), cryptoperiod)?,
        auto_rotate: wire.auto_rotate,
    })
}

fn recovery_window(wire: &prost_types::Duration) -> Result<Duration, Fault> {
    whole_seconds(wire).ok_or(Fault { field: "limits.recovery_window", why: "must be whole seconds, 1 second to 365 days" })
}

fn cryptoperiod(wire: &prost_types::Duration) -> Result<Duration, Fault> {
    whole_seconds(wire).ok_or(Fault { field: "limits.cryptoperiod", why: "must be whole seconds, 1 day to 10 years" })
}

fn whole_seconds(wire: &prost_types::Duration) -> Option<Duration> {
    u64::try_from(wire.seconds).ok().filter(|_| wire.nanos == 0).map(Duration::from_secs)
}

#[tonic::async_trait]
impl NamespaceService for Namespaces {
    async fn create_namespace(
        &self,
        request: Request<api::CreateNamespaceRequest>,
    ) -> Result<Response<api::CreateNamespaceResponse>, Status> {
        let (call, new) = self
            .door
            .understand(Method::CreateNamespace, request, |message, call| {
                request_id(call, &message.request_id)?;
                let name: NamespaceName = parsed(&message.name, "name")?;
                call.detail = vec![("namespace", name.to_string())];
                let environment = environment(message.environment)?;
                Ok(NewNamespace { name, environment, limits: limits(message.limits.as_ref())? })
            })
            .await?;
        let resource = WholeVault::NAMESPACES;
        let info = self.door.run(call, resource, |vault, permit| async move { vault.open()?.create_namespace(permit, new).await }).await?;
        Ok(Response::new(api::CreateNamespaceResponse { namespace: Some(show::namespace(info)) }))
    }

    async fn describe_namespace(
        &self,
        request: Request<api::DescribeNamespaceRequest>,
    ) -> Result<Response<api::DescribeNamespaceResponse>, Status> {
        let (call, name) =
            self.door.understand(Method::DescribeNamespace, request, |message, _| parsed::<NamespaceName>(&message.name, "name")).await?;
        let described = self.door.run(call, InNamespace(name), |vault, permit| async move { vault.open()?.describe_namespace(&permit) });
        Ok(Response::new(api::DescribeNamespaceResponse { namespace: Some(show::namespace(described.await?)) }))
    }

    async fn list_namespaces(&self, request: Request<api::ListNamespacesRequest>) -> Result<Response<api::ListNamespacesResponse>, Status> {
        let (call, (items, token)) = self
            .door
            .understand(Method::ListNamespaces, request, |message, _| Ok((self.door.page(message.page_size)?, message.page_token)))
            .await?;
        let listed =
            self.door.run(call, AnyNamespace, move |vault, permit| async move { vault.open()?.list_namespaces(&permit, items, &token) });
        let page = listed.await?;
        let namespaces = page.items.into_iter().map(show::namespace).collect();
        Ok(Response::new(api::ListNamespacesResponse { namespaces, next_page_token: page.next_page_token }))
    }
}
