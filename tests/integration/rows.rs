//! Faults that others had, end to end.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use strongroom::api::Method;
use strongroom::client::{BindingScope, collect};
use strongroom::client::{Client, ClientError, ClientOptions, NewBinding, NewRole, NewSecret, Page, Reveal};
use strongroom::model::{Clock, Environment, SecretBytes, SecretName, SpiffeId, SystemClock};
use strongroom::pki::{LeafProfile, Usage};
use tonic::{Code, Status};

use crate::harness::{PROGRAM, Running, Site, person, server_id, workload};
use crate::wire::{Subject, channel, request, send};

fn subject(secret: &str, namespace: &str) -> Subject {
    Subject {
        secret: secret.to_owned(),
        revision: 1,
        absent: secret.to_owned(),
        namespace: namespace.to_owned(),
        role: ("nobody".to_owned(), 1),
        binding: "0".repeat(32),
        number: 1,
    }
}

async fn open_site() -> (Site, Running) {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    (site, running)
}

async fn put(client: &Client, name: &str) -> Result<(), ClientError> {
    let name: SecretName = name.parse().expect("valid");
    client.create_secret(NewSecret::opaque(&name, SecretBytes::new(b"value".to_vec()))).await.map(drop)
}

fn code<T>(answer: &Result<T, ClientError>) -> Option<Code> {
    answer.as_ref().err().and_then(ClientError::refusal).map(|refusal| refusal.code)
}

/// Everything of an answer that a caller sees.
fn bytes(answer: Result<tonic::Response<Vec<u8>>, Status>) -> String {
    let status = answer.expect_err("an outsider gets nothing");
    let mut metadata = status.metadata().clone();
    metadata.remove("date");
    format!("{:?} {:?} {:?} {:?}", status.code(), status.message(), status.details(), metadata)
}

// immune: row-11
#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_cannot_tell_what_exists() {
    let (site, running) = open_site().await;
    put(&site.client(&running, &workload("backend")).await, "shop/there").await.expect("stored");
    let outsider = channel(&site, &running, &workload("outsider")).await;
    let (there, absent, no_namespace) = (subject("shop/there", "shop"), subject("shop/absent", "shop"), subject("shap/there", "shap"));
    for method in Method::ALL.iter().copied() {
        let answers = [&there, &absent, &no_namespace].map(|subject| send(&outsider, method, request(method, subject)));
        let [of_there, of_absent, of_none] = answers;
        let (of_there, of_absent, of_none) = (bytes(of_there.await), bytes(of_absent.await), bytes(of_none.await));
        assert_eq!(of_there, of_absent, "{method:?}");
        assert_eq!(of_there, of_none, "{method:?}");
    }
}

// immune: row-21
// immune: row-18
#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_second_spelling_is_refused() {
    let (site, running) = open_site().await;
    let backend = channel(&site, &running, &workload("backend")).await;
    for name in [
        "shop/../there",
        "shop/./a",
        "shop//a",
        "shop/a/",
        "/shop/a",
        "shop",
        "shop/e\u{301}",
        "SHOP/a",
        "shop/a\n",
        "shop/*",
        "shop/\u{202e}a",
        "",
    ] {
        for method in
            [Method::RevealSecret, Method::DescribeSecret, Method::CreateSecret, Method::DestroySecret, Method::ListSecretVersions]
        {
            let status = send(&backend, method, request(method, &subject(name, "shop"))).await.expect_err("refused");
            assert_eq!(status.code(), Code::InvalidArgument, "{method:?} {name:?}");
        }
    }
    let ana = channel(&site, &running, &person("ana")).await;
    for role in ["ROOT", "Reader", "reader ", " reader", "ｒeader", "reader\0", "access-admin\n"] {
        let mut about = subject("shop/a", "shop");
        about.role = (role.to_owned(), 1);
        let status = send(&ana, Method::DescribeRole, request(Method::DescribeRole, &about)).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{role:?}");
    }
}

// immune: row-19
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_themselves_a_role() {
    let (site, running) = open_site().await;
    let ana = site.client(&running, &person("ana")).await;
    let binding = |role: &str, principal: SpiffeId, scope| NewBinding {
        role: role.parse().expect("valid"),
        principal,
        scope,
        start_time: None,
        end_time: None,
        reason: "greed".to_owned(),
        request_id: String::new(),
    };
    let here = || BindingScope::Namespace("shop".parse().expect("valid"));
    assert_eq!(code(&ana.create_binding(binding("auditor", person("ana"), BindingScope::Vault)).await), Some(Code::PermissionDenied));
    assert_eq!(code(&ana.create_binding(binding("reader", person("ana"), here())).await), Some(Code::PermissionDenied));
    // Nor a colleague what would join duties.
    assert_eq!(code(&ana.create_binding(binding("reader", person("ben"), here())).await), Some(Code::PermissionDenied));
    let grants = vec!["audit:**".parse().expect("a grant")];
    let role = NewRole { name: "mine".parse().expect("valid"), description: String::new(), grants, request_id: String::new() };
    let made = ana.create_role(role.clone()).await.expect("a role");
    let ben = site.client(&running, &person("ben")).await;
    ben.create_binding(binding("mine", person("ana"), BindingScope::Vault)).await.expect("bound");
    let wider = NewRole { grants: vec!["audit,rotate:**".parse().expect("a grant")], ..role };
    assert_eq!(code(&ana.update_role(wider.clone(), made.revision).await), Some(Code::PermissionDenied));
    ben.update_role(wider, made.revision).await.expect("another may");
}

// immune: row-22
// immune: row-23
#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_what_may_be_described_and_nothing_else() {
    let (site, running) = open_site().await;
    let backend = site.client(&running, &workload("backend")).await;
    let names = ["shop/a/1", "shop/a/2/x", "shop/a,b", "shop/+", "shop/b/1", "shop/b/token", "shop/c/token", "shop/a"];
    for name in names {
        put(&backend, name).await.expect("stored");
    }
    let ana = site.client(&running, &person("ana")).await;
    let grants = ["describe:a/*", "describe:*/token", "reveal:b/**"].map(|grant| grant.parse().expect("a grant")).to_vec();
    ana.create_role(NewRole { name: "narrow".parse().expect("valid"), description: String::new(), grants, request_id: String::new() })
        .await
        .expect("made");
    site.bind(&running, "narrow", &workload("narrow"), Some("shop")).await;
    let narrow = site.client(&running, &workload("narrow")).await;
    let listed = collect(0, |page: Page| narrow.list_secrets("shop", Page { size: 1, ..page })).await.expect("listed");
    let mut listed: Vec<_> = listed.items.iter().map(|info| info.name.to_string()).collect();
    listed.sort();
    assert_eq!(listed, ["shop/a/1", "shop/b/token", "shop/c/token"], "written by hand from the grants");
    for name in names {
        let described = narrow.describe_secret(&name.parse().expect("valid")).await.is_ok();
        assert_eq!(described, listed.contains(&name.to_owned()), "{name}");
    }
}

// immune: row-2
// immune: row-63
#[tokio::test(flavor = "multi_thread")]
async fn who_somebody_is_comes_from_the_uri_and_its_own_anchor() {
    let (site, running) = open_site().await;
    put(&site.client(&running, &workload("backend")).await, "shop/a").await.expect("stored");
    let now = SystemClock.now();
    let until = now.plus(std::time::Duration::from_secs(600));
    let connect = |profile: LeafProfile, name: &str| {
        let credentials = site.issue_as_workload(&profile, name);
        Client::connect(ClientOptions::new(running.address().to_string(), server_id(), credentials).retries(0))
    };
    let named = LeafProfile { common_name: Some("backend".to_owned()), ..LeafProfile::new(&workload("nobody"), Usage::Client, now, until) };
    let nobody = connect(named, "named").await.expect("its certificate is good");
    assert_eq!(code(&nobody.reveal_secret(Reveal::latest(&"shop/a".parse().expect("valid"))).await), Some(Code::NotFound));
    // The programs' CA vouches for no person: neither of its making nor of any other.
    let forged = LeafProfile { uris: vec![person("cleo").to_string()], ..LeafProfile::new(&workload("x"), Usage::Client, now, until) };
    let refused = match connect(forged, "forged").await {
        Ok(client) => client.status().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(refused.is_err() && code(&refused).is_none(), "refused by TLS, not by a role: {refused:?}");
}

// immune: row-52
#[tokio::test(flavor = "multi_thread")]
async fn files_are_private_whatever_the_umask() {
    let site = Site::new("");
    std::fs::write(site.path("passphrase"), crate::harness::PASSPHRASE).expect("written");
    let shell = |words: &str| {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("umask 000; exec {PROGRAM} {words}")).stdin(Stdio::null());
        command
    };
    let config = site.path("strongroom.toml");
    let init = format!(
        "init --config {} --passphrase-file {} --administrator {} --single-administrator",
        config.display(),
        site.path("passphrase").display(),
        person("ana")
    );
    let made = shell(&init).output().expect("it ran");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site.write_config(&String::from_utf8(made.stdout).expect("text"), "");
    let running = Running::of(shell(&format!("server --config {}", config.display()))).expect("it serves");
    site.unseal(&running).await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    for folder in ["data", "audit"] {
        for (path, _) in site.files(folder) {
            assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        assert_eq!(site.path(folder).metadata().expect("there").permissions().mode() & 0o777, 0o700);
    }
}

// immune: row-58
// immune: row-59
#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_data_folder_is_refused() {
    let (site, other) = (Site::with_vault(""), Site::with_vault(""));
    let data = site.path("data");
    std::fs::rename(&data, site.path("data-away")).expect("moved");
    let refused = Running::of(site.command("server")).err().expect("an unmounted disk is no vault");
    assert!(refused.contains("data"), "{refused}");
    assert!(!data.exists(), "nothing was made");
    std::fs::create_dir(&data).expect("made");
    assert!(Running::of(site.command("server")).is_err(), "an empty disk is no vault");
    std::fs::remove_dir_all(&data).expect("removed");
    std::fs::rename(other.path("data"), &data).expect("moved");
    let refused = Running::of(site.command("server")).err().expect("another vault is not this one");
    assert!(refused.contains("another vault"), "{refused}");
    let init = site
        .command("init")
        .args(["--passphrase-file", "passphrase", "--administrator", "spiffe://people.test/eve", "--single-administrator"])
        .output();
    assert!(!init.expect("it ran").status.success(), "a pinned configuration makes no other vault");
}

#[tokio::test(flavor = "multi_thread")]
async fn init_wants_two_administrators_or_to_be_told() {
    let site = Site::new("");
    std::fs::write(site.path("passphrase"), "too short").expect("written");
    let init = |more: &[&str]| {
        let mut command = site.command("init");
        command.arg("--passphrase-file").arg(site.path("passphrase")).args(more);
        let output = command.output().expect("it ran");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (made, error) = init(&["--administrator", person("ana").as_str()]);
    assert!(!made && error.contains("--single-administrator"), "{error}");
    let (made, error) = init(&["--administrator", workload("ana").as_str(), "--single-administrator"]);
    assert!(!made && error.contains("operator"), "{error}");
    let (made, error) = init(&["--administrator", person("ana").as_str(), "--single-administrator"]);
    assert!(!made && error.contains("15 characters"), "{error}");
    assert!(!site.path("data").exists(), "nothing was made");
}

// immune: row-24
#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_serves_its_own_caller_and_list_alone() {
    let (site, running) = open_site().await;
    let backend = site.client(&running, &workload("backend")).await;
    for name in ["shop/a/1", "shop/a/2", "shop/b/1"] {
        put(&backend, name).await.expect("stored");
    }
    site.bind(&running, "backend", &workload("other"), Some("shop")).await;
    let other = site.client(&running, &workload("other")).await;
    let token = backend.list_secrets("shop/a", Page { size: 1, token: String::new() }).await.expect("listed").next.expect("more");
    let page = || Page { size: 1, token: token.clone() };
    assert_eq!(code(&other.list_secrets("shop/a", page()).await), Some(Code::InvalidArgument), "another caller");
    assert_eq!(code(&backend.list_secrets("shop", page()).await), Some(Code::InvalidArgument), "another list");
    let versions = backend.list_secret_versions(&"shop/a/1".parse().expect("valid"), page()).await;
    assert_eq!(code(&versions), Some(Code::InvalidArgument), "another kind of list");
    assert_eq!(backend.list_secrets("shop/a", page()).await.expect("its own").items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_where_a_message_would_get_too_long() {
    let (site, running) = open_site().await;
    let backend = site.client(&running, &workload("backend")).await;
    for number in 0..60 {
        let name: SecretName = format!("shop/{number}").parse().expect("valid");
        let new = NewSecret::opaque(&name, SecretBytes::new(b"value".to_vec()));
        let new = (0..28).fold(new, |new, label| new.label(format!("label-{label}"), "w".repeat(240)));
        backend.create_secret(new).await.expect("stored");
    }
    let first = backend.list_secrets("shop", Page { size: 1_000, token: String::new() }).await.expect("it fits");
    assert!(first.items.len() < 60 && first.next.is_some());
    let all = collect(0, |page: Page| backend.list_secrets("shop", page)).await.expect("listed");
    let names: std::collections::BTreeSet<_> = all.items.iter().map(|info| info.name.to_string()).collect();
    assert_eq!((all.items.len(), names.len()), (60, 60), "each once");
}
