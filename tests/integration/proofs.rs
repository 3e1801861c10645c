//! What a connection proves: identity and class come from the certificate's one SPIFFE ID and its anchor, from nothing else.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use strongroom::api::Method;
use strongroom::client::{AuditFilter, Client, ClientError, Credentials, NewNamespace, Page, Reveal};
use strongroom::model::{Clock, Environment, SpiffeId, SystemClock};
use strongroom::pki::{LeafProfile, Usage};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Running, Site, person, workload};
use crate::requests::Subject;
use crate::stage::{named, opaque, shared};
use crate::wire::{call, client_with, code, refused};

fn profile(id: &SpiffeId) -> LeafProfile {
    let now = SystemClock.now();
    LeafProfile::new(id, Usage::Client, now, now.plus(Duration::from_secs(600)))
}

/// Whether the server would not even talk to it.
pub(crate) async fn is_turned_away(running: &Running, credentials: Credentials) -> bool {
    let options = strongroom::client::ClientOptions::new(running.address().to_string(), crate::harness::server_id(), credentials);
    let connected = Client::connect(options.retries(0)).await;
    let answer = match connected {
        Ok(client) => client.status().await.map(drop),
        Err(error) => Err(error),
    };
    matches!(answer, Err(ClientError::Tls { .. } | ClientError::Unreachable { .. }))
}

// immune: row-2
#[tokio::test(flavor = "multi_thread")]
async fn a_common_name_changes_nothing() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let owner = stage.holding(&namespace, &["create,describe:**"]).await;
    let name = named(format!("{namespace}/merchants/1"));
    owner.create_secret(opaque(&name, "value")).await.expect("stored");
    let nobody = workload(&format!("nobody-{}", stage.number()));
    for common_name in ["admin", "root", "ana", "spiffe://people.test/ana", "access-admin", "strongroom"] {
        let forged = LeafProfile { common_name: Some(common_name.to_owned()), ..profile(&nobody) };
        let client = client_with(&stage.running, stage.site.forge("forged-name", false, &forged)).await;
        assert_eq!(refused(&client.describe_secret(&name).await), Code::NotFound, "{common_name}");
        assert_eq!(refused(&client.list_roles(Page::default()).await), Code::PermissionDenied, "{common_name}");
    }
    let audit = stage.role(&["audit:**"]).await;
    let auditor = person(&format!("auditor-{}", stage.number()));
    stage.bind(&audit, &auditor, None).await;
    let filter = AuditFilter { principal: nobody.to_string(), ..AuditFilter::default() };
    let entries = stage.client(&auditor).await.list_audit_entries(&filter, Page::default()).await.expect("listed").items;
    assert_eq!(entries.len(), 12, "each call of each name is on record");
    assert!(entries.iter().all(|entry| entry.principal == nobody.as_str() && entry.class == "workload"));
}

// immune: row-63
#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_speaks_for_its_own_domain_alone() {
    let stage = shared().await;
    let mut forgeries = vec![
        ("of people by programs' CA", false, profile(&person("ana"))),
        ("of programs by people's CA", true, profile(&workload("backend"))),
        ("of a domain that nobody knows", false, profile(&"spiffe://elsewhere.test/a".parse().expect("valid"))),
        ("for servers", false, LeafProfile { usages: vec![Usage::Server], ..profile(&workload("a")) }),
        ("without an ID", false, LeafProfile { uris: Vec::new(), ..profile(&workload("a")) }),
    ];
    let two = vec![workload("a").to_string(), person("ana").to_string()];
    forgeries.push(("with two IDs", false, LeafProfile { uris: two, ..profile(&workload("a")) }));
    for (number, (what, by_operators, forged)) in forgeries.into_iter().enumerate() {
        let credentials = stage.site.forge(&format!("forged-{number}"), by_operators, &forged);
        assert!(is_turned_away(&stage.running, credentials).await, "a leaf {what}");
    }
    // A CA of the same name that nobody trusts.
    let other = Site::new("");
    let Credentials { certificate, key, .. } = other.credentials(&person("ana"));
    let outsider = Credentials { certificate, key, ..stage.site.credentials(&person("ana")) };
    assert!(is_turned_away(&stage.running, outsider).await, "an outsider");
    let good = stage.site.forge("forged-good", true, &profile(&person("ana")));
    assert!(!is_turned_away(&stage.running, good).await, "the test tells good from bad");
}

// immune: row-63
#[tokio::test(flavor = "multi_thread")]
async fn people_say_why_they_reveal_and_programs_need_not() {
    let stage = shared().await;
    let namespace = stage.namespace().await;
    let program = stage.holder(&namespace, &["create,reveal:**"]).await;
    let owner = stage.client(&program).await;
    let name = named(format!("{namespace}/merchants/1"));
    owner.create_secret(opaque(&name, "value")).await.expect("stored");
    owner.reveal_secret(Reveal::latest(&name)).await.expect("a program needs no reason");
    let operator = person(&format!("operator-{}", stage.number()));
    stage.bind("reader", &operator, Some(&namespace)).await;
    let client = stage.client(&operator).await;
    let answer = client.reveal_secret(Reveal::latest(&name)).await.expect_err("an operator needs a reason");
    let refusal = answer.refusal().expect("an answer of the server");
    let fields: Vec<_> = refusal.fields.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!((refusal.code, fields.as_slice()), (Code::InvalidArgument, &["reason"][..]));
    client.reveal_secret(Reveal::latest(&name).reason("the merchant called").ticket("T-7")).await.expect("with a reason");
    stage.bind("auditor", &person("auditor-of-reasons"), Some(&namespace)).await;
    let auditor = stage.client(&person("auditor-of-reasons")).await;
    let reveals = |of: &SpiffeId| AuditFilter {
        resource_prefix: namespace.clone(),
        principal: of.to_string(),
        action: "reveal".to_owned(),
        ..AuditFilter::default()
    };
    for (who, expected) in [
        (operator, vec![("operator", "read", "ok", "the merchant called"), ("operator", "denied", "reason_required", "")]),
        (program, vec![("workload", "read", "ok", "")]),
    ] {
        let entries = auditor.list_audit_entries(&reveals(&who), Page::default()).await.expect("listed").items;
        let told = entries.iter().map(|entry| (&*entry.class, &*entry.event, &*entry.outcome, &*entry.reason));
        assert_eq!(told.collect::<Vec<_>>(), expected, "{who}");
    }
}

/// A connection whose key exchange is one of these groups alone.
async fn channel_by(site: &Site, running: &Running, id: &SpiffeId, group: &'static dyn rustls::crypto::SupportedKxGroup) -> Channel {
    let Credentials { ca, certificate, key } = site.credentials(id);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("a CA");
    let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
    let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("it has TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).expect("a key"))
        .expect("they fit");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (connector, address) = (tokio_rustls::TlsConnector::from(Arc::new(config)), running.address());
    let dial = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    endpoint.connect_with_connector(dial).await.expect("connected")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_can_demand_a_post_quantum_key_exchange() {
    let stage = shared().await;
    let demanding = stage.namespace_with(|new: &mut NewNamespace| {
        new.limits.require_post_quantum = true;
        new.environment = Environment::Stage;
    });
    let (demanding, lax) = (demanding.await, stage.namespace().await);
    for (namespace, expected) in [(demanding, Code::FailedPrecondition), (lax, Code::Ok)] {
        let id = stage.holder(&namespace, &["describe,reveal,create,update,destroy:**"]).await;
        let secret = stage.token(&stage.client(&id).await, &format!("{namespace}/merchants/1")).await;
        let subject = Subject { secret: secret.name.to_string(), absent: format!("{namespace}/new"), namespace, ..Subject::default() };
        let classical = channel_by(&stage.site, &stage.running, &id, aws_lc_rs::kx_group::X25519).await;
        let hybrid = channel_by(&stage.site, &stage.running, &id, aws_lc_rs::kx_group::X25519MLKEM768).await;
        for method in [Method::RevealSecret, Method::DescribeSecret, Method::ListSecrets, Method::FindSecrets, Method::DestroySecret] {
            assert_eq!(code(&call(&classical, method, &subject).await), expected, "{method:?}");
        }
        let restored = if expected == Code::Ok { call(&hybrid, Method::RestoreSecret, &subject).await.map(drop) } else { Ok(()) };
        assert_eq!(code(&restored), Code::Ok);
        assert_eq!(code(&call(&hybrid, Method::RevealSecret, &subject).await), Code::Ok);
    }
}
