//! The program as people and scripts use it, against a real server: what it prints, where values come from, exit codes.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use strongroom::model::{Environment, SpiffeId};

use crate::harness::{PASSPHRASE, PROGRAM, Running, Site, person, workload};

/// Somebody at a terminal that is none: standard input is a pipe.
struct Shell {
    profile: PathBuf,
}

impl Shell {
    fn of(site: &Site, running: &Running, id: &SpiffeId) -> Self {
        Self { profile: site.profile(running, id) }
    }

    fn run(&self, words: &str, input: &str) -> Output {
        let mut command = Command::new(PROGRAM);
        command.arg("--profile").arg(&self.profile).args(words.split_whitespace());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // A command that reads no input may be gone already.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    /// What a command prints when it succeeds.
    fn ok(&self, words: &str, input: &str) -> String {
        let output = self.run(words, input);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{words} --output json"), "")).expect("JSON")
    }

    /// The exit code and the error of a command that fails.
    fn fails(&self, words: &str, input: &str) -> (i32, String) {
        let output = self.run(words, input);
        assert!(output.stdout.is_empty(), "{words}: an error leaves standard output empty");
        (output.status.code().expect("an exit code"), String::from_utf8(output.stderr).expect("text"))
    }
}

async fn site() -> (Site, Running) {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    site.bind(&running, "writer", &person("will"), Some("shop")).await;
    (site, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_goes_in_by_standard_input_and_comes_out_as_it_was() {
    let (site, running) = site().await;
    let backend = Shell::of(&site, &running, &workload("backend"));
    let stored = backend.ok("secret put shop/merchants/1 --provider wepay --subject 1 --label team=payments", "token-of-one\n");
    assert!(stored.contains("shop/merchants/1") && !stored.contains("token-of-one"), "{stored}");
    assert_eq!(backend.ok("secret get shop/merchants/1", ""), "token-of-one", "one newline was dropped, none is added");
    let fetched = backend.json("secret fetch shop/merchants/1");
    assert_eq!((&fetched["items"][0]["name"], &fetched["items"][0]["version"]), (&"shop/merchants/1".into(), &1.into()));
    // What could be had is there whatever became of the rest, whose exit code it is.
    let partly = backend.run("secret fetch shop/absent shop/merchants/1", "");
    let items: Value = serde_json::from_slice(&partly.stdout).expect("JSON");
    assert_eq!((partly.status.code(), &items["items"][0]["code"]), (Some(3), &"NOT_FOUND".into()));
    assert_eq!(items["items"][1], fetched["items"][0]);
    // From the revision of the first on, what came after it is told.
    backend.ok("secret put shop/watched --expires 30d", "value");
    let revision = fetched["items"][0]["revision"].as_u64().expect("a number");
    let watched = backend.ok(&format!("secret watch shop --after {revision} --expiring-within 60d --count 2 --output json"), "");
    let lines: Vec<Value> = watched.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert_eq!((&lines[0]["kind"], &lines[0]["name"]), (&"created".into(), &"shop/watched".into()));
    assert_eq!((&lines[1]["kind"], &lines[1]["secret"]["version"]), (&"expiring".into(), &1.into()));
    let watched = backend.ok(&format!("secret watch shop --after {revision} --expiring-within never --count 1"), "");
    assert!(watched.ends_with("  created  shop/watched  version 1, enabled\n"), "{watched}");
    backend.ok("secret put shop/kept --keep-newline", "line\n");
    assert_eq!(backend.ok("secret get shop/kept", ""), "line\n");

    let value = backend.json("secret get shop/merchants/1");
    assert_eq!((value["value_base64"].as_str(), value["utf8"].as_bool()), (Some("dG9rZW4tb2Ytb25l"), Some(true)));
    let target = site.path("value");
    backend.ok(&format!("secret get shop/merchants/1 --to {}", target.display()), "");
    assert_eq!(std::fs::read(&target).expect("written"), b"token-of-one");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&target.metadata().expect("there").permissions()) & 0o777, 0o600);
    assert_eq!(
        backend.fails(&format!("secret get shop/merchants/1 --to {}", target.display()), "").0,
        7,
        "a file is never replaced unasked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_scripts_what_happened() {
    let (site, running) = site().await;
    let backend = Shell::of(&site, &running, &workload("backend"));
    let outsider = Shell::of(&site, &running, &workload("outsider"));
    let cleo = Shell::of(&site, &running, &person("cleo"));
    backend.ok("secret put shop/a", "value");
    assert_eq!(backend.fails("secret put shop/a", "other").0, 5);
    assert_eq!(backend.fails("secret update shop/a", "other").0, 4);
    assert_eq!(outsider.fails("secret get shop/a", "").0, 3);
    assert_eq!(backend.fails("secret put shop/../a", "value").0, 2);
    assert_eq!(backend.fails("secret put shop/empty", "").0, 7);
    assert_eq!(backend.fails("secret frobnicate", "").0, 2);
    let (code, error) = backend.fails("secret update shop/a --output json", "other");
    let error: Value = serde_json::from_str(&error).expect("an error in JSON");
    assert_eq!((code, error["error"]["missing_action"].as_str()), (4, Some("update")));
    cleo.ok("seal", "");
    assert_eq!(backend.fails("secret get shop/a", "").0, 6);
    assert_eq!(cleo.fails("unseal --passphrase-file -", "a passphrase that is wrong").0, 4);
    cleo.ok("unseal --passphrase-file -", PASSPHRASE);
    assert_eq!(backend.ok("secret get shop/a", ""), "value");
    drop(running);
    assert_eq!(backend.fails("secret get shop/a", "").0, 6, "not reachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_lives_through_every_command() {
    let (site, running) = site().await;
    let ana = Shell::of(&site, &running, &person("ana"));
    ana.ok("role create remover --grant describe,reveal,update,destroy:** --description all", "");
    site.bind(&running, "remover", &workload("janitor"), Some("shop")).await;
    let (will, janitor) = (Shell::of(&site, &running, &person("will")), Shell::of(&site, &running, &workload("janitor")));
    will.ok("secret put shop/b", "first");
    will.ok("secret update shop/b --expires 30d", "second");
    assert_eq!(janitor.ok("secret get shop/b --version 1", ""), "first");
    assert_eq!(janitor.json("secret versions shop/b")["items"].as_array().map(Vec::len), Some(2));
    will.ok("secret label shop/b owner=payments", "");
    will.ok("secret expire shop/b never", "");
    let described = janitor.json("secret describe shop/b");
    assert_eq!((described["labels"]["owner"].as_str(), &described["expire_time"]), (Some("payments"), &Value::Null));
    will.ok("secret disable shop/b", "");
    assert_eq!(janitor.fails("secret get shop/b", "").0, 5);
    janitor.ok("secret destroy shop/b --yes", "");
    janitor.ok("secret restore shop/b", "");
    assert_eq!(janitor.fails("secret get shop/b", "").0, 5, "it comes back as it was");
    will.ok("secret enable shop/b", "");
    assert_eq!(janitor.fails("secret destroy shop/b", "").0, 2, "nobody is there to confirm");
    janitor.ok("secret destroy shop/b --yes", "");
    janitor.ok("secret restore shop/b", "");
    assert_eq!(janitor.ok("secret get shop/b", ""), "second");
    janitor.ok("secret destroy shop/b --yes", "");
    janitor.ok("secret purge shop/b --yes", "");
    assert_eq!(janitor.fails("secret get shop/b", "").0, 3);
    will.ok("secret put shop/b", "third");
    assert_eq!(janitor.json("secret describe shop/b")["version"], 3, "numbering goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_administer_and_look() {
    let (site, running) = site().await;
    for (role, who) in [("key-admin", "kim"), ("auditor", "erin")] {
        site.bind(&running, role, &person(who), None).await;
    }
    let shell = |name: &str| Shell::of(&site, &running, &person(name));
    let (ana, kim, erin, cleo) = (shell("ana"), shell("kim"), shell("erin"), shell("cleo"));
    ana.ok("namespace create wepay --environment production --versions-kept 3 --recovery-window 2d", "");
    assert_eq!(ana.json("namespace describe wepay")["limits"]["versions_kept"], 3);
    assert_eq!(ana.json("namespace list")["items"].as_array().map(Vec::len), Some(2));
    let bound = ana.json("binding create --role reader --principal spiffe://people.test/rita --namespace wepay --for 1h --reason case");
    let id = bound["binding_id"].as_str().expect("an id").to_owned();
    assert_eq!(ana.json("binding list --namespace wepay")["items"].as_array().map(Vec::len), Some(1));
    ana.ok(&format!("binding delete {id} --reason done"), "");
    assert_eq!(ana.fails(&format!("binding delete {id} --reason done"), "").0, 3);
    let made = ana.json("role create narrow --grant reveal:a/*");
    ana.ok(&format!("role update narrow --grant describe:a/* --expected-revision {}", made["revision"]), "");
    assert!(ana.ok("role describe narrow", "").contains("describe:a/*"));
    ana.ok("role delete narrow", "");
    assert!(ana.ok("role list", "").contains("access-admin"));
    kim.ok("keys rotate wepay", "");
    assert_eq!(kim.json("keys list wepay")["items"].as_array().map(Vec::len), Some(2));
    let rotated = kim.json("keys rotate wepay --expected-version 2 --rewrap --rate 1000");
    assert_eq!((&rotated["version"], &rotated["rewrap"]["rate_per_s"]), (&3.into(), &1000.into()));
    let followed = kim.ok("keys status wepay --follow", "");
    assert!(followed.contains("done"), "{followed}");
    assert_eq!(kim.json("keys pause wepay")["state"], "done", "there is nothing to pause any more");
    assert_eq!(kim.json("keys resume wepay --rate 5")["state"], "done");
    assert_eq!(kim.json("keys rewrap wepay --reencrypt --reason anew")["reencrypt"], true);
    assert_eq!(kim.json("keys status")["items"][0]["namespace"], "wepay");
    assert!(cleo.ok("status", "").contains("open"));
    let entries = erin.json("audit show --method RotateKey");
    assert_eq!(entries["items"].as_array().map(Vec::len), Some(4), "of each an intent and an outcome");
    assert!(erin.ok("audit show --principal spiffe://people.test/kim", "").contains("RotateKey"));
}

// immune: row-55
// immune: row-41
#[tokio::test(flavor = "multi_thread")]
async fn a_value_on_the_command_line_is_refused_and_not_repeated() {
    let (site, running) = site().await;
    let backend = Shell::of(&site, &running, &workload("backend"));
    for words in [
        "secret put shop/c CANARY-VALUE",
        "unseal CANARY-VALUE",
        "secret put shop/c --value CANARY-VALUE",
        "unseal --passphrase CANARY-VALUE",
    ] {
        for format in ["", " --output json"] {
            let (code, error) = backend.fails(&format!("{words}{format}"), "");
            assert_eq!(code, 2, "{words}");
            assert!(!error.contains("CANARY"), "{words}: {error}");
        }
    }
    assert_eq!(backend.fails("secret get shop/c", "").0, 3, "nothing was stored");
}

#[test]
fn completion_knows_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(PROGRAM).args(["completion", shell]).output().expect("it runs");
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && ["secret", "rotate", "unseal", "binding"].iter().all(|word| script.contains(word)), "{shell}");
    }
}
