//! The host's side: modes of files, pins, empty folders, a store that was put back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::model::{Environment, SecretBytes};
use strongroom::pki::private_folder;
use tonic::Code;

use crate::harness::{PASSPHRASE, PROGRAM, Running, Site, person};
use crate::stage::{Stage, named, opaque};
use crate::wire::refused;

fn administrators() -> [String; 4] {
    ["--administrator".to_owned(), person("ana").to_string(), "--administrator".to_owned(), person("ben").to_string()]
}

/// Runs `init`; its error where it is refused.
fn init(site: &Site) -> Result<(), String> {
    strongroom::pki::write_private(&site.path("passphrase"), PASSPHRASE).expect("written");
    let output =
        site.command("init").arg("--passphrase-file").arg(site.path("passphrase")).args(administrators()).output().expect("it ran");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// They are shown once, and nobody could look them up in a vault that does not start without them.
#[test]
fn pins_that_the_output_does_not_take_are_not_lost() {
    let site = Site::new("");
    strongroom::pki::write_private(&site.path("passphrase"), PASSPHRASE).expect("written");
    for format in ["table", "json"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device of Linux");
        let mut command = site.command("init");
        command.arg("--passphrase-file").arg(site.path("passphrase")).args(administrators()).args(["--output", format]);
        let output = command.stdout(full).output().expect("it ran");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("vault_id") && said.contains("audit_public_key") && said.contains("the vault is made, but"), "{said}");
        for folder in ["data", "audit"] {
            fs::remove_dir_all(site.path(folder)).expect("it was made");
        }
    }
}

fn start(site: &Site) -> Result<Running, String> {
    Running::of(site.command("server"))
}

fn copy(from: &Path, to: &Path) {
    private_folder(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(|_| ()).expect("copied")
        }
    }
}

/// Everything below a folder with its mode, but for what `except` names.
fn modes(folder: &Path) -> Vec<(PathBuf, bool, u32)> {
    let mut found = vec![(folder.to_owned(), true, fs::metadata(folder).expect("there").permissions().mode() & 0o777)];
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(modes(&entry));
        } else {
            let mode = fs::metadata(&entry).expect("there").permissions().mode() & 0o777;
            found.push((entry, false, mode));
        }
    }
    found
}

// immune: row-52
#[tokio::test(flavor = "multi_thread")]
async fn files_are_private_whatever_the_umask() {
    let site = Site::new("[audit]\nsegment_bytes = 1048576\n");
    strongroom::pki::write_private(&site.path("passphrase"), PASSPHRASE).expect("written");
    let loose = |subcommand: &str, more: &[String]| {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 000; exec \"$0\" \"$@\"", PROGRAM, subcommand, "--config"]).arg(site.path("strongroom.toml")).args(more);
        command.stdin(std::process::Stdio::null());
        command
    };
    let passphrase = ["--passphrase-file".to_owned(), site.path("passphrase").display().to_string()];
    let made = loose("init", &[&passphrase[..], &administrators()[..]].concat()).output().expect("it ran");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site.write_config(&String::from_utf8(made.stdout).expect("text"), "[audit]\nsegment_bytes = 1048576\n");
    let running = Running::of(loose("server", &[])).expect("it started");
    site.unseal(&running).await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &crate::harness::workload("backend"), Some("shop")).await;
    let backend = site.client(&running, &crate::harness::workload("backend")).await;
    for number in 0..50 {
        backend.create_secret(opaque(&named(format!("shop/{number}")), &"x".repeat(20_000))).await.expect("stored");
    }
    assert!(running.stop(), "it ends cleanly");
    let found: Vec<_> = ["data", "audit"].iter().flat_map(|folder| modes(&site.path(folder))).collect();
    assert!(found.len() > 6, "{found:?}");
    for (path, is_folder, mode) in found {
        assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{} has {mode:o}", path.display());
    }
}

// immune: row-58
#[tokio::test(flavor = "multi_thread")]
async fn another_vault_is_refused_under_this_one_s_pins() {
    let (mine, other) = (Site::new(""), Site::new(""));
    let arguments = administrators();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (my_pins, other_pins) = (mine.init(&arguments), other.init(&arguments));
    // The other's whole store under my configuration: not even started.
    fs::rename(mine.path("data"), mine.path("data-of-mine")).expect("moved");
    copy(&other.path("data"), &mine.path("data"));
    mine.write_config(&my_pins, "");
    let why = start(&mine).err().expect("it holds another vault");
    assert!(why.contains("another vault"), "{why}");
    // With its id pinned as well, but not its key: never opened, whatever the passphrase.
    let line =
        |pins: &str, key: &str| pins.lines().find(|line| line.starts_with(key)).map(|line| format!("{line}\n")).expect("it is pinned");
    mine.write_config(&(line(&other_pins, "vault_id") + &line(&my_pins, "audit_public_key")), "");
    let running = start(&mine).expect("only a key that nobody has seen yet is wrong");
    let cleo = mine.client(&running, &person("cleo")).await;
    let opened = cleo.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await;
    assert_eq!(refused(&opened), Code::FailedPrecondition);
    running.says("audit key");
    assert_eq!(
        refused(&mine.client(&running, &person("ana")).await.list_roles(strongroom::client::Page::default()).await),
        Code::Unavailable
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_ends_nothing() {
    let Stage { site, running, .. } = Stage::new("").await;
    running.hang_up();
    running.says("were read again and are in force");
    site.client(&running, &person("ana")).await.list_roles(strongroom::client::Page::default()).await.expect("served");
    assert!(running.stop());
}

// immune: row-59
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_under_a_pinned_id_stays_empty() {
    let site = Site::new("");
    let arguments = administrators();
    let pins = site.init(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    site.write_config(&pins, "");
    fs::rename(site.path("data"), site.path("data-of-mine")).expect("moved");
    let why = start(&site).err().expect("there is no folder");
    assert!(why.contains("data"), "{why}");
    assert!(!site.path("data").exists(), "nothing was made");
    private_folder(&site.path("data")).expect("made");
    start(&site).err().expect("the folder is empty");
    assert_eq!(fs::read_dir(site.path("data")).expect("a folder").count(), 0, "nothing was made");
    assert!(init(&site).expect_err("the configuration pins a vault").contains("pins"));
    assert_eq!(fs::read_dir(site.path("data")).expect("a folder").count(), 0, "nothing was made");
    // Without pins: never over what is there.
    fs::remove_dir(site.path("data")).expect("removed");
    fs::rename(site.path("data-of-mine"), site.path("data")).expect("moved back");
    site.write_config("", "");
    let before = site.files("data");
    init(&site).expect_err("there is a vault");
    assert_eq!(site.files("data"), before);
    start(&site).err().expect("no vault is pinned");
    site.write_config(&pins, "");
    drop(site.start_open().await);
}

// immune: row-61
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_put_back_is_not_opened() {
    let Stage { site, running, .. } = Stage::new("[audit]\nsegment_bytes = 1048576\n").await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    assert!(running.stop());
    copy(&site.path("data"), &site.path("old-data"));
    let running = site.start_open().await;
    let role = "custodian";
    site.bind(&running, role, &person("mallory"), None).await;
    // So much more that the file that tells of the binding is full.
    let client = site.client(&running, &person("mallory")).await;
    while site.files("audit").iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "jsonl")).count() == 1 {
        for _ in 0..100 {
            client.status().await.expect("served");
        }
    }
    assert!(running.stop());
    assert!(site.start().stop(), "with the newest file");
    // All but the newest may be moved away.
    let mut files = site.files("audit");
    files.retain(|(path, _)| path.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    files.pop();
    private_folder(&site.path("archive")).expect("made");
    for (path, _) in &files {
        fs::rename(path, site.path("archive").join(path.file_name().expect("a name"))).expect("moved");
    }
    fs::rename(site.path("data"), site.path("new-data")).expect("moved");
    fs::rename(site.path("old-data"), site.path("data")).expect("moved");

    let running = site.start();
    let cleo = site.client(&running, &person("cleo")).await;
    let opened = cleo.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await;
    assert_eq!(refused(&opened), Code::FailedPrecondition);
    running.says("older than the audit log says");
    assert!(running.stop());
    // The newer one opens.
    fs::rename(site.path("data"), site.path("old-data")).expect("moved");
    fs::rename(site.path("new-data"), site.path("data")).expect("moved");
    drop(site.start_open().await);
}
