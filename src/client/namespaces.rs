//! Namespaces.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::convert::{self, as_text};
use super::{Client, ClientError, Listed, Page};
use crate::api;
use crate::model::{Environment, NamespaceId, NamespaceName, Timestamp};

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamespaceInfo {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub name: NamespaceName,
    /// Its id. Bindings refer to it, so a namespace made again under an old name inherits none.
    #[serde(serialize_with = "as_text")]
    pub namespace_id: NamespaceId,
    /// Its environment.
    #[serde(serialize_with = "as_text")]
    pub environment: Environment,
    /// Its bounds, every default filled in.
    pub limits: NamespaceLimits,
    /// When it was created.
    #[serde(serialize_with = "as_text")]
    pub create_time: Timestamp,
    /// The SPIFFE ID of who created it.
    pub created_by: String,
}

/// A namespace's own bounds. In a request, what is left at its default is the server's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NamespaceLimits {
    /// Longest payload in bytes; 0 for 65,536, which is the most.
    pub payload_max_bytes: u32,
    /// Versions that a secret keeps; 0 for 10; at most 1,000.
    pub versions_kept: u32,
    /// How long a destroyed secret can be restored: 1 second to 365 days; `None` for 7 days. In JSON: `recovery_window_s`.
    #[serde(rename = "recovery_window_s", serialize_with = "as_seconds")]
    pub recovery_window: Option<Duration>,
    /// Whether calls over connections without a post-quantum key exchange are refused.
    pub require_post_quantum: bool,
    /// How long a key version encrypts before a new one should take its place: 1 day to 10 years; `None` for 365 days. In
    /// JSON: `cryptoperiod_s`.
    #[serde(rename = "cryptoperiod_s", serialize_with = "as_seconds")]
    pub cryptoperiod: Option<Duration>,
    /// Whether the vault then rotates and rewraps by itself.
    pub auto_rotate: bool,
}

/// A new namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNamespace {
    /// Its name.
    pub name: NamespaceName,
    /// Its environment.
    pub environment: Environment,
    /// Its bounds.
    pub limits: NamespaceLimits,
    /// The caller's own request id; empty for a random one.
    pub request_id: String,
}

impl NewNamespace {
    /// With the server's default bounds.
    #[must_use]
    pub fn new(name: NamespaceName, environment: Environment) -> Self {
        Self { name, environment, limits: NamespaceLimits::default(), request_id: String::new() }
    }
}

impl Client {
    /// Creates a namespace with a keyring of its own.
    ///
    /// # Errors
    /// Refused where the name is taken or the caller lacks `administer` on the vault; see [`ClientError`].
    pub async fn create_namespace(&self, new: NewNamespace) -> Result<NamespaceInfo, ClientError> {
        let environment = match new.environment {
            Environment::Stage => api::Environment::Stage,
            Environment::Production => api::Environment::Production,
        };
        let request = api::CreateNamespaceRequest {
            name: new.name.to_string(),
            environment: environment.into(),
            limits: Some(new.limits.wire()?),
            request_id: new.request_id,
        };
        convert::required(self.call(request).await?.namespace, "no namespace")?.try_into()
    }

    /// Describes a namespace.
    ///
    /// # Errors
    /// Refused where it does not exist or the caller has no right in it (both `NotFound`); see [`ClientError`].
    pub async fn describe_namespace(&self, name: &NamespaceName) -> Result<NamespaceInfo, ClientError> {
        let answer = self.call(api::DescribeNamespaceRequest { name: name.to_string() }).await?;
        convert::required(answer.namespace, "no namespace")?.try_into()
    }

    /// One page of the namespaces that the caller may describe, by name.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list_namespaces(&self, page: Page) -> Result<Listed<NamespaceInfo>, ClientError> {
        let answer = self.call(api::ListNamespacesRequest { page_size: page.size, page_token: page.token }).await?;
        Listed::of(answer.namespaces, answer.next_page_token, NamespaceInfo::try_from)
    }
}

impl TryFrom<api::Namespace> for NamespaceInfo {
    type Error = ClientError;

    fn try_from(wire: api::Namespace) -> Result<Self, ClientError> {
        Ok(Self {
            name: convert::parsed(&wire.name, "a namespace's name")?,
            namespace_id: convert::parsed(&wire.namespace_id, "a namespace's id")?,
            environment: convert::environment(wire.environment)?,
            limits: NamespaceLimits::of(convert::required(wire.limits, "no limits of a namespace")?)?,
            create_time: convert::required_time(wire.create_time)?,
            created_by: wire.created_by,
        })
    }
}

impl NamespaceLimits {
    fn of(wire: api::NamespaceLimits) -> Result<Self, ClientError> {
        let window = wire.recovery_window.map(Duration::try_from).transpose();
        let period = wire.cryptoperiod.map(Duration::try_from).transpose();
        Ok(Self {
            payload_max_bytes: wire.payload_max_bytes,
            versions_kept: wire.versions_kept,
            recovery_window: window.map_err(|_| ClientError::Answer("a recovery window before its beginning"))?,
            require_post_quantum: wire.require_post_quantum,
            cryptoperiod: period.map_err(|_| ClientError::Answer("a cryptoperiod before its beginning"))?,
            auto_rotate: wire.auto_rotate,
        })
    }

    fn wire(self) -> Result<api::NamespaceLimits, ClientError> {
        let wire = |window: Option<Duration>, field| {
            let too_long = |_| ClientError::Invalid { field, why: "is far too long" };
            window.map(prost_types::Duration::try_from).transpose().map_err(too_long)
        };
        Ok(api::NamespaceLimits {
            payload_max_bytes: self.payload_max_bytes,
            versions_kept: self.versions_kept,
            recovery_window: wire(self.recovery_window, "limits.recovery_window")?,
            require_post_quantum: self.require_post_quantum,
            cryptoperiod: wire(self.cryptoperiod, "limits.cryptoperiod")?,
            auto_rotate: self.auto_rotate,
        })
    }
}

fn as_seconds<S: Serializer>(window: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    window.map(|window| window.as_secs()).serialize(serializer)
}
