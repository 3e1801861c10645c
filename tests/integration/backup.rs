//! Backup, verify, restore and drill on a real server: what is back, what is not, and what a kill or a full disk leaves at each
//! step.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use strongroom::access::CurrentPolicy;
use strongroom::api::Method;
use strongroom::audit::{AuditLog, AuditOptions};
use strongroom::backup::{Archive, Identity, PartFile, Step, Steps};
use strongroom::client::{AuditFilter, BindingFilter, Client, NewSecret, Page, Reveal, StateChange};
use strongroom::config::Config;
use strongroom::crypto::SystemRandom;
use strongroom::gate::{Call, Gate, WholeVault};
use strongroom::identity::Peer;
use strongroom::model::{Class, Environment, Principal, SecretBytes, SecretName, SystemClock, Timestamp};
use strongroom::seal::SlotKey;
use strongroom::server::{RestoreFrom, RestoreReport, ServerError, outlive_file_limit, restore};
use strongroom::storage::{Mode, SledOptions, SledStore, Store};
use strongroom::vault::{History, Pins, SlotSecret, Tokens, Vault};
use tonic::Code;

use crate::harness::{IDENTITY, PASSPHRASE, PROGRAM, RECIPIENT, Running, Site, person, workload};

fn name(text: &str) -> SecretName {
    text.parse().expect("valid")
}

fn identity() -> Identity {
    Identity::parse(&SecretBytes::new(IDENTITY.as_bytes().to_vec())).expect("the tests' own")
}

async fn put(client: &Client, at: &str) {
    client.create_secret(NewSecret::opaque(&name(at), SecretBytes::new(at.as_bytes().to_vec()))).await.expect("stored");
}

async fn get(client: &Client, at: &str) -> Result<Vec<u8>, Code> {
    let revealed = client.reveal_secret(Reveal::latest(&name(at))).await;
    revealed.map(|revealed| revealed.value.expose().to_vec()).map_err(|error| error.refusal().map_or(Code::Unknown, |refusal| refusal.code))
}

/// A vault with a few secrets under two key versions, a person who may audit, and a backup of it.
struct Scene {
    site: Site,
    archive: PathBuf,
}

impl Scene {
    async fn set() -> Self {
        let site = Site::new("");
        site.make_cheap_vault("").await;
        let running = site.start_open().await;
        site.make_namespace(&running, "shop", Environment::Stage).await;
        site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
        site.bind(&running, "key-admin", &person("kim"), None).await;
        site.bind(&running, "auditor", &person("otto"), None).await;
        let ana = site.client(&running, &person("ana")).await;
        ana.create_role(strongroom::client::NewRole {
            name: "remover".parse().expect("valid"),
            grants: vec!["describe,destroy:**".parse().expect("valid")],
            description: String::new(),
            request_id: String::new(),
        })
        .await
        .expect("made");
        site.bind(&running, "remover", &workload("remover"), Some("shop")).await;
        let backend = site.client(&running, &workload("backend")).await;
        for at in ["shop/a", "shop/b", "shop/c"] {
            put(&backend, at).await;
        }
        site.client(&running, &person("kim")).await.rotate_key(&"shop".parse().expect("valid"), 0, "").await.expect("rotated");
        put(&backend, "shop/d").await;
        let archive = site.path("vault.age");
        let made = client_command(&site, &running, "cleo", &["backup", "create", &text(&archive), "--output", "json", "--keep", "2d"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let told: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
        assert_eq!(told["sha256"], hex::encode(strongroom::crypto::sha256(&std::fs::read(&archive).expect("there"))));
        assert!(told["rows"].as_u64() > Some(15), "{told}");
        // What comes after it: destroyed, destroyed and restored, stored.
        let remover = site.client(&running, &workload("remover")).await;
        remover.destroy_secret(StateChange::of(&name("shop/a"))).await.expect("destroyed");
        remover.destroy_secret(StateChange::of(&name("shop/b"))).await.expect("destroyed");
        remover.restore_secret(StateChange::of(&name("shop/b"))).await.expect("restored");
        put(&backend, "shop/later").await;
        assert!(running.stop());
        let scene = Self { site, archive };
        scene.copy("audit", "kept-audit");
        scene
    }

    fn copy(&self, from: &str, to: &str) {
        let _ = std::fs::remove_dir_all(self.site.path(to));
        let copied = Command::new("cp").arg("-a").arg(self.site.path(from)).arg(self.site.path(to)).status();
        assert!(copied.expect("cp runs").success());
    }

    /// The disk is new, and the log is as it was.
    fn lose_the_store(&self) {
        let _ = std::fs::remove_dir_all(self.site.path("data"));
        self.copy("kept-audit", "audit");
    }

    async fn restore(&self, steps: Steps) -> Result<RestoreReport, ServerError> {
        restore_at(&self.site.path("strongroom.toml"), &self.archive, steps).await
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of the test's").to_owned()
}

fn client_command(site: &Site, running: &Running, who: &str, arguments: &[&str]) -> Output {
    let profile = site.profile(running, &person(who));
    Command::new(PROGRAM).args(arguments).arg("--profile").arg(profile).stdin(Stdio::null()).output().expect("it ran")
}

fn slot_key(passphrase: &str) -> SlotKey {
    SlotKey::passphrase(&SecretBytes::new(passphrase.as_bytes().to_vec())).expect("long enough")
}

async fn restore_at(config: &Path, archive: &Path, steps: Steps) -> Result<RestoreReport, ServerError> {
    let from = RestoreFrom {
        archive: archive.to_owned(),
        identity: identity(),
        slot: slot_key(PASSPHRASE),
        administrators: vec![person("ana"), person("ben")],
        single_administrator: false,
        audit: None,
        steps,
    };
    restore(&Config::load(config).expect("the site's own"), from).await
}

/// Revoked grants, sessions and used codes do not come back: what counts once is void, and people's rights wait.
// immune: row-69
// immune: row-61
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_away_does_not_come_back_with_a_backup() {
    let scene = Scene::set().await;
    let site = &scene.site;
    std::fs::write(site.path("identity"), IDENTITY).expect("written");
    let (archive, key) = (text(&scene.archive), text(&site.path("identity")));
    std::fs::write(site.path("words"), PASSPHRASE).expect("written");
    let words = text(&site.path("words"));
    let run = |arguments: &[&str]| Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("it ran");

    // Whole, and it says so; without an identity nobody knows.
    let verified = run(&["backup", "verify", &archive, "--identity", &key, "--output", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!((verified.status.code(), &told["verified"], &told["rows_by_class"]["secrets"]), (Some(0), &true.into(), &4.into()));
    assert_eq!(run(&["backup", "verify", &archive]).status.code(), Some(8));
    let drilled = run(&["backup", "drill", &archive, "--identity", &key, "--passphrase-file", &words, "--output", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&drilled.stdout).expect("JSON");
    let canaries: Vec<_> = told["canaries"].as_array().expect("a list").iter().map(|one| one["opened"].as_str().expect("a word")).collect();
    assert_eq!((drilled.status.code(), canaries), (Some(0), vec!["yes", "yes"]), "{told}");

    // Into an empty folder alone.
    let administrators = ["ana", "ben"].map(|who| person(who).to_string());
    let config = text(&site.path("strongroom.toml"));
    let mut arguments = vec!["restore", &archive, "--config", &config, "--identity", &key, "--passphrase-file", &words, "--output", "json"];
    arguments.extend(["--administrator", &administrators[0], "--administrator", &administrators[1]]);
    let refused = run(&arguments);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not empty"), "{}", String::from_utf8_lossy(&refused.stderr));
    scene.copy("data", "lost-data");
    scene.lose_the_store();
    let restored = run(&arguments);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let told: serde_json::Value = serde_json::from_slice(&restored.stdout).expect("JSON");
    assert_eq!((&told["epoch"], &told["destroyed_again"], &told["bindings_suspended"]), (&2.into(), &1.into(), &2.into()), "{told}");

    let running = site.start_open().await;
    let backend = site.client(&running, &workload("backend")).await;
    assert_eq!(get(&backend, "shop/a").await, Err(Code::FailedPrecondition), "destroyed once more");
    for at in ["shop/b", "shop/c", "shop/d"] {
        assert_eq!(get(&backend, at).await, Ok(at.as_bytes().to_vec()));
    }
    assert_eq!(get(&backend, "shop/later").await, Err(Code::NotFound), "stored after the backup");
    put(&backend, "shop/new").await;

    // People's roles wait, and nobody confirms their own.
    let (otto, ana) = (site.client(&running, &person("otto")).await, site.client(&running, &person("ana")).await);
    let entries = |client: Client| async move { client.list_audit_entries(&AuditFilter::default(), Page::default()).await };
    assert!(entries(otto.clone()).await.is_err(), "an auditor of before waits");
    let bindings = ana.list_bindings(&BindingFilter::default(), Page::default()).await.expect("listed").items;
    let waiting: Vec<_> = bindings.iter().filter(|binding| !binding.suspended.is_empty()).collect();
    assert_eq!(waiting.len(), 2, "{bindings:?}");
    let of_otto = waiting.iter().find(|binding| binding.principal == person("otto")).expect("his");
    ana.confirm_binding(of_otto.binding_id, "still with us").await.expect("confirmed");
    let entries = entries(otto).await.expect("he may again").items;
    assert!(entries.iter().any(|entry| entry.method == "restored" && entry.detail["epoch"] == "2"), "{entries:?}");
    assert!(ana.confirm_binding(of_otto.binding_id, "").await.is_err(), "it counts already");
    assert!(running.stop());

    // The store that was lost, found again: its policy is older than the log says by now.
    scene.copy("lost-data", "data");
    let running = site.start();
    let cleo = site.client(&running, &person("cleo")).await;
    let refused = cleo.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await;
    let refused = refused.expect_err("an older store").to_string();
    assert!(refused.contains("older than the audit log says"), "{refused}");
    assert!(running.stop());
}

/// Where shares alone open the vault, they restore it, too; and fewer of them than it takes restore nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_of_shares_comes_back_by_shares() {
    let site = Site::new("");
    let shares = site.path("shares");
    let recipient = format!("cleo={}", RECIPIENT);
    let made = site
        .command("init")
        .args(["--administrator", person("ana").as_str(), "--administrator", person("ben").as_str(), "--recovery-recipient", &recipient])
        .args(["--shares", "3", "--threshold", "2", "--shares-to"])
        .arg(&shares)
        .output()
        .expect("it ran");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site.write_config_for(&String::from_utf8(made.stdout).expect("text"), &[person("cleo")], "");
    let [one, two, three] = [1, 2, 3].map(|number| text(&shares.join(format!("share-{number}-of-3.txt"))));
    let unseal = |running: &Running| {
        for (who, file) in [("cleo", &one), ("cleo", &three)] {
            let given = client_command(&site, running, who, &["unseal", "--any-server-key", "--share-file", file]);
            assert!(given.status.success(), "{}", String::from_utf8_lossy(&given.stderr));
        }
    };
    let running = site.start();
    unseal(&running);
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    put(&site.client(&running, &workload("backend")).await, "shop/a").await;
    let (archive, key, config) = (text(&site.path("vault.age")), text(&site.path("identity")), text(&site.path("strongroom.toml")));
    let backed_up = client_command(&site, &running, "cleo", &["backup", "create", &archive, "--keep", "2d"]);
    assert!(backed_up.status.success(), "{}", String::from_utf8_lossy(&backed_up.stderr));
    assert!(running.stop());
    std::fs::write(site.path("identity"), IDENTITY).expect("written");
    std::fs::remove_dir_all(site.path("data")).expect("removed");

    let run = |arguments: &[&str], files: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).args(["--identity", &key]).stdin(Stdio::null());
        for file in files {
            command.args(["--share-file", file]);
        }
        command.output().expect("it ran")
    };
    let drilled = run(&["backup", "drill", &archive], &[&two, &one]);
    assert!(drilled.status.success(), "{}", String::from_utf8_lossy(&drilled.stderr));
    let (ana, ben) = (person("ana").to_string(), person("ben").to_string());
    let restore = ["restore", &archive, "--config", &config, "--administrator", &ana, "--administrator", &ben];
    for (files, why) in [(&[&*one][..], "the slot needs 2"), (&[&*one, &*one], "the slot needs 2"), (&[&*one, &*key], "this is no share")] {
        let refused = run(&restore, files);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains(why), "{told}");
        assert!(!site.path("data").exists(), "nothing was written");
    }
    let restored = run(&restore, &[&three, &two]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let running = site.start();
    unseal(&running);
    assert_eq!(get(&site.client(&running, &workload("backend")).await, "shop/a").await, Ok(b"shop/a".to_vec()));
    assert!(running.stop());
}

/// What `docs/operations/backup.md` shows is what people type.
#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_work() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations/backup.md")).expect("the page");
    let blocks: Vec<_> = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [nightly, quarterly, the_day] = blocks.as_slice() else { panic!("three blocks that can be run: {blocks:?}") };
    let scene = Scene::set().await;
    let site = &scene.site;
    let running = site.start_open().await;
    std::fs::write(site.path("identity"), IDENTITY).expect("written");
    std::fs::write(site.path("words"), PASSPHRASE).expect("written");
    let profile = site.profile(&running, &person("cleo"));
    let folder = Path::new(PROGRAM).parent().expect("a folder");
    let run = |block: &str| {
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-euc", block]).env("PATH", path).env("STRONGROOM_PROFILE", &profile).stdin(Stdio::null());
        for (variable, file) in
            [("BACKUP", "nightly.age"), ("IDENTITY", "identity"), ("PASSPHRASE", "words"), ("CONFIG", "strongroom.toml")]
        {
            command.env(variable, site.path(file));
        }
        command.env("ALICE", person("ana").as_str()).env("BOB", person("ben").as_str());
        let output = command.output().expect("it ran");
        assert!(output.status.success(), "{block}{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(run(nightly).contains("verified:"));
    assert!(run(quarterly).contains("yes"));
    assert!(running.stop());
    std::fs::remove_dir_all(site.path("data")).expect("removed");
    run(the_day);
    let running = site.start_open().await;
    assert!(get(&site.client(&running, &workload("backend")).await, "shop/later").await.is_ok());
    assert!(running.stop());
}

/// What was destroyed since is done again only where the log tells of it: one that cannot tell is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_reach_the_backup_is_refused_as_is_one_administrator_alone() {
    let scene = Scene::set().await;
    scene.lose_the_store();
    scene.copy("kept-audit", "short-audit");
    for segment in std::fs::read_dir(scene.site.path("short-audit")).expect("there") {
        let segment = segment.expect("readable").path();
        let whole = std::fs::read_to_string(&segment).expect("text");
        std::fs::write(&segment, whole.split_inclusive('\n').next().unwrap_or_default()).expect("written");
    }
    std::fs::create_dir(scene.site.path("no-audit")).expect("made");
    let config = Config::load(&scene.site.path("strongroom.toml")).expect("the site's own");
    let from = |audit: Option<&str>, who: &[&str]| RestoreFrom {
        archive: scene.archive.clone(),
        identity: identity(),
        slot: slot_key(PASSPHRASE),
        administrators: who.iter().map(|who| person(who)).collect(),
        single_administrator: false,
        audit: audit.map(|folder| scene.site.path(folder)),
        steps: Steps::default(),
    };
    for (audit, who, why) in [
        (Some("short-audit"), &["ana", "ben"][..], "ends before the backup was made"),
        (Some("no-audit"), &["ana", "ben"], "holds no audit log"),
        (None, &["ana"], "administrator"),
    ] {
        let error = restore(&config, from(audit, who)).await.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
        assert!(!scene.site.path("data").exists(), "nothing was written");
    }
    restore(&config, RestoreFrom { single_administrator: true, ..from(Some("kept-audit"), &["ana"]) }).await.expect("as was said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_before_anything_is_written() {
    let scene = Scene::set().await;
    let whole = std::fs::read(&scene.archive).expect("there");
    scene.lose_the_store();
    let mut damaged: Vec<Vec<u8>> = (0..whole.len()).step_by(4096).map(|length| whole[..length].to_vec()).collect();
    for position in [0, 40, 200, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[position] ^= 1;
        damaged.push(bytes);
    }
    for bytes in damaged {
        std::fs::write(&scene.archive, &bytes).expect("written");
        assert!(scene.restore(Steps::default()).await.is_err());
        assert!(!scene.site.path("data").exists(), "nothing was written");
    }
    std::fs::write(&scene.archive, &whole).expect("written");
    // Nor with a wrong passphrase, nor for administrators who are none.
    let config = Config::load(&scene.site.path("strongroom.toml")).expect("the site's own");
    let from = |passphrase: &str, who: [&str; 2]| RestoreFrom {
        archive: scene.archive.clone(),
        identity: identity(),
        slot: slot_key(passphrase),
        administrators: who.map(person).to_vec(),
        single_administrator: false,
        audit: None,
        steps: Steps::default(),
    };
    assert!(restore(&config, from("another horse, another staple", ["ana", "ben"])).await.is_err());
    assert!(!scene.site.path("data").exists());
    let error = restore(&config, from(PASSPHRASE, ["otto", "kim"])).await.expect_err("they administer nothing");
    let error = format!("{error:?}");
    assert!(error.contains("--administrator"), "{error}");
    // What that has left is no vault.
    assert!(Running::of(scene.site.command("server")).is_err());
}

const CHILD: &str = "backup::child_is_stopped_at_a_step";
const ORDER: &str = "STRONGROOM_TEST_BACKUP_ORDER";

/// What happens to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Full,
}

/// Does what its order says: nothing where there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_is_stopped_at_a_step() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let [folder, step, fault] = order.split('\n').collect::<Vec<_>>().try_into().expect("three words");
    let step = Step::ALL[step.parse::<usize>().expect("a number")];
    let fault = if fault == "Kill" { Fault::Kill } else { Fault::Full };
    outlive_file_limit().expect("signals");
    let is_hit = AtomicBool::new(false);
    let steps = Steps::told_to(move |at| {
        if at != step || is_hit.swap(true, Ordering::SeqCst) {
            return;
        }
        println!("met {at:?}.");
        match fault {
            Fault::Kill => kill_process(getpid(), Signal::KILL).expect("killed"),
            // From now on a file takes no byte more.
            Fault::Full => setrlimit(Resource::Fsize, Rlimit { current: Some(1), ..getrlimit(Resource::Fsize) }).expect("set"),
        }
    });
    let folder = Path::new(folder);
    let done = if step.is_of_backup() {
        make_backup(folder, steps).await
    } else {
        restore_at(&folder.join("strongroom.toml"), &folder.join("vault.age"), steps).await.map(drop).map_err(|error| format!("{error:?}"))
    };
    println!("ended {done:?}.");
}

/// What the server and the command do, in one process and without the wire between them.
async fn make_backup(folder: &Path, steps: Steps) -> Result<(), String> {
    let config = Config::load(&folder.join("strongroom.toml")).expect("the site's own");
    let pins = config.pins().expect("pinned");
    let pins = Pins { vault_id: pins.vault_id, audit_public_key: pins.audit_public_key };
    let options = SledOptions { reserve_bytes: 0, ..SledOptions::default() };
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&config.data_folder, &options, Mode::OpenExisting).expect("opened"));
    let clock = Arc::new(SystemClock);
    let (audit, _) = AuditLog::open(&config.audit_folder, AuditOptions::new(config.node.clone()), clock.clone()).expect("a log");
    let policy = Arc::new(CurrentPolicy::default());
    let vault = Vault::new(
        store.clone(),
        Arc::new(SystemRandom::new()),
        clock.clone(),
        policy.clone(),
        pins,
        History::default(),
        Tokens::default(),
    )
    .await;
    let vault = vault.expect("it is there");
    let gate = Gate::new(policy, config.custodians.clone(), audit.clone(), clock);
    let call = |method| Call::new(method, peer());
    let passphrase = SlotSecret::Passphrase(SecretBytes::new(PASSPHRASE.as_bytes().to_vec()));
    let own = vault.clone();
    let opened = gate.run(call(Method::Unseal), WholeVault::VAULT, |permit| async move { own.unseal(permit, passphrase).await }).await;
    opened.map_err(|error| error.to_string())?;
    let mut file = PartFile::create(&folder.join("second.age"), steps.clone()).map_err(|error| error.to_string())?;
    let own = vault.clone();
    let begun = gate.stream(call(Method::CreateBackup), WholeVault::VAULT, |permit| async move {
        own.begin_backup(permit, Duration::from_secs(3600), steps).await
    });
    let (streaming, mut run) = begun.await.map_err(|error| error.to_string())?;
    while let Some(piece) = run.next().await.map_err(|error| error.to_string())? {
        file.write(&piece).map_err(|error| error.to_string())?;
    }
    file.finish().map_err(|error| error.to_string())?;
    streaming.end("ok");
    Ok(())
}

fn peer() -> Peer {
    Peer {
        principal: Arc::new(Principal { id: person("cleo"), class: Class::Operator }),
        serial: "01".into(),
        not_after: Timestamp::MAX,
        address: ([127, 0, 0, 1], 1).into(),
        tls_group: "X25519MLKEM768",
        post_quantum: true,
    }
}

/// What a child said before it ended.
async fn child(scene: &Scene, step: Step, fault: Fault) -> String {
    let folder = text(scene.site.path("strongroom.toml").parent().expect("a folder"));
    let order = format!("{folder}\n{}\n{fault:?}", step as usize);
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", CHILD, "--nocapture", "--test-threads", "1"]).env(ORDER, order).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().expect("it ran")).await.expect("no panic");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("met {step:?}.")), "it never came to {step:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A kill or a full disk at each step leaves a whole backup or none, a whole vault or none; and trying again works.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_or_a_full_disk_at_each_step_leaves_all_or_nothing() {
    let scene = Scene::set().await;
    let second = scene.site.path("second.age");
    scene.copy("data", "kept-data");
    for step in Step::ALL.iter().copied() {
        for fault in [Fault::Kill, Fault::Full] {
            let _ = std::fs::remove_file(&second);
            scene.lose_the_store();
            if step.is_of_backup() {
                scene.copy("kept-data", "data");
            }
            let said = child(&scene, step, fault).await;
            let is_done = said.contains("ended Ok");
            if step.is_of_backup() {
                let whole = second.exists() && Archive::open(&second, identity()).expect("there").verify(|_, _| {}).is_ok();
                assert_eq!(second.exists(), whole, "{step:?}, {fault:?}: a file under its name is whole: {said}");
                assert!(whole || !is_done, "{step:?}, {fault:?}: {said}");
                assert!(!whole || step > Step::WriteFile, "{step:?}, {fault:?}: {said}");
                check(&scene, true).await;
                continue;
            }
            match Running::of(scene.site.command("server")) {
                Ok(running) => {
                    assert!(is_done || step > Step::WriteHeader, "{step:?}, {fault:?}: a vault before its end: {said}");
                    assert!(running.stop());
                }
                Err(log) => {
                    assert!(!is_done, "{step:?}, {fault:?}: {log}");
                    // As it says itself: into an empty folder.
                    let _ = std::fs::remove_dir_all(scene.site.path("data"));
                    scene.restore(Steps::default()).await.unwrap_or_else(|error| panic!("{step:?}, {fault:?}: {error:?}"));
                }
            }
            check(&scene, false).await;
        }
    }
}

/// The vault opens, and its secrets are there. `later`: with what came after the backup.
async fn check(scene: &Scene, later: bool) {
    let running = scene.site.start_open().await;
    let backend = scene.site.client(&running, &workload("backend")).await;
    for at in ["shop/b", "shop/c", "shop/d"] {
        assert_eq!(get(&backend, at).await, Ok(at.as_bytes().to_vec()));
    }
    assert_eq!(get(&backend, "shop/a").await, Err(Code::FailedPrecondition), "it stays destroyed");
    assert_eq!(get(&backend, "shop/later").await.is_ok(), later);
    assert!(running.stop());
}
