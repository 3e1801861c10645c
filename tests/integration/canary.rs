//! A token in every field of every RPC: it stands in no log, no error and no file.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use strongroom::api::{DESCRIPTORS, Method};
use strongroom::model::Environment;
use tonic::transport::Channel;

use crate::harness::{Running, Site, person, workload};
use crate::wire::{Subject, channel, request, send};

/// All messages of the API by full name, and the request of each RPC.
struct Schema {
    messages: BTreeMap<String, DescriptorProto>,
    requests: BTreeMap<String, String>,
}

impl Schema {
    fn new() -> Self {
        let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the build's own descriptors");
        let (mut messages, mut requests) = (BTreeMap::new(), BTreeMap::new());
        for file in &set.file {
            for message in &file.message_type {
                gather(&format!(".{}", file.package()), message, &mut messages);
            }
            for method in file.service.iter().flat_map(|service| &service.method) {
                requests.insert(method.name().to_owned(), method.input_type().to_owned());
            }
        }
        Self { messages, requests }
    }

    /// The ways to every text or bytes field of a message: field numbers from the outside in, and its name.
    fn fields(&self, message: &str) -> Vec<(Vec<i32>, String)> {
        let mut found = Vec::new();
        for field in &self.messages[message].field {
            match field.r#type() {
                Type::String | Type::Bytes => found.push((vec![field.number()], field.name().to_owned())),
                Type::Message => found.extend(self.fields(field.type_name()).into_iter().map(|(way, name)| {
                    let outer = std::iter::once(field.number()).chain(way).collect();
                    (outer, format!("{}.{name}", field.name()))
                })),
                _ => {}
            }
        }
        found
    }

    fn every_field(&self) -> impl Iterator<Item = &FieldDescriptorProto> {
        self.messages.values().flat_map(|message| &message.field)
    }
}

fn gather(scope: &str, message: &DescriptorProto, into: &mut BTreeMap<String, DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    message.nested_type.iter().for_each(|nested| gather(&name, nested, into));
    into.insert(name, message.clone());
}

/// The field at the end of a way, with this value, as it goes on the wire: length-delimited at every step.
fn encoded(way: &[i32], value: &[u8]) -> Vec<u8> {
    let (number, rest) = way.split_first().expect("a way has an end");
    let inner = if rest.is_empty() { value.to_vec() } else { encoded(rest, value) };
    let mut out = Vec::new();
    prost::encoding::encode_varint(u64::try_from(*number).expect("positive") << 3 | 2, &mut out);
    prost::encoding::encode_varint(inner.len() as u64, &mut out);
    out.extend(inner);
    out
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

async fn everybody(site: &Site, running: &Running) -> Vec<Channel> {
    site.make_namespace(running, "here", Environment::Stage).await;
    let mut channels = vec![channel(site, running, &person("ana")).await, channel(site, running, &workload("outsider")).await];
    for (role, namespace) in
        [("backend", Some("here")), ("writer", Some("here")), ("key-admin", None), ("auditor", None), ("custodian", None)]
    {
        site.bind(running, role, &person(role), namespace).await;
        channels.push(channel(site, running, &person(role)).await);
    }
    channels
}

// immune: row-40
// immune: row-41
#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_any_field_stands_in_no_log_error_or_file() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    let channels = everybody(&site, &running).await;
    let schema = Schema::new();
    let canary = format!("STAGE_{}", "00facade".repeat(8));
    let (mut fields, mut answers) = (0, 0);
    for method in Method::ALL.iter().copied() {
        for (way, field) in schema.fields(&schema.requests[method.name()]) {
            fields += 1;
            for (number, channel) in channels.iter().enumerate() {
                let subject = Subject {
                    secret: format!("here/{fields}"),
                    revision: 1,
                    absent: format!("here/{fields}-{number}"),
                    namespace: "here".to_owned(),
                    role: ("nobody".to_owned(), 1),
                    binding: "0".repeat(32),
                    number: fields * 100 + number,
                };
                // Later fields of a message win over earlier ones: a good request, but for the one field.
                let bytes = [request(method, &subject), encoded(&way, canary.as_bytes())].concat();
                match send(channel, method, bytes).await {
                    // A value that the caller may have comes back as it is; nothing else repeats it.
                    Ok(answer) => assert!(!holds(answer.get_ref(), canary.as_bytes()), "{method:?}.{field}"),
                    Err(status) => {
                        let shown = format!("{status:?} {:?}", String::from_utf8_lossy(status.details()));
                        assert!(!shown.contains(&canary), "{method:?}.{field}: {shown}");
                    }
                }
                answers += 1;
            }
        }
    }
    assert!(fields > 80 && answers == fields * channels.len(), "{fields} fields, {answers} answers");
    // Garbage around it, and a message that is too long.
    for bytes in [
        [b"\xff\xff\xff\x0f", canary.as_bytes()].concat(),
        canary.repeat(8_000).into_bytes(),
        [&[0x0a, 0xff, 0x7f][..], canary.as_bytes()].concat(),
    ] {
        let status = send(&channels[0], Method::RevealSecret, bytes).await.expect_err("refused");
        assert!(!format!("{status:?}").contains(&canary));
    }
    let log = running.log();
    assert!(running.stop());
    assert!(!log.contains(&canary), "the server's log");
    for (path, bytes) in site.files("audit").into_iter().chain(site.files("data")) {
        assert!(!holds(&bytes, canary.as_bytes()), "{}", path.display());
    }
}

// immune: row-36
// immune: row-42
#[test]
fn no_field_of_the_api_chooses_a_nonce_or_names_a_file() {
    let schema = Schema::new();
    for field in schema.every_field() {
        let words: Vec<_> = field.name().split('_').collect();
        for forbidden in ["nonce", "iv", "salt", "aad", "file", "folder", "directory", "plugin", "command", "url"] {
            assert!(!words.contains(&forbidden), "{}", field.name());
        }
    }
}
