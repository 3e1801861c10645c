//! The end of a key version, step by step.

use super::convert;
use super::keys::KeyInfo;
use super::{Client, ClientError};
use crate::api;
use crate::model::NamespaceName;

impl Client {
    /// Takes a version out of service that only decrypts: what is under it cannot be read until it is enabled again.
    ///
    /// # Errors
    /// Refused where the version is active or retired; see [`ClientError`].
    pub async fn disable_key(&self, namespace: &NamespaceName, version: u32, reason: &str) -> Result<KeyInfo, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let answer = self.call(api::DisableKeyRequest { namespace: namespace.to_string(), version, reason }).await?;
        convert::required(answer.key, "no key")?.try_into()
    }

    /// Takes a disabled version back into service.
    ///
    /// # Errors
    /// Refused where the version is not disabled; see [`ClientError`].
    pub async fn enable_key(&self, namespace: &NamespaceName, version: u32, reason: &str) -> Result<KeyInfo, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let answer = self.call(api::EnableKeyRequest { namespace: namespace.to_string(), version, reason }).await?;
        convert::required(answer.key, "no key")?.try_into()
    }

    /// Schedules a disabled version to be destroyed in 30 days; returns it with a signed statement. Looks at every value of the
    /// namespace: give it a long deadline.
    ///
    /// # Errors
    /// Refused where values are under it, or it is not disabled; see [`ClientError`].
    pub async fn retire_key(&self, namespace: &NamespaceName, version: u32, reason: &str) -> Result<(KeyInfo, String), ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let answer = self.call(api::RetireKeyRequest { namespace: namespace.to_string(), version, reason }).await?;
        Ok((convert::required(answer.key, "no key")?.try_into()?, answer.statement))
    }

    /// Takes a scheduled version back: it is disabled again.
    ///
    /// # Errors
    /// Refused where the version is not scheduled; see [`ClientError`].
    pub async fn cancel_key_retirement(&self, namespace: &NamespaceName, version: u32, reason: &str) -> Result<KeyInfo, ClientError> {
        let reason = convert::remark("reason", reason.to_owned())?;
        let answer = self.call(api::CancelKeyRetirementRequest { namespace: namespace.to_string(), version, reason }).await?;
        convert::required(answer.key, "no key")?.try_into()
    }

    /// The newest statement of a version's retirement.
    ///
    /// # Errors
    /// Refused where it was never retired; see [`ClientError`].
    pub async fn key_statement(&self, namespace: &NamespaceName, version: u32) -> Result<String, ClientError> {
        Ok(self.call(api::GetKeyStatementRequest { namespace: namespace.to_string(), version }).await?.statement)
    }
}
