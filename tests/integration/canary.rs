//! A token put into every field of every call, and then searched for in everything that the server has written or answered.

use prost::Message;
use strongroom::api::{self, Method};
use strongroom::client::Reveal;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::harness::{person, workload};
use crate::requests::{Probe, Subject, message, text_fields};
use crate::stage::{EVERYTHING, Stage, bytes, named};
use crate::wire::{ask, code, send, send_with};

/// As long as a WePay token, and of its form.
const HEX: &str = "c0ffee5ca1ab1e0ddba11facade0deadbeef5eed0fa11c0de5afe7ea1ca5cade";
/// A value that looks like nothing.
const WORD: &str = "quillfeather-marmalade-7";
/// What stands in the audit log, so that a search that finds nothing there is wrong.
const CONTROL: &str = "the canary's own control";

fn token() -> String {
    format!("STAGE_{HEX}")
}

/// What must be found nowhere: the token and the word, as they are, in capitals, in hex, as a list of numbers, and in base64's
/// three positions.
fn needles() -> Vec<Vec<u8>> {
    let mut needles = Vec::new();
    for canary in [HEX, WORD] {
        let binary = hex::decode(canary).unwrap_or_default();
        needles.extend([canary.as_bytes().to_vec(), canary.to_uppercase().into_bytes(), hex::encode(canary).into_bytes()]);
        needles.push(format!("{:?}", canary.as_bytes()).trim_matches(['[', ']']).as_bytes().to_vec());
        needles.extend(Some(binary).filter(|binary| !binary.is_empty()));
        // From the second group on, so that it does not matter what stands before.
        needles.extend((0..3).map(|skip| base64(&canary.as_bytes()[skip..skip + 18])));
    }
    needles
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for group in bytes.chunks_exact(3) {
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        text.extend([18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize]));
    }
    text
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Everything that a refusal tells.
fn told(status: &Status) -> Vec<u8> {
    let metadata = format!("{:?}", status.metadata());
    [status.message().as_bytes(), status.details(), metadata.as_bytes()].concat()
}

struct Scene {
    stage: Stage,
    callers: Vec<Channel>,
    subject: Subject,
    /// Where an answer held what it should not.
    leaks: Vec<String>,
    answered: usize,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::new("[audit]\nsegment_bytes = 1048576\n[log]\nlevel = \"debug\"\n").await;
        let namespace = stage.namespace().await;
        let owner = stage.holder(&namespace, &[EVERYTHING]).await;
        let vault = stage.role(&[EVERYTHING]).await;
        stage.bind(&vault, &owner, None).await;
        let client = stage.client(&owner).await;
        let subject = stage.subject(&namespace, &client).await;
        let reader = person("operator-of-canary");
        stage.bind("reader", &reader, Some(&namespace)).await;
        client.reveal_secret(Reveal::latest(&named(&subject.secret)).reason(CONTROL)).await.expect("revealed");
        let mut callers = Vec::new();
        for id in [owner, person("ana"), reader, workload("nobody-of-canary")] {
            callers.push(stage.channel(&id).await);
        }
        Self { stage, callers, subject, leaks: Vec::new(), answered: 0 }
    }

    /// Sends it as everybody, and looks at what comes back.
    async fn send(&mut self, what: &str, path: &str, request: &[u8]) {
        for number in 0..self.callers.len() {
            let answer = send(&self.callers[number], path, request.to_vec()).await;
            self.look(what, answer);
        }
    }

    fn look(&mut self, what: &str, answer: Result<Vec<u8>, Status>) {
        let (code, text) = match &answer {
            Ok(message) => (Code::Ok, message.clone()),
            Err(status) => (status.code(), told(status)),
        };
        self.answered += 1;
        if needles().iter().any(|needle| holds(&text, needle)) {
            self.leaks.push(format!("the answer ({code:?}) to {what}"));
        }
    }

    async fn in_every_text_field(&mut self) {
        for method in Method::ALL.iter().copied() {
            for (position, field) in text_fields(method).into_iter().enumerate() {
                let mut texts = vec![token(), format!("see {} please", token()), token().to_lowercase(), format!("Bearer {HEX}")];
                if matches!(field, "payload" | "passphrase") {
                    texts.push(WORD.to_owned());
                }
                if matches!(field, "name" | "items.name" | "prefix" | "resource_prefix") {
                    texts.push(format!("{}/merchants/{}", self.subject.namespace, token()));
                }
                for text in texts {
                    let subject = Subject { number: self.stage.number(), ..self.subject.clone() };
                    let absent = format!("{}/made/{}", subject.namespace, subject.number);
                    let subject = Subject { absent, ..subject };
                    let request = message(method, &subject, &mut Probe::at(position, &text));
                    self.send(&format!("{method:?} with the canary in {field}"), method.path(), &request).await;
                }
            }
        }
    }

    /// What no proper client sends: broken, oversized and unknown things that hold the canary.
    async fn in_malformed_requests(&mut self) {
        let text = token();
        let broken = |head: &[u8]| [head, text.as_bytes(), WORD.as_bytes()].concat();
        let shapes = [
            ("a length beyond the end", broken(&[0x0a, 0xff, 0x7f])),
            ("text that is no UTF-8", [&[0x0a, 80, 0xff][..], &broken(&[])[..79]].concat()),
            ("the wrong wire type", broken(&[0x0b])),
            ("an endless number", broken(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
            ("an unknown field", [&[0xfa, 0x3f, 70][..], text.as_bytes()].concat()),
            ("nothing but the canary", text.clone().into_bytes()),
            ("a message that is too long", text.as_bytes().repeat(5_000)),
        ];
        // An unknown field is none of the server's business: `Seal` would seal.
        for method in Method::ALL.iter().copied().filter(|method| *method != Method::Seal) {
            for (what, shape) in &shapes {
                self.send(&format!("{method:?}: {what}"), method.path(), shape).await;
            }
        }
        for path in [format!("/strongroom.v1.SecretService/{text}"), format!("/{text}/RevealSecret")] {
            self.send("an unknown path", &path, &[]).await;
        }
        let unknown = api::CreateNamespaceRequest { name: "unknown".to_owned(), environment: 4711, limits: None, request_id: text.clone() };
        self.send("an unknown number of an enum", Method::CreateNamespace.path(), &unknown.encode_to_vec()).await;
        for key in ["grpc-timeout", "authorization", "x-request-id", "user-agent"] {
            let mut request = Request::new(message(Method::DescribeSecret, &self.subject, &mut Probe::none()));
            request.metadata_mut().insert(key, MetadataValue::try_from(&text).expect("plain"));
            let answer = send_with(&self.callers[0], Method::DescribeSecret.path(), request).await;
            self.look(&format!("{key} in the metadata"), answer);
        }
    }

    /// The files and the log of the server that hold one of the needles.
    fn written(self) -> Vec<String> {
        let Stage { site, running, .. } = self.stage;
        let log = running.stop_and_read();
        assert!(log.contains("DEBUG") && log.contains("Headers {"), "the log is not even searched at its most talkative");
        let mut places = vec![("the log".to_owned(), log.into_bytes())];
        for folder in ["data", "audit"] {
            places.extend(site.files(folder).into_iter().map(|(path, content)| (path.display().to_string(), content)));
        }
        let needles = needles();
        places.retain(|(_, content)| needles.iter().any(|needle| holds(content, needle)));
        places.into_iter().map(|(place, _)| place).collect()
    }
}

// immune: row-40
// immune: row-41
#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_found_nowhere_but_in_the_answer_that_reveals_it() {
    let mut scene = Scene::set().await;
    scene.in_every_text_field().await;
    scene.in_malformed_requests().await;

    // Stored it was, and comes out as it went in.
    for (number, value) in [token(), WORD.to_owned()].into_iter().enumerate() {
        let name = format!("{}/control/{number}", scene.subject.namespace);
        let create = api::CreateSecretRequest { name: name.clone(), payload: value.clone().into_bytes(), ..Default::default() };
        send(&scene.callers[0], Method::CreateSecret.path(), create.encode_to_vec()).await.expect("stored");
        let reveal = api::RevealSecretRequest { name, ..Default::default() };
        let answer: api::RevealSecretResponse = ask(&scene.callers[0], Method::RevealSecret, &reveal).await.expect("revealed");
        assert_eq!(answer.payload, value.into_bytes());
    }
    // A wrong passphrase on a sealed vault is a secret, too.
    let cleo = scene.stage.site.client(&scene.stage.running, &person("cleo")).await;
    cleo.seal("").await.expect("sealed");
    for passphrase in [token(), WORD.to_owned(), "x".repeat(2_000) + &token()] {
        let request = api::UnsealRequest { passphrase: passphrase.clone().into_bytes(), share: Vec::new() };
        let channel = scene.stage.channel(&person("cleo")).await;
        let answer = send(&channel, Method::Unseal.path(), request.encode_to_vec()).await;
        assert_ne!(code(&answer), Code::Ok);
        scene.look("a wrong passphrase", answer);
        let typed = cleo.unseal(bytes(&passphrase)).await.expect_err("refused");
        assert!(!needles().iter().any(|needle| holds(format!("{typed} {typed:?}").as_bytes(), needle)));
    }

    let audit = scene.stage.site.files("audit");
    assert!(audit.iter().any(|(_, content)| holds(content, CONTROL.as_bytes())), "the search does not even find what is there");
    assert!(scene.answered > 1_000, "{} answers only", scene.answered);
    assert!(scene.leaks.is_empty(), "{}", scene.leaks.join("\n"));
    assert_eq!(scene.written(), Vec::<String>::new(), "they hold the canary");
}
