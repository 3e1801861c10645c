//! The shape of the API, read out of its descriptors: what no field of it may be.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use strongroom::api::{DESCRIPTORS, Method};

use crate::requests::text_fields;

const PACKAGE: &str = "strongroom.v1";
/// Every field of bytes: what a secret lies in, and the pieces of a backup, which nobody but its recipients can open. No other may come
/// without thought (and `debug_redact`).
const BYTES: [&str; 13] = [
    "CarryOutProposalRequest.new_passphrase",
    "CreateBackupResponse.piece",
    "CreateSecretRequest.payload",
    "NewShare.text",
    "PresentSecretRequest.passphrase",
    "PresentSecretRequest.share",
    "RevealSecretResponse.payload",
    "RevealedSecret.payload",
    "TestSlotRequest.passphrase",
    "TestSlotRequest.share",
    "UnsealRequest.passphrase",
    "UnsealRequest.share",
    "UpdateSecretRequest.payload",
];

/// Messages of the public API, nested ones included.
fn messages() -> Vec<DescriptorProto> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the build made it");
    let own = set.file.into_iter().filter(|file| file.package() == PACKAGE);
    let mut messages: Vec<_> = own.flat_map(|file| file.message_type).collect();
    let nested: Vec<_> = messages.iter().flat_map(|message| message.nested_type.clone()).collect();
    messages.extend(nested);
    messages
}

fn fields() -> Vec<(String, FieldDescriptorProto)> {
    let named = |message: DescriptorProto| {
        let name = message.name().to_owned();
        message.field.into_iter().map(move |field| (format!("{name}.{}", field.name()), field))
    };
    messages().into_iter().filter(|message| !is_map_entry(message)).flat_map(named).collect()
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
}

/// The words of a field's name.
fn words(field: &FieldDescriptorProto) -> Vec<String> {
    field.name().split('_').map(str::to_owned).collect()
}

fn carries_text(field: &FieldDescriptorProto) -> bool {
    matches!(field.r#type(), Type::String | Type::Bytes)
}

// immune: row-36
#[test]
fn no_caller_chooses_what_encryption_rests_on() {
    const FORBIDDEN: [&str; 13] =
        ["nonce", "iv", "salt", "key", "keys", "seed", "counter", "aad", "tag", "mac", "cipher", "ciphertext", "algorithm"];
    let mut found = Vec::new();
    for (name, field) in fields() {
        // Only what callers send can choose anything. A key version or a slot that is shown is a message without a key in it.
        let is_shown = name.starts_with("Key.") || name.starts_with("Slot.") || name.contains("Response.");
        // Which key is to be replaced: chosen by the vault, as its name says.
        let is_shown = is_shown || name == "ProposedChange.replace_root_key";
        if words(&field).iter().any(|word| FORBIDDEN.contains(&word.as_str())) && !is_shown {
            found.push(name);
        }
    }
    assert!(found.is_empty(), "{found:?}");
    let key = messages().into_iter().find(|message| message.name() == "Key").expect("it is shown");
    let of_key: Vec<_> = key.field.iter().map(FieldDescriptorProto::name).collect();
    let of_versions = ["namespace", "version", "state", "algorithm", "create_time"];
    let of_rows = ["rows", "rows_time", "rewrap_time", "cryptoperiod", "over_age", "destroy_time"];
    assert_eq!(of_key, [&of_versions[..], &of_rows].concat());
}

// immune: row-42
#[test]
fn no_caller_names_a_file_or_what_is_run() {
    const FORBIDDEN: [&str; 20] = [
        "file",
        "files",
        "filename",
        "folder",
        "dir",
        "directory",
        "path",
        "paths",
        "device",
        "socket",
        "url",
        "uri",
        "host",
        "address",
        "endpoint",
        "command",
        "program",
        "script",
        "plugin",
        "config",
    ];
    // The pattern of a grant is matched with names of secrets alone.
    let is_forbidden = |name: &str, field: &FieldDescriptorProto| {
        name != "Grant.path_pattern" && words(field).iter().any(|word| FORBIDDEN.contains(&word.as_str()))
    };
    let found: Vec<_> = fields().into_iter().filter(|(name, field)| is_forbidden(name, field)).map(|(name, _)| name).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn values_lie_in_these_fields_alone() {
    let mut found: Vec<_> = fields().into_iter().filter(|(_, field)| field.r#type() == Type::Bytes).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), BYTES);
}

/// How many texts a message of that type can carry, one for each part of a map.
fn texts_in(messages: &[DescriptorProto], type_name: &str) -> usize {
    let short = type_name.rsplit('.').next().expect("a name");
    let Some(message) = messages.iter().find(|message| message.name() == short) else { return 0 };
    let of_field = |field: &FieldDescriptorProto| match field.r#type() {
        Type::Message => texts_in(messages, field.type_name()),
        _ => usize::from(carries_text(field)),
    };
    message.field.iter().map(of_field).sum()
}

/// The requests of the tests reach every text field that there is: else a canary would prove less than it says.
#[test]
fn the_requests_of_the_tests_fill_every_text_field() {
    let messages = messages();
    for method in Method::ALL.iter().copied() {
        let expected = texts_in(&messages, &format!("{}Request", method.name()));
        assert_eq!(text_fields(method).len(), expected, "{method:?}: {:?}", text_fields(method));
    }
}

/// The fields of a request, as errors call them; lists and maps beside what is in them.
pub(crate) fn fields_of_request(method: Method) -> Vec<String> {
    fields_of(&messages(), &format!("{}Request", method.name()))
}

fn fields_of(messages: &[DescriptorProto], type_name: &str) -> Vec<String> {
    let short = type_name.rsplit('.').next().expect("a name");
    let Some(message) = messages.iter().find(|message| message.name() == short) else { return Vec::new() };
    let mut found = Vec::new();
    for field in &message.field {
        let inner = if field.r#type() == Type::Message { fields_of(messages, field.type_name()) } else { Vec::new() };
        if inner.is_empty() || field.label() == Label::Repeated {
            found.push(field.name().to_owned());
        }
        found.extend(inner.iter().map(|inner| format!("{}.{inner}", field.name())));
    }
    found
}

#[test]
fn every_list_that_a_caller_sends_is_known() {
    let is_sent = |name: &str| {
        name.contains("Request.")
            || name.starts_with("Grant.")
            || name.starts_with("AccessTokenDetails.")
            || name.starts_with("NewQuorumSlot.")
            || name.starts_with("RootKeyReplacement.")
    };
    let repeated: Vec<_> =
        fields().into_iter().filter(|(name, field)| field.label() == Label::Repeated && is_sent(name)).map(|(name, _)| name).collect();
    // Each has a bound of its own; see the tests of edges.
    assert_eq!(
        repeated,
        [
            "Grant.actions",
            "CreateRoleRequest.grants",
            "UpdateRoleRequest.grants",
            "NewQuorumSlot.recipients",
            "RootKeyReplacement.dropped_slot_ids",
            "AccessTokenDetails.scopes",
            "CreateSecretRequest.labels",
            "UpdateSecretMetadataRequest.set_labels",
            "UpdateSecretMetadataRequest.remove_labels",
            "RevealBatchRequest.items",
        ]
    );
}
