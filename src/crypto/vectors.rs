//! The formats of this module, frozen in `tests/vectors`: made again byte for byte, and opened from the file.

use serde_json::{Value, json};

use super::testing::{CountingRandom, bytes, frozen};
use super::*;
use crate::model::{NamespaceId, SecretId, SlotId, Timestamp, VaultId};

const VAULT: VaultId = VaultId::from_bytes([0x11; 16]);
const NAMESPACE: NamespaceId = NamespaceId::from_bytes([0x22; 16]);
const SECRET: SecretId = SecretId::from_bytes([0x33; 16]);
const SLOT: SlotId = SlotId::from_bytes([0x44; 16]);
const KEY: [u8; 32] = [0x55; 32];

fn key() -> Key {
    Key::from_bytes(&mut KEY.clone())
}

fn contexts() -> [(&'static str, Context<'static>); 10] {
    let (vault, namespace, secret) = (VAULT, NAMESPACE, SECRET);
    [
        ("root", Context::Root { vault, slot: SLOT, kind: 1, parameters: &[1, 2, 3] }),
        ("system", Context::System { vault, epoch: 7 }),
        ("secret", Context::Secret { vault, name: "audit-signing", epoch: 7 }),
        ("kek", Context::Kek { vault, namespace, version: 7 }),
        ("index", Context::Index { vault, namespace, epoch: 7 }),
        ("dek", Context::Dek { vault, namespace, secret, version: 7, kek_version: 8 }),
        ("meta", Context::Meta { vault, namespace, secret }),
        ("payload", Context::Payload { vault, namespace, secret, version: 7 }),
        ("row", Context::Row { vault, key: b"k\x22" }),
        ("page", Context::Page { vault, principal: "spiffe://shop.example/backend", filter: b"merchants" }),
    ]
}

#[test]
fn ciphertexts() {
    let random = CountingRandom::new("ciphertexts");
    let plaintext = b"STAGE_canary";
    let cases = contexts().map(|(label, context)| {
        let info = context.info().expect("short");
        let ciphertext = encrypt(&key(), &context, plaintext, &random).expect("it counts");
        json!({ "label": label, "info": hex::encode(info), "ciphertext": hex::encode(ciphertext) })
    });
    let file = frozen("ciphertexts.json", &json!({ "key": hex::encode(KEY), "plaintext": hex::encode(plaintext), "cases": cases }));
    for ((label, context), case) in contexts().iter().zip(file["cases"].as_array().expect("a list")) {
        let opened = decrypt(&key(), context, &bytes(&case["ciphertext"])).expect("frozen");
        assert_eq!(opened.expose(), plaintext, "{label}");
    }
}

#[test]
fn envelope() {
    let ids = EnvelopeIds { vault: VAULT, namespace: NAMESPACE, secret: SECRET, version: 7, kek_version: 8 };
    let (meta, payload) = (b"merchants/12345", b"STAGE_canary");
    let sealed = seal(&key(), ids, meta, payload, &CountingRandom::new("envelope")).expect("it counts");
    let made = json!({
        "kek": hex::encode(KEY), "vault": ids.vault.to_string(), "namespace": ids.namespace.to_string(), "secret": ids.secret.to_string(),
        "version": ids.version, "kek_version": ids.kek_version, "meta": hex::encode(meta), "payload": hex::encode(payload),
        "sealed": { "wrapped_dek": hex::encode(sealed.wrapped_dek), "meta": hex::encode(sealed.meta), "payload": hex::encode(sealed.payload) },
    });
    let file = &frozen("envelope.json", &made)["sealed"];
    let (dek, sealed_meta, sealed_payload) = (bytes(&file["wrapped_dek"]), bytes(&file["meta"]), bytes(&file["payload"]));
    let opened = open_both(&key(), ids, &dek, &sealed_meta, &sealed_payload).expect("frozen");
    assert_eq!((opened.0.expose(), opened.1.expose()), (&meta[..], &payload[..]));
}

#[test]
fn names() {
    let (index, vault_wide) = (IndexKey::new(&key()), NameKey::new(&key()));
    let heads = [vec![], vec!["merchants"], vec!["merchants", "12345"], vec!["é"]]
        .map(|segments| json!({ "segments": segments, "row_key": hex::encode(index.head_key(NAMESPACE, &segments)) }));
    let lookup = index.lookup_tag("wepay", "12345").expect("short");
    let tag = |label, name: &str| json!({ "name": name, "tag": hex::encode(vault_wide.tag(label, name.as_bytes())) });
    let made = json!({
        "key": hex::encode(KEY), "namespace": NAMESPACE.to_string(), "heads": heads,
        "lookup": {
            "provider": "wepay", "subject": "12345", "tag": hex::encode(lookup),
            "row_prefix": hex::encode(IndexKey::lookup_prefix(NAMESPACE, &lookup)),
        },
        "namespace_name": tag(TagLabel::Namespace, "wepay-prod"), "role_name": tag(TagLabel::Role, "reader"),
        "fingerprint": tag(TagLabel::Fingerprint, "STAGE_canary"),
    });
    frozen("names.json", &made);
}

#[test]
fn keyring() {
    let random = CountingRandom::new("keyring");
    let now = Timestamp::parse("2026-11-24T08:00:00Z").expect("valid");
    let mut keyring = Keyring::create(VAULT, NAMESPACE, &key(), &random, now).expect("it counts");
    for _ in 0..4 {
        keyring = keyring.rotate(&key(), &random, now).expect("it counts");
    }
    let steps = [KeyState::Disabled, KeyState::Scheduled(now), KeyState::Destroyed];
    for (version, count) in [(1, 3), (2, 2), (3, 1)] {
        for state in &steps[..count] {
            keyring = keyring.with_state(version, *state, &key()).expect("a step along the line");
        }
    }
    let keys = |keyring: &Keyring| -> Value {
        keyring
            .inventory()
            .map(|info| keyring.for_decrypt(info.version).map_or(Value::Null, |key| hex::encode(key.expose()).into()))
            .collect()
    };
    let made = json!({
        "system_key": hex::encode(KEY), "vault": VAULT.to_string(), "namespace": NAMESPACE.to_string(),
        "keys_in_service": keys(&keyring), "record": hex::encode(keyring.encode()),
    });
    let file = frozen("keyring.json", &made);
    let opened = Keyring::decode(VAULT, NAMESPACE, &key(), &bytes(&file["record"])).expect("frozen");
    assert_eq!(keys(&opened), file["keys_in_service"]);
    assert_eq!(opened.active().0, 5);
}
