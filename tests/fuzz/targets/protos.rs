//! Messages as any caller may send them: refused, or read; and what was read can be written and read again.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use strongroom::api;

fn round<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let written = message.encode_to_vec();
        assert_eq!(written.len(), message.encoded_len());
        assert!(M::decode(written.as_slice()).expect("what was written can be read") == message);
        // Every message may stand in an error of ours.
        let _ = format!("{message:?}");
    }
}

macro_rules! round_each {
    ($($message:ident),* $(,)?) => {
        /// Every request of the API.
        fn round_each(bytes: &[u8]) {
            $(round::<api::$message>(bytes);)*
        }
    };
}

round_each!(
    CreateRoleRequest,
    UpdateRoleRequest,
    DeleteRoleRequest,
    DescribeRoleRequest,
    ListRolesRequest,
    CreateBindingRequest,
    ConfirmBindingRequest,
    DeleteBindingRequest,
    ListBindingsRequest,
    ListAuditEntriesRequest,
    CreateBackupRequest,
    ListBackupsRequest,
    ListRecoveryRecipientsRequest,
    RotateKeyRequest,
    ListKeysRequest,
    StartRewrapRequest,
    PauseRewrapRequest,
    ResumeRewrapRequest,
    ListRewrapsRequest,
    WatchRewrapRequest,
    CreateNamespaceRequest,
    DescribeNamespaceRequest,
    ListNamespacesRequest,
    GetStatusRequest,
    UnsealRequest,
    SealRequest,
    CreateSecretRequest,
    UpdateSecretRequest,
    UpdateSecretMetadataRequest,
    RevealSecretRequest,
    RevealBatchRequest,
    DescribeSecretRequest,
    ListSecretsRequest,
    ListSecretVersionsRequest,
    FindSecretsRequest,
    WatchSecretsRequest,
    DisableSecretRequest,
    EnableSecretRequest,
    DestroySecretRequest,
    RestoreSecretRequest,
    PurgeSecretRequest,
);

fuzz_target!(|bytes: &[u8]| round_each(bytes));
