//! A proper request of every RPC: one exhaustive match whose requests name every field, so that neither a new RPC nor a new
//! field compiles until it stands here. A [`Probe`] puts a text of the test's choice into one text field after another.

use prost::Message;
use strongroom::api::{self, Method};

use crate::harness::PASSPHRASE;

/// The provider and the subject of every access token that [`message`] speaks of.
pub(crate) const PROVIDER: &str = "provider-1";
pub(crate) const SUBJECT: &str = "subject-1";
/// No namespace of these tests has so many key versions.
pub(crate) const NO_KEY_VERSION: u32 = 4_711;
/// Two age recipients, whose identities nobody has here.
pub(crate) const RECIPIENTS: [&str; 2] =
    ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"];

/// What the requests of [`message`] are about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// An access token that is there, enabled; for `RestoreSecret` and `PurgeSecret` destroyed.
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
    /// A proposal of somebody else's that nobody has approved.
    pub(crate) proposal: String,
    /// Makes the names of what is created unique.
    pub(crate) number: usize,
}

/// Notes every text field of a request as it is filled, and puts `text` into the one that is asked for.
pub(crate) struct Probe<'a> {
    text: &'a str,
    target: Option<usize>,
    /// The fields in the order in which they were filled.
    pub(crate) fields: Vec<&'static str>,
}

impl<'a> Probe<'a> {
    /// Leaves every field as it should be.
    pub(crate) const fn none() -> Self {
        Self { text: "", target: None, fields: Vec::new() }
    }

    /// Puts `text` into the field of that position.
    pub(crate) const fn at(position: usize, text: &'a str) -> Self {
        Self { text, target: Some(position), fields: Vec::new() }
    }

    fn text(&mut self, field: &'static str, proper: impl Into<String>) -> String {
        self.fields.push(field);
        if self.target == Some(self.fields.len() - 1) { self.text.to_owned() } else { proper.into() }
    }

    fn bytes(&mut self, field: &'static str, proper: &str) -> Vec<u8> {
        self.text(field, proper).into_bytes()
    }

    fn token(&mut self) -> api::AccessTokenDetails {
        api::AccessTokenDetails {
            provider: self.text("access_token.provider", PROVIDER),
            subject: self.text("access_token.subject", SUBJECT),
            scopes: vec![self.text("access_token.scopes", "manage_accounts")],
            token_type: self.text("access_token.token_type", "BEARER"),
        }
    }

    fn grants(&mut self) -> Vec<api::Grant> {
        vec![api::Grant { actions: vec![api::Action::Audit.into()], path_pattern: self.text("grants.path_pattern", "**") }]
    }

    /// A quorum; the other changes stand beside it only when the test puts a text into them.
    fn change(&mut self) -> api::ProposedChange {
        let recipients = vec![self.text("change.add_quorum_slot.recipients", RECIPIENTS[0]), RECIPIENTS[1].to_owned()];
        let removed = self.text("change.remove_slot.slot_id", "");
        let dropped = self.text("change.replace_root_key.dropped_slot_ids", "");
        let hsm = self.text("change.add_token_slot.hsm", "");
        let (name, recipient) = (self.text("change.enrol_recipient.name", ""), self.text("change.enrol_recipient.recipient", ""));
        let gone = self.text("change.remove_recipient.recipient", "");
        api::ProposedChange {
            add_passphrase_slot: None,
            add_quorum_slot: Some(api::NewQuorumSlot { threshold: 2, shares: 2, recipients }),
            remove_slot: (!removed.is_empty()).then_some(api::SlotRemoval { slot_id: removed }),
            enrol_recipient: (!name.is_empty() || !recipient.is_empty()).then_some(api::RecipientEnrolment { name, recipient }),
            remove_recipient: (!gone.is_empty()).then_some(api::RecipientRemoval { recipient: gone }),
            add_token_slot: (!hsm.is_empty()).then_some(api::NewTokenSlot { hsm }),
            replace_root_key: (!dropped.is_empty()).then(|| api::RootKeyReplacement { dropped_slot_ids: vec![dropped] }),
        }
    }

    fn proposal(&mut self, subject: &Subject) -> (String, String) {
        (self.text("proposal_id", subject.proposal.clone()), self.text("reason", "a test"))
    }

    fn key_version(&mut self, namespace: String) -> (String, u32, String) {
        (self.text("namespace", namespace), NO_KEY_VERSION, self.text("reason", "a test"))
    }

    fn state_change(&mut self, name: String) -> (String, String, String) {
        (self.text("name", name), self.text("reason", "a test"), self.text("request_id", ""))
    }
}

/// The text fields of a request, as its protos call them.
pub(crate) fn text_fields(method: Method) -> Vec<&'static str> {
    let mut probe = Probe::none();
    let _ = message(method, &Subject::default(), &mut probe);
    probe.fields
}

/// A request that makes sense, but for what the probe puts into it.
pub(crate) fn message(method: Method, subject: &Subject, probe: &mut Probe<'_>) -> Vec<u8> {
    let (name, namespace, p) = (subject.secret.clone(), subject.namespace.clone(), probe);
    let (expected_revision, page_size) = (subject.revision, 10);
    let made = format!("made-{}", subject.number);
    macro_rules! state_change {
        ($request:ident) => {{
            let (name, reason, request_id) = p.state_change(name);
            api::$request { name, expected_revision: 0, reason, request_id }.encode_to_vec()
        }};
    }
    match method {
        Method::CreateSecret => api::CreateSecretRequest {
            name: p.text("name", subject.absent.clone()),
            payload: p.bytes("payload", "value"),
            access_token: Some(p.token()),
            labels: [(p.text("labels.key", "team"), p.text("labels.value", "payments"))].into(),
            expire_time: None,
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::UpdateSecret => api::UpdateSecretRequest {
            name: p.text("name", name),
            payload: p.bytes("payload", "other"),
            expected_revision,
            expire_time: None,
            never_expires: true,
            access_token: Some(p.token()),
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::UpdateSecretMetadata => api::UpdateSecretMetadataRequest {
            name: p.text("name", name),
            expected_revision,
            set_labels: [(p.text("set_labels.key", "team"), p.text("set_labels.value", "risk"))].into(),
            remove_labels: vec![p.text("remove_labels", "owner")],
            expire_time: None,
            never_expires: true,
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::RevealSecret => api::RevealSecretRequest {
            name: p.text("name", name),
            version: 0,
            reason: p.text("reason", "a test"),
            ticket: p.text("ticket", "T-1"),
        }
        .encode_to_vec(),
        Method::RevealBatch => api::RevealBatchRequest {
            items: vec![api::RevealBatchItem { name: p.text("items.name", name), version: 0 }],
            reason: p.text("reason", "a test"),
            ticket: p.text("ticket", "T-1"),
        }
        .encode_to_vec(),
        Method::DescribeSecret => api::DescribeSecretRequest { name: p.text("name", name) }.encode_to_vec(),
        Method::ListSecrets => {
            api::ListSecretsRequest { prefix: p.text("prefix", namespace), page_size, page_token: p.text("page_token", "") }.encode_to_vec()
        }
        Method::ListSecretVersions => {
            api::ListSecretVersionsRequest { name: p.text("name", name), page_size, page_token: p.text("page_token", "") }.encode_to_vec()
        }
        Method::FindSecrets => api::FindSecretsRequest {
            namespace: p.text("namespace", namespace),
            provider: p.text("provider", PROVIDER),
            subject: p.text("subject", SUBJECT),
        }
        .encode_to_vec(),
        Method::WatchSecrets => {
            api::WatchSecretsRequest { prefix: p.text("prefix", namespace), after_revision: 0, expiring_within: None }.encode_to_vec()
        }
        Method::DisableSecret => state_change!(DisableSecretRequest),
        Method::EnableSecret => state_change!(EnableSecretRequest),
        Method::DestroySecret => state_change!(DestroySecretRequest),
        Method::RestoreSecret => state_change!(RestoreSecretRequest),
        Method::PurgeSecret => state_change!(PurgeSecretRequest),
        Method::CreateNamespace => api::CreateNamespaceRequest {
            name: p.text("name", made),
            environment: api::Environment::Stage.into(),
            limits: Some(api::NamespaceLimits {
                payload_max_bytes: 0,
                versions_kept: 0,
                recovery_window: None,
                require_post_quantum: false,
                cryptoperiod: None,
                auto_rotate: false,
            }),
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::DescribeNamespace => api::DescribeNamespaceRequest { name: p.text("name", namespace) }.encode_to_vec(),
        Method::ListNamespaces => api::ListNamespacesRequest { page_size, page_token: p.text("page_token", "") }.encode_to_vec(),
        Method::CreateRole => api::CreateRoleRequest {
            name: p.text("name", made),
            description: p.text("description", "made by a test"),
            grants: p.grants(),
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::UpdateRole => api::UpdateRoleRequest {
            name: p.text("name", subject.role.0.clone()),
            description: p.text("description", "changed by a test"),
            grants: p.grants(),
            expected_revision: subject.role.1,
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::DeleteRole => api::DeleteRoleRequest { name: p.text("name", subject.role.0.clone()), expected_revision: 0 }.encode_to_vec(),
        Method::DescribeRole => api::DescribeRoleRequest { name: p.text("name", subject.role.0.clone()) }.encode_to_vec(),
        Method::ListRoles => api::ListRolesRequest { page_size, page_token: p.text("page_token", "") }.encode_to_vec(),
        Method::CreateBinding => api::CreateBindingRequest {
            role: p.text("role", "support"),
            principal: p.text("principal", format!("spiffe://people.test/{made}")),
            namespace: p.text("namespace", namespace),
            start_time: None,
            end_time: None,
            reason: p.text("reason", "a test"),
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::ConfirmBinding => {
            api::ConfirmBindingRequest { binding_id: p.text("binding_id", subject.binding.clone()), reason: p.text("reason", "a test") }
                .encode_to_vec()
        }
        Method::CreateBackup => api::CreateBackupRequest { keep: None, reason: p.text("reason", "a test") }.encode_to_vec(),
        Method::ListBackups => api::ListBackupsRequest { page_size, page_token: p.text("page_token", "") }.encode_to_vec(),
        Method::ListRecoveryRecipients => api::ListRecoveryRecipientsRequest {}.encode_to_vec(),
        Method::DeleteBinding => {
            api::DeleteBindingRequest { binding_id: p.text("binding_id", subject.binding.clone()), reason: p.text("reason", "a test") }
                .encode_to_vec()
        }
        Method::ListBindings => api::ListBindingsRequest {
            principal: p.text("principal", ""),
            role: p.text("role", ""),
            namespace: p.text("namespace", namespace),
            page_size,
            page_token: p.text("page_token", ""),
        }
        .encode_to_vec(),
        Method::RotateKey => api::RotateKeyRequest {
            namespace: p.text("namespace", namespace),
            expected_active_version: 0,
            reason: p.text("reason", "a test"),
            ..api::RotateKeyRequest::default()
        }
        .encode_to_vec(),
        Method::StartRewrap => api::StartRewrapRequest {
            namespace: p.text("namespace", namespace),
            reencrypt: false,
            rate_per_s: 0,
            reason: p.text("reason", "a test"),
        }
        .encode_to_vec(),
        Method::PauseRewrap => {
            api::PauseRewrapRequest { namespace: p.text("namespace", namespace), reason: p.text("reason", "a test") }.encode_to_vec()
        }
        Method::ResumeRewrap => {
            api::ResumeRewrapRequest { namespace: p.text("namespace", namespace), rate_per_s: 0, reason: p.text("reason", "a test") }
                .encode_to_vec()
        }
        Method::ListRewraps => {
            api::ListRewrapsRequest { namespace: p.text("namespace", namespace), page_size, page_token: p.text("page_token", "") }
                .encode_to_vec()
        }
        Method::WatchRewrap => api::WatchRewrapRequest { namespace: p.text("namespace", namespace) }.encode_to_vec(),
        Method::ListKeys => {
            api::ListKeysRequest { namespace: p.text("namespace", namespace), page_size, page_token: p.text("page_token", "") }
                .encode_to_vec()
        }
        Method::DisableKey => {
            let (namespace, version, reason) = p.key_version(namespace);
            api::DisableKeyRequest { namespace, version, reason }.encode_to_vec()
        }
        Method::EnableKey => {
            let (namespace, version, reason) = p.key_version(namespace);
            api::EnableKeyRequest { namespace, version, reason }.encode_to_vec()
        }
        Method::RetireKey => {
            let (namespace, version, reason) = p.key_version(namespace);
            api::RetireKeyRequest { namespace, version, reason }.encode_to_vec()
        }
        Method::CancelKeyRetirement => {
            let (namespace, version, reason) = p.key_version(namespace);
            api::CancelKeyRetirementRequest { namespace, version, reason }.encode_to_vec()
        }
        Method::GetKeyStatement => {
            api::GetKeyStatementRequest { namespace: p.text("namespace", namespace), version: NO_KEY_VERSION }.encode_to_vec()
        }
        Method::GetStatus => api::GetStatusRequest {}.encode_to_vec(),
        Method::Unseal => api::UnsealRequest { passphrase: p.bytes("passphrase", PASSPHRASE), share: p.bytes("share", "") }.encode_to_vec(),
        Method::ForgetShares => api::ForgetSharesRequest { reason: p.text("reason", "a test") }.encode_to_vec(),
        Method::CreateProposal => api::CreateProposalRequest {
            change: Some(p.change()),
            reason: p.text("reason", "a test"),
            expire_time: None,
            request_id: p.text("request_id", ""),
        }
        .encode_to_vec(),
        Method::ApproveProposal => {
            let (proposal_id, reason) = p.proposal(subject);
            api::ApproveProposalRequest { proposal_id, reason }.encode_to_vec()
        }
        Method::WithdrawProposal => {
            let (proposal_id, reason) = p.proposal(subject);
            api::WithdrawProposalRequest { proposal_id, reason }.encode_to_vec()
        }
        Method::DescribeProposal => {
            api::DescribeProposalRequest { proposal_id: p.text("proposal_id", subject.proposal.clone()) }.encode_to_vec()
        }
        Method::ListProposals => {
            api::ListProposalsRequest { only_pending: true, page_size, page_token: p.text("page_token", "") }.encode_to_vec()
        }
        Method::ListSlots => api::ListSlotsRequest {}.encode_to_vec(),
        Method::TestSlot => {
            api::TestSlotRequest { passphrase: p.bytes("passphrase", PASSPHRASE), share: p.bytes("share", "") }.encode_to_vec()
        }
        Method::PresentSecret => api::PresentSecretRequest {
            proposal_id: p.text("proposal_id", subject.proposal.clone()),
            passphrase: p.bytes("passphrase", PASSPHRASE),
            share: p.bytes("share", ""),
        }
        .encode_to_vec(),
        Method::CarryOutProposal => {
            let (proposal_id, reason) = p.proposal(subject);
            api::CarryOutProposalRequest { proposal_id, new_passphrase: p.bytes("new_passphrase", ""), reason }.encode_to_vec()
        }
        Method::Seal => api::SealRequest { reason: p.text("reason", "a test") }.encode_to_vec(),
        Method::ListAuditEntries => api::ListAuditEntriesRequest {
            start_time: None,
            end_time: None,
            principal: p.text("principal", ""),
            action: p.text("action", ""),
            resource_prefix: p.text("resource_prefix", namespace),
            method: p.text("method", ""),
            decision: p.text("decision", ""),
            outcome: p.text("outcome", ""),
            oldest_first: false,
            page_size,
            page_token: p.text("page_token", ""),
            event: p.text("event", ""),
        }
        .encode_to_vec(),
    }
}
