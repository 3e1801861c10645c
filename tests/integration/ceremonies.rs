//! A vault of several custodians: made with shares, opened by them from machines of their own, its slots and its root key changed
//! while it serves, all by the program itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::{PROGRAM, Running, Site, person};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/operations/keys.md");

/// Runs a command of the program as somebody, and returns what it printed.
fn ask(profile: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["--output", "json", "--profile"]).arg(profile).args(arguments).stdin(Stdio::null());
    command.output().expect("it ran")
}

fn told(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn refused(output: &Output) -> (i32, String) {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().expect("no signal"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A site whose vault was made with three of five shares, and the folder that they are in.
fn site() -> (Site, PathBuf) {
    let site = Site::new("");
    let shares = site.path("shares");
    let made = site
        .command("init")
        .args(["--administrator", person("ana").as_str(), "--administrator", person("ben").as_str()])
        .args(["--shares", "5", "--threshold", "3", "--shares-to"])
        .arg(&shares)
        .output()
        .expect("it ran");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let pins = String::from_utf8(made.stdout).expect("text");
    site.write_config_for(&pins, &["cleo", "carl", "cora"].map(person), "");
    (site, shares)
}

/// The profile of somebody, which pins the server's key.
fn pinned(site: &Site, running: &Running, name: &str) -> PathBuf {
    let profile = site.profile(running, &person(name));
    let text = std::fs::read_to_string(&profile).expect("written");
    std::fs::write(&profile, text + "server_public_keys = \"server-key.pem\"\n").expect("written");
    std::fs::write(site.path("pki").join("server-key.pem"), site.server_public_key()).expect("written");
    profile
}

fn share(folder: &Path, number: usize, of: usize) -> String {
    folder.join(format!("share-{number}-of-{of}.txt")).display().to_string()
}

/// The page's blocks that are marked to be run, and by whom.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let marked = PAGE.split("<!-- run: ").skip(1).map(|rest| rest.split_once(" -->\n```sh\n").expect("a block follows its mark"));
    marked.map(|(who, rest)| (who, rest.split("```").next().expect("split yields one at least"))).collect()
}

/// A walk along the page.
struct Walk {
    site: Site,
    running: Option<Running>,
    proposal: String,
    slot: String,
}

impl Walk {
    /// Runs a block as somebody, in the site's folder; what it printed.
    fn run(&mut self, who: &str, block: &str) -> String {
        let block = block.replace("PROPOSAL", &self.proposal).replace("SLOT", &self.slot);
        let programs = Path::new(PROGRAM).parent().expect("it lies somewhere").display().to_string();
        let mut command = Command::new("sh");
        command.args(["-ec", &block]).current_dir(self.site.path("")).stdin(Stdio::null());
        command.env("PATH", format!("{programs}:{}", std::env::var("PATH").expect("set")));
        if let Some(running) = &self.running {
            command.env("STRONGROOM_PROFILE", pinned(&self.site, running, who));
        }
        let output = command.output().expect("it ran");
        assert!(output.status.success(), "{who}: {block}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// What later blocks speak of.
    fn note(&mut self, block: &str, printed: &str) {
        if ["keys slot add", "keys slot remove", "keys root rotate"].iter().any(|proposes| block.contains(proposes)) {
            self.proposal = first_id(printed);
        }
        if block.contains("keys slot list") {
            self.slot = first_id(printed.split("OPENED BY").nth(1).expect("the slots"));
        }
    }
}

/// The first 32 hex digits of a text.
fn first_id(text: &str) -> String {
    let is_id = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_whitespace().find(is_id).expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_leads_from_init_to_other_custodians_and_another_root_key() {
    let mut walk = Walk { site: Site::new(""), running: None, proposal: String::new(), slot: String::new() };
    for (who, block) in blocks() {
        let printed = walk.run(who, block);
        if who == "host" {
            walk.site.write_config_for(&printed, &["cleo", "carl", "cora"].map(person), "");
            walk.running = Some(walk.site.start());
        }
        walk.note(block, &printed);
    }
    let Walk { site, running, .. } = walk;
    let running = running.expect("started");
    let (shares, new_shares) = (site.path("shares"), site.path("new-shares"));
    let kim = pinned(&site, &running, "kim");
    let slots = told(&ask(&kim, &["keys", "slot", "list"]))["items"].clone();
    assert_eq!((slots.as_array().map(Vec::len), &slots[0]["threshold"]), (Some(1), &2.into()));
    assert!(slots[0]["last_open_time"].is_string());
    assert_eq!(told(&ask(&kim, &["proposal", "list"]))["items"].as_array().map(Vec::len), Some(3));

    // After a restart the new shares open it, and the old ones nothing.
    assert!(running.stop());
    let running = site.start();
    let [cleo, carl] = ["cleo", "carl"].map(|name| pinned(&site, &running, name));
    assert!(refused(&ask(&cleo, &["unseal", "--share-file", &share(&shares, 1, 5)])).1.contains("another slot"));
    assert_eq!(told(&ask(&cleo, &["unseal", "--share-file", &share(&new_shares, 1, 3)]))["seal_state"], "sealed");
    assert_eq!(told(&ask(&carl, &["unseal", "--forget-shares"]))["forgotten"], 1);
    told(&ask(&cleo, &["unseal", "--share-file", &share(&new_shares, 1, 3)]));
    assert_eq!(told(&ask(&carl, &["unseal", "--share-file", &share(&new_shares, 2, 3)]))["seal_state"], "open");
    let log = running.stop_and_read();

    // Who opened what is on record; no share is.
    let audit: Vec<u8> = site.files("audit").into_iter().flat_map(|(_, content)| content).collect();
    let audit = String::from_utf8_lossy(&audit).into_owned();
    for name in ["cleo", "carl", "cora"] {
        assert!(audit.contains(&format!("{} #", person(name))), "{name}");
    }
    for (folder, of) in [(&shares, 5), (&new_shares, 3)] {
        for number in 1..=of {
            let text = std::fs::read_to_string(share(folder, number, of)).expect("a share");
            assert!(!audit.contains(&text[40..60]) && !log.contains(&text[40..60]));
        }
    }
}

// immune: row-31
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_custodian_disturbs_a_ceremony() {
    let (site, shares) = site();
    let running = site.start();
    let [cleo, carl, cora, ana] = ["cleo", "carl", "cora", "ana"].map(|name| pinned(&site, &running, name));
    told(&ask(&cleo, &["unseal", "--share-file", &share(&shares, 1, 5)]));
    told(&ask(&carl, &["unseal", "--share-file", &share(&shares, 2, 5)]));
    for arguments in [&["unseal", "--forget-shares"][..], &["unseal", "--share-file", &share(&shares, 3, 5)], &["status"], &["seal"]] {
        for _ in 0..5 {
            assert_ne!(refused(&ask(&ana, arguments)).0, 0, "an administrator is no custodian");
        }
    }
    assert_eq!(told(&ask(&cora, &["status"]))["quorums"][0]["given"], 2);
    assert_eq!(told(&ask(&cora, &["unseal", "--share-file", &share(&shares, 3, 5)]))["seal_state"], "open");
}

// immune: row-62
#[tokio::test(flavor = "multi_thread")]
async fn a_share_goes_to_nobody_but_the_holder_of_the_pinned_key() {
    let (site, shares) = site();
    let running = site.start();
    // Without a pin nothing is sent.
    let unpinned = site.profile(&running, &person("cleo"));
    let file = share(&shares, 1, 5);
    let (exit, why) = refused(&ask(&unpinned, &["unseal", "--share-file", &file]));
    assert!(exit == 2 && why.contains("server_public_keys"), "{exit}: {why}");
    // A server with the right id and a certificate of the same CA, but another key.
    let profile = pinned(&site, &running, "cleo");
    let before = std::fs::read_to_string(site.path("pki").join("server-key.pem")).expect("written");
    std::fs::write(site.path("pki").join("server-key.pem"), site.new_server_leaf().public_key_pem()).expect("written");
    let (_, why) = refused(&ask(&profile, &["unseal", "--share-file", &file]));
    assert!(why.contains("wrong server") && why.contains("key"), "{why}");
    // One of several is enough, for a key that is about to change.
    let both = site.new_server_leaf().public_key_pem() + &before;
    std::fs::write(site.path("pki").join("server-key.pem"), both).expect("written");
    assert_eq!(told(&ask(&profile, &["unseal", "--share-file", &file]))["quorum"]["given"], 1);
    for broken in ["", "-----BEGIN PUBLIC KEY-----\n*CANARY*\n-----END PUBLIC KEY-----\n"] {
        std::fs::write(site.path("pki").join("server-key.pem"), broken).expect("written");
        let (_, why) = refused(&ask(&profile, &["status"]));
        assert!(why.contains("holds no public key") && !why.contains("CANARY"), "{why}");
    }
}

#[test]
fn shares_that_cannot_be_written_make_no_vault() {
    let site = Site::new("");
    let init = |arguments: &[&str]| {
        let administrators = ["--administrator", person("ana").as_str(), "--administrator", person("ben").as_str()].map(str::to_owned);
        site.command("init").args(administrators).args(arguments).output().expect("it ran")
    };
    let taken = site.path("pki").display().to_string();
    let elsewhere = site.path("none").join("shares").display().to_string();
    for folder in [&taken, &elsewhere] {
        let (_, why) = refused(&init(&["--shares", "5", "--threshold", "3", "--shares-to", folder]));
        assert!(why.contains(folder.as_str()), "{why}");
    }
    let new = site.path("shares").display().to_string();
    for arguments in [
        &["--shares", "5", "--threshold", "3"][..],
        &["--shares", "5", "--shares-to", &new],
        &["--threshold", "3"],
        &["--shares", "5", "--threshold", "6", "--shares-to", &new],
        &["--shares", "17", "--threshold", "3", "--shares-to", &new],
        &["--shares", "3", "--threshold", "1", "--shares-to", &new],
        &["--shares", "2", "--threshold", "2", "--shares-to", &new, "--recipient", "age1"],
        &["--shares", "2", "--threshold", "2", "--shares-to", &new, "--recipient", crate::requests::RECIPIENTS[0]],
    ] {
        refused(&init(arguments));
        assert!(!Path::new(&new).exists(), "{arguments:?}");
    }
    let [one, two] = crate::requests::RECIPIENTS;
    let made = init(&["--shares", "2", "--threshold", "2", "--shares-to", &new, "--recipient", one, "--recipient", two]);
    assert!(made.status.success(), "a store in which nothing was made: {}", String::from_utf8_lossy(&made.stderr));
    let file = std::fs::read_to_string(site.path("shares").join("share-2-of-2.age")).expect("written");
    assert!(file.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{file}");
}
