//! What a crash left in doubt: an intent in the audit log without an outcome. The row says whether it was done, since it
//! carries the intent's number.

use crate::audit::Entry;
use crate::crypto::TagLabel;
use crate::gate::{Gate, SecretAt};
use crate::model::{NamespaceName, SecretName};

use super::{Error, Open, record, row};

impl Open {
    /// Records an outcome for each of these intents.
    pub(super) async fn settle(&self, intents: Vec<Entry>, gate: &Gate) {
        for intent in intents {
            // What cannot be read says nothing, and keeps no other from being settled.
            let done = self.newest_intent(&intent).await.unwrap_or_else(|error| {
                tracing::error!(%error, intent = intent.sequence, "what a crash left in doubt cannot be told from the store");
                None
            });
            let outcome = match done {
                Some(newest) if newest == intent.sequence => "ok",
                // Something newer was done to it: whether this was done before cannot be told from the row.
                Some(newest) if newest > intent.sequence => "superseded",
                Some(_) => "not_done",
                None => "unknown",
            };
            gate.record_settled(&intent, outcome);
        }
    }

    /// The number of the intent of the last change of what the entry names; none if that cannot be told.
    async fn newest_intent(&self, intent: &Entry) -> Result<Option<u64>, Error> {
        let Some(resource) = &intent.resource else { return Ok(None) };
        match intent.method.as_str() {
            "CreateRole" | "UpdateRole" | "DeleteRole" | "CreateBinding" | "ConfirmBinding" | "DeleteBinding" => {
                Ok(Some(self.policy_change.lock().await.head.intent))
            }
            "CreateNamespace" => self.namespace_intent(intent.detail.get("namespace")).await,
            "CreateProposal" => self.proposed_with(intent.sequence).await,
            "ApproveProposal" | "WithdrawProposal" | "CarryOutProposal" => {
                let id = intent.detail.get("proposal").and_then(|id| id.parse().ok());
                match id {
                    Some(id) => self.proposal_intent(id).await,
                    None => Ok(None),
                }
            }
            "RotateKey" | "RotateDue" | "DisableKey" | "EnableKey" | "RetireKey" | "CancelKeyRetirement" | "DestroyDueKey" => {
                self.keyring_intent(resource).await
            }
            "StartRewrap" | "PauseRewrap" | "ResumeRewrap" | "FinishRewrap" => self.rewrap_intent(resource).await,
            _ => self.secret_intent(resource).await,
        }
    }

    async fn secret_intent(&self, resource: &str) -> Result<Option<u64>, Error> {
        let Ok(name) = resource.parse::<SecretName>() else { return Ok(None) };
        let Some(entry) = self.policy.snapshot().and_then(|policy| policy.namespace(&name.namespace)) else { return Ok(None) };
        let at = SecretAt { namespace: entry.id, name };
        let found = self.find(&self.place(&at)?, &at).await?;
        Ok(Some(found.map_or(0, |found| found.meta.intent)))
    }

    async fn namespace_intent(&self, name: Option<&String>) -> Result<Option<u64>, Error> {
        let Some(name) = name else { return Ok(None) };
        let key = row::namespace_key(&self.names.tag(TagLabel::Namespace, name.as_bytes()));
        let stored = self.rows.record::<record::Namespace>(&key).await?;
        Ok(Some(stored.map_or(0, |(namespace, _)| namespace.intent)))
    }

    async fn rewrap_intent(&self, resource: &str) -> Result<Option<u64>, Error> {
        let Ok(name) = resource.parse::<NamespaceName>() else { return Ok(None) };
        let Some(entry) = self.policy.snapshot().and_then(|policy| policy.namespace(&name)) else { return Ok(None) };
        let stored = self.rows.record::<record::RewrapJob>(&row::rewrap_key(entry.id)).await?;
        Ok(Some(stored.map_or(0, |(job, _)| job.intent)))
    }

    async fn keyring_intent(&self, resource: &str) -> Result<Option<u64>, Error> {
        let Ok(name) = resource.parse::<NamespaceName>() else { return Ok(None) };
        let Some(entry) = self.policy.snapshot().and_then(|policy| policy.namespace(&name)) else { return Ok(None) };
        let stored = self.rows.record::<record::KeyringRow>(&row::keyring_key(entry.id)).await?;
        Ok(stored.map(|(keyring, _)| keyring.intent))
    }
}
