//! Messages as any caller may send them: refused, or read; and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use strongroom::api;

fn round<M: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let again = M::decode(message.encode_to_vec().as_slice()).expect("what was written can be read");
        assert!(again == message || message.encode_to_vec() == again.encode_to_vec());
    }
}

fuzz_target!(|bytes: &[u8]| {
    round::<api::CreateSecretRequest>(bytes);
    round::<api::UpdateSecretRequest>(bytes);
    round::<api::UpdateSecretMetadataRequest>(bytes);
    round::<api::RevealSecretRequest>(bytes);
    round::<api::ListSecretsRequest>(bytes);
    round::<api::FindSecretsRequest>(bytes);
    round::<api::CreateNamespaceRequest>(bytes);
    round::<api::CreateRoleRequest>(bytes);
    round::<api::CreateBindingRequest>(bytes);
    round::<api::ListAuditEntriesRequest>(bytes);
    round::<api::UnsealRequest>(bytes);
});
