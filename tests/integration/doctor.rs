//! `strongroom doctor` on a good host, and on one with one fault at a time.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use strongroom::model::{Clock, Environment, SystemClock, Timestamp};
use strongroom::pki::{LeafProfile, Usage, write_private};

use crate::harness::{PASSPHRASE, PROGRAM, Running, Site, person, server_id, workload};
use crate::revocation::{LIST, site_with_list, write_numbered_list};
use crate::stage::{named, opaque};

const DAY: Duration = Duration::from_secs(24 * 3600);
const PAGE: &str = include_str!("../../docs/operations.md");

/// A vault that serves at fixed ports, as in production.
struct Host {
    site: Site,
    running: Running,
    profile: PathBuf,
    config: String,
}

/// What doctor printed.
struct Examined {
    code: i32,
    whole: Value,
    text: String,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port()
}

impl Host {
    async fn new() -> Self {
        let site = site_with_list();
        write_numbered_list(&site, 1, &[]);
        let any = fs::read_to_string(site.path("strongroom.toml")).expect("read");
        let (running, config) = (0..10).find_map(|_| start(&site, &any)).expect("some pair of ports is free");
        site.unseal(&running).await;
        site.bind(&running, "custodian", &person("dora"), None).await;
        site.bind(&running, "auditor", &person("dora"), None).await;
        let profile = site.profile(&running, &person("dora"));
        Self { site, running, profile, config }
    }

    fn doctor(&self, more: &[&str]) -> Examined {
        let mut command = self.site.command("doctor");
        command.args(["--output", "json"]).args(more).env_remove("STRONGROOM_PROFILE");
        examined(&command.output().expect("it ran"))
    }

    fn asking(&self) -> Examined {
        self.doctor(&["--profile", self.profile.to_str().expect("text")])
    }

    fn write_config(&self, text: &str) {
        write_private(&self.site.path("strongroom.toml"), text).expect("written");
    }

    /// What is found with another configuration, which is then put back.
    fn with_config(&self, from: &str, to: &str) -> Examined {
        assert!(self.config.contains(from), "{from} is not in {}", self.config);
        self.write_config(&self.config.replace(from, to));
        let examined = self.asking();
        self.write_config(&self.config);
        examined
    }

    /// What is found while a file has another mode.
    fn with_mode(&self, path: &Path, mode: u32) -> Examined {
        let before = fs::metadata(path).expect("there").permissions();
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
        let examined = self.asking();
        fs::set_permissions(path, before).expect("set");
        examined
    }
}

/// Starts a server at two ports that are free at this instant: none where another test was faster.
fn start(site: &Site, config: &str) -> Option<(Running, String)> {
    let at = |text: &str, port: u16| text.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    let config = at(&at(config, free_port()), free_port());
    write_private(&site.path("strongroom.toml"), &config).expect("written");
    Running::of(site.command("server")).ok().map(|running| (running, config))
}

fn examined(output: &Output) -> Examined {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let whole = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    Examined { code: output.status.code().expect("an exit code"), whole, text }
}

impl Examined {
    fn findings(&self, check: &str) -> Vec<(&str, &str)> {
        let word = |item: &'_ Value, key: &str| item[key].as_str().expect("text").to_owned();
        let items = self.whole["items"].as_array().expect("items");
        let of_check = items.iter().filter(|item| word(item, "check") == check);
        of_check.map(|item| (item["verdict"].as_str().expect("text"), item["found"].as_str().expect("text"))).collect()
    }

    /// The worst verdict of a check.
    fn of(&self, check: &str) -> &str {
        let rank = |verdict: &str| ["PASS", "UNKNOWN", "WARN", "FAIL"].iter().position(|word| *word == verdict).expect("a verdict");
        self.findings(check).into_iter().map(|(verdict, _)| verdict).max_by_key(|verdict| rank(verdict)).expect("a finding")
    }

    /// Checks that failed.
    fn failed(&self) -> Vec<&str> {
        let items = self.whole["items"].as_array().expect("items").iter();
        let mut failed: Vec<_> = items.filter(|item| item["verdict"] == "FAIL").map(|item| item["check"].as_str().expect("text")).collect();
        failed.dedup();
        failed
    }

    /// Whether this check has a finding of that verdict which says so.
    fn says(&self, check: &str, verdict: &str, what: &str) {
        let found = self.findings(check);
        assert!(found.iter().any(|(is, says)| *is == verdict && says.contains(what)), "{check}: no {verdict} with {what:?}: {found:#?}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

const CHECKS: [&str; 14] = [
    "configuration",
    "pins",
    "file-modes",
    "core-dumps",
    "memory-locking",
    "tls",
    "tls-files",
    "revocation-lists",
    "certificates",
    "clock",
    "disk-space",
    "audit",
    "ports",
    "reveal",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_good_host_passes_and_nothing_secret_is_told() {
    let host = Host::new().await;
    host.site.make_namespace(&host.running, "shop", Environment::Stage).await;
    host.site.bind(&host.running, "backend", &workload("backend"), Some("shop")).await;
    let backend = host.site.client(&host.running, &workload("backend")).await;
    backend.create_secret(opaque(&named("shop/canary-of-doctor"), "value-of-the-canary")).await.expect("stored");
    let examined = host.asking();
    assert!(examined.failed().is_empty(), "{}", examined.text);
    assert_eq!(examined.code, 0, "{}", examined.text);
    for check in ["configuration", "pins", "file-modes", "core-dumps", "tls", "tls-files", "certificates", "audit", "reveal"] {
        assert_eq!(examined.of(check), "PASS", "{check}: {:#?}", examined.findings(check));
    }
    assert_eq!(examined.of("ports"), if is_root() { "PASS" } else { "UNKNOWN" }, "{:#?}", examined.findings("ports"));
    examined.says("tls", "PASS", "X25519MLKEM768");
    examined.says("tls", "PASS", "TLS 1.2 is refused");
    examined.says("revocation-lists", "PASS", "workloads");
    examined.says("revocation-lists", "WARN", "people.test");
    examined.says("clock", "PASS", "agree");
    examined.says("disk-space", "WARN", "one file system");
    examined.says("reveal", "PASS", "0 operators and 1 workloads can reveal: spiffe://apps.test/backend in shop (**)");
    assert_eq!(host.doctor(&["--strict"]).code, 8, "there is something that warns");

    // The shape that scripts rely on.
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&examined.whole), ["items", "verdict"]);
    assert_eq!(examined.whole["verdict"], "WARN");
    let items = examined.whole["items"].as_array().expect("items");
    items.iter().for_each(|item| assert_eq!(keys(item), ["advice", "check", "found", "verdict"]));
    let mut checks: Vec<_> = items.iter().map(|item| item["check"].as_str().expect("text")).collect();
    checks.dedup();
    assert_eq!(checks, CHECKS);
    assert!(items.iter().all(|item| (item["verdict"] == "PASS") == (item["advice"] == "")), "who does not pass is told what to do");

    // And the table for people.
    let mut command = host.site.command("doctor");
    let table = command.arg("--profile").arg(&host.profile).output().expect("it ran");
    let table = String::from_utf8(table.stdout).expect("text");
    assert!(table.starts_with("VERDICT  CHECK") && CHECKS.iter().all(|check| table.contains(check)), "{table}");
    assert!(table.contains("-> give the audit folder a volume of its own"), "{table}");
    let keys: Vec<_> =
        ["pki/server.key", "pki/dora.key"].iter().map(|path| fs::read_to_string(host.site.path(path)).expect("read")).collect();
    let secret: Vec<_> = keys.iter().flat_map(|key| key.lines().skip(1)).filter(|line| !line.starts_with("---")).collect();
    assert!(secret.len() >= 4);
    for text in [&examined.text, &table] {
        assert!(!text.contains(PASSPHRASE) && !text.contains("canary") && !secret.iter().any(|line| text.contains(line)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fault_at_a_time_is_found() {
    let host = Host::new().await;
    let at = |name: &str| host.site.path(name);
    let (data, log) = (host.site.files("data")[0].0.clone(), host.site.files("audit")[0].0.clone());
    for (path, mode) in [(&data, 0o644), (&log, 0o640), (&at("data"), 0o750), (&at("pki/server.key"), 0o620)] {
        let examined = host.with_mode(path, mode);
        assert_eq!((examined.of("file-modes"), examined.code), ("FAIL", 8), "{}", path.display());
        examined.says("file-modes", "FAIL", path.to_str().expect("text"));
    }
    assert_eq!(host.with_mode(&at("strongroom.toml"), 0o644).of("configuration"), "WARN");
    let written = host.with_mode(&at("strongroom.toml"), 0o660);
    assert_eq!((written.of("configuration"), written.failed()), ("FAIL", vec!["configuration"]));
    let everybody = host.with_mode(&at("strongroom.toml"), 0o666);
    assert_eq!((everybody.of("configuration"), everybody.of("tls"), everybody.code), ("FAIL", "UNKNOWN", 8));

    let pinned = host.config.lines().find(|line| line.starts_with("vault_id")).expect("it is pinned");
    let other = host.with_config(pinned, &format!("vault_id = \"{}\"", "7".repeat(32)));
    assert_eq!(other.failed(), ["pins"]);
    other.says("pins", "FAIL", "but the server serves");
    let key = host.config.lines().find(|line| line.starts_with("audit_public_key")).expect("it is pinned");
    assert_eq!(host.with_config(key, &format!("audit_public_key = \"{}\"", "7".repeat(64))).failed(), ["pins"]);

    let (serves, tells) = (host.running.address().to_string(), host.running.operations().to_string());
    let elsewhere = host.with_config(&serves, &format!("127.0.0.1:{}", free_port()));
    assert_eq!((elsewhere.of("tls"), elsewhere.of("pins"), elsewhere.of("reveal")), ("UNKNOWN", "UNKNOWN", "UNKNOWN"));
    assert_eq!(elsewhere.of("audit"), "PASS", "the operations listener tells");
    if is_root() {
        elsewhere.says("ports", "FAIL", &format!("also listens at {serves}"));
        elsewhere.says("ports", "FAIL", "nothing listens at");
    } else {
        assert_eq!(elsewhere.of("ports"), "UNKNOWN");
    }
    let wider = host.with_config(&serves, &serves.replace("127.0.0.1", "127.0.0.2"));
    assert_eq!(wider.of("tls"), "UNKNOWN", "nobody answers there");
    let silent = host.with_config(&format!("listen = \"{tells}\""), "listen = \"none\"");
    assert_eq!((silent.of("tls-files"), silent.of("audit")), ("UNKNOWN", "PASS"), "the server tells the profile's holder");
    assert_eq!(silent.of("ports"), if is_root() { "FAIL" } else { "UNKNOWN" });

    host.site.make_namespace(&host.running, "shop", Environment::Stage).await;
    host.site.bind(&host.running, "reader", &person("rita"), Some("shop")).await;
    let wide = host.asking();
    assert_eq!((wide.of("reveal"), wide.failed().is_empty()), ("WARN", true));
    wide.says("reveal", "WARN", "spiffe://people.test/rita, a person, can reveal everything in shop, without end");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_profile_or_rights_what_only_the_server_knows_stays_unknown() {
    let host = Host::new().await;
    let alone = host.doctor(&[]);
    for (check, verdict) in [("pins", "UNKNOWN"), ("reveal", "UNKNOWN"), ("tls", "UNKNOWN"), ("audit", "PASS"), ("core-dumps", "PASS")] {
        assert_eq!(alone.of(check), verdict, "{check}");
    }
    alone.says("tls", "PASS", "without a certificate is refused");
    assert_eq!(alone.code, 0, "{}", alone.text);
    let nobody = host.site.profile(&host.running, &workload("nobody"));
    let nobody = host.doctor(&["--profile", nobody.to_str().expect("text")]);
    assert_eq!((nobody.of("pins"), nobody.of("reveal"), nobody.of("tls")), ("UNKNOWN", "UNKNOWN", "PASS"));

    let profile = fs::read_to_string(&host.profile).expect("read");
    let other = host.site.path("pki/other.toml");
    write_private(&other, &profile.replace(server_id().as_str(), "spiffe://apps.test/another")).expect("written");
    let other = host.doctor(&["--profile", other.to_str().expect("text")]);
    assert_eq!(other.failed(), ["tls"]);
    other.says("tls", "FAIL", "wrong server");

    // Not even its address is a way around: the one of the configuration is asked.
    let away = host.site.path("pki/away.toml");
    write_private(&away, &profile.replace(&host.running.address().to_string(), "127.0.0.1:9")).expect("written");
    assert_eq!(host.doctor(&["--profile", away.to_str().expect("text")]).of("pins"), "PASS");

    host.site.client(&host.running, &person("cleo")).await.seal("a test").await.expect("sealed");
    let sealed = host.asking();
    assert_eq!((sealed.of("reveal"), sealed.of("tls")), ("UNKNOWN", "PASS"));
}

fn before(time: Timestamp, span: Duration) -> Timestamp {
    let milliseconds = u64::try_from(span.as_millis()).expect("short");
    Timestamp::from_unix_ms(time.unix_ms() - milliseconds).expect("after 1970")
}

/// With the server stopped: it would take the files up while they are looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_passes_for_nothing_and_files_are_judged_all_the_same() {
    let Host { site, running, profile, .. } = Host::new().await;
    assert!(running.stop());
    let profile = profile.to_str().expect("text").to_owned();
    let doctor = || examined(&site.command("doctor").args(["--output", "json", "--profile", &profile]).output().expect("it ran"));
    let stopped = doctor();
    for check in ["core-dumps", "memory-locking", "audit", "ports", "reveal", "tls"] {
        assert!(stopped.findings(check).iter().all(|(verdict, _)| *verdict == "UNKNOWN"), "{check}: {:#?}", stopped.findings(check));
    }
    assert_eq!((stopped.of("pins"), stopped.of("clock"), stopped.of("tls-files"), stopped.code), ("UNKNOWN", "UNKNOWN", "UNKNOWN", 0));
    stopped.says("tls-files", "PASS", "fit together");
    for check in ["configuration", "file-modes", "certificates"] {
        assert_eq!(stopped.of(check), "PASS", "{check}");
    }

    let now = SystemClock.now();
    let list = |start: Timestamp, end: Timestamp| {
        let list = site.workloads().crl(&[], 2, start, end).expect("signed");
        write_private(&site.path(LIST), &list).expect("written");
        doctor()
    };
    let ended = list(before(now, DAY), before(now, Duration::from_secs(60)));
    assert_eq!(ended.failed(), ["tls-files", "revocation-lists"]);
    ended.says("revocation-lists", "FAIL", "nobody of its CA can connect");
    let late = list(before(now, 20 * DAY), now.plus(10 * DAY));
    assert!(late.failed().is_empty());
    late.says("revocation-lists", "WARN", "the next one is late");
    fs::remove_file(site.path(LIST)).expect("removed");
    assert_eq!(doctor().failed(), ["tls-files", "revocation-lists"]);
    write_numbered_list(&site, 3, &[]);

    let leaf = |start, end| site.forge("server", false, &LeafProfile::new(&server_id(), Usage::Server, start, end));
    leaf(before(now, 89 * DAY), now.plus(DAY));
    let soon = doctor();
    assert_eq!((soon.of("certificates"), soon.failed().is_empty()), ("WARN", true));
    leaf(before(now, 90 * DAY), before(now, DAY));
    assert_eq!(doctor().failed(), ["tls-files", "certificates"]);
    leaf(before(now, DAY), now.plus(60 * DAY));
    assert!(doctor().failed().is_empty());
    fs::copy(site.path("pki/dora.key"), site.path("pki/server.key")).expect("copied");
    let foreign = doctor();
    assert_eq!(foreign.failed(), ["tls-files"]);
    foreign.says("tls-files", "FAIL", "belongs to another certificate");
}

#[test]
fn exit_codes_tell_what_was_wrong_with_the_command() {
    let run = |words: &[&str]| Command::new(PROGRAM).arg("doctor").args(words).stdin(Stdio::null()).output().expect("it ran");
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["--config", "a.toml", "--profile", "/nowhere/profile.toml"]).status.code(), Some(7));
    let lost = examined(&run(&["--config", "/nowhere/strongroom.toml", "--output", "json"]));
    assert_eq!((lost.code, lost.of("configuration"), lost.failed().len()), (8, "FAIL", 1));
    assert!(CHECKS[1..].iter().all(|check| lost.of(check) == "UNKNOWN"), "{}", lost.text);
}

/// Every command of the section is run, with this test's files in the place of those that it names.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_s_commands_work() {
    let host = Host::new().await;
    let (_, section) = PAGE.split_once("\n## Is it set up as it should be?\n").expect("the page has the section");
    let section = section.split("\n## ").next().expect("split yields one at least");
    let blocks: Vec<_> = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("one at least")).collect();
    assert_eq!(blocks.len(), 2);
    let ana = host.site.profile(&host.running, &person("ana"));
    let dana = host.site.profile(&host.running, &person("dana"));
    // The program's name stands in paths, too: where it is the command, it begins a line.
    let script = format!("\n{}", blocks.join("\n"))
        .replace("\nstrongroom ", &format!("\n{PROGRAM} "))
        .replace("/etc/strongroom/strongroom.toml", host.site.path("strongroom.toml").to_str().expect("text"))
        .replace("bob.toml", ana.to_str().expect("text"))
        .replace("dora.toml", dana.to_str().expect("text"))
        .replace("spiffe://people.example/dora", person("dana").as_str());
    let output = Command::new("sh").args(["-e", "-c", &script]).output().expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("VERDICT  CHECK") && text.contains("\"verdict\": \"PASS\""), "{text}");
    let whole = &text[text.find("{\n  \"items\"").expect("JSON")..];
    let whole: Value = serde_json::from_str(whole).expect("JSON");
    let examined = Examined { code: 0, text: text.to_string(), whole };
    assert_eq!((examined.of("pins"), examined.of("reveal")), ("PASS", "PASS"), "the page's role shows all: {text}");
}
