//! The units, the container file and the firewall in `deploy/`: well-formed, in step with the defaults, and as tight as they say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::config::Config;
use strongroom::model::Environment;

use crate::harness::{PROGRAM, Running, Site, workload};
use crate::required::leave_out;
use crate::stage::{named, opaque};

/// The most that `systemd-analyze security` may say of the service: 0 is nothing, 10 is everything.
const EXPOSURE_MOST: f64 = 1.5;
const CONFIGURATION: &str = "/etc/strongroom/strongroom.toml";

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn text(path: &str) -> String {
    fs::read_to_string(deploy().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The example as a server would read it.
pub(crate) fn example() -> Config {
    Config::load(&deploy().join("strongroom.example.toml")).expect("the example is valid")
}

/// A unit file: section, key, value, line by line.
struct Unit(Vec<(String, String, String)>);

impl Unit {
    fn read(name: &str) -> Self {
        let mut section = String::new();
        let mut lines = Vec::new();
        for line in text(&format!("systemd/{name}")).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                assert!(["Unit", "Service", "Socket", "Install"].contains(&name), "{line}");
                name.clone_into(&mut section);
            } else {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("neither section nor setting: {line}"));
                assert!(!line.ends_with('\\'), "one line for one setting: {line}");
                lines.push((section.clone(), key.to_owned(), value.to_owned()));
            }
        }
        Self(lines)
    }

    fn all(&self, section: &str, key: &str) -> Vec<&str> {
        self.0.iter().filter(|(of, is, _)| of == section && is == key).map(|(_, _, value)| value.as_str()).collect()
    }

    /// The one value of a key.
    fn one(&self, section: &str, key: &str) -> &str {
        let found = self.all(section, key);
        assert_eq!(found.len(), 1, "{section}: {key}: {found:?}");
        found[0]
    }
}

fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("not seconds: {text}"))
}

/// Where the machine has the program, and it starts.
fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_service_is_exposed_to_little() {
    const TEST: &str = "the_service_is_exposed_to_little";
    if !runs("systemd-analyze") {
        return leave_out(TEST, "systemd-analyze");
    }
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(deploy().join("systemd/strongroom.service"))
        .output()
        .expect("it ran");
    let told = String::from_utf8(output.stdout).expect("text");
    let verdict = told.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| {
        panic!("no verdict: {told}{}", String::from_utf8_lossy(&output.stderr));
    });
    println!("{verdict}");
    let exposure = verdict.split(": ").nth(1).and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<f64>().ok());
    assert!(exposure.is_some_and(|exposure| exposure <= EXPOSURE_MOST), "{told}");
}

#[test]
fn the_service_runs_as_nobody_else_and_keeps_its_secrets() {
    let service = Unit::read("strongroom.service");
    let is = |key: &str| service.one("Service", key).to_owned();
    assert_eq!(is("ExecStart"), format!("/usr/local/bin/strongroom server --config {CONFIGURATION}"));
    assert_eq!((is("User"), is("Group"), is("UMask")), ("strongroom".into(), "strongroom".into(), "0077".into()));
    assert_eq!((is("LimitCORE"), is("MemorySwapMax")), ("0".into(), "0".into()));
    assert_eq!((is("CapabilityBoundingSet"), is("AmbientCapabilities")), (String::new(), String::new()));
    for key in ["NoNewPrivileges", "MemoryDenyWriteExecute", "PrivateDevices", "PrivateTmp", "ProtectHome", "RestrictNamespaces"] {
        assert_eq!(is(key), "yes", "{key}");
    }
    assert_eq!(is("ProtectSystem"), "strict");
    assert_eq!((is("SocketBindDeny"), is("RestrictAddressFamilies")), ("any".into(), "AF_UNIX AF_INET".into()));
    // It is ready when it says so, is never started open, and is not killed while it drains.
    assert_eq!((is("Type"), is("Restart")), ("notify".into(), "on-failure".into()));
    assert!(seconds(&is("TimeoutStopSec")) > example().limits.drain_timeout.as_secs());
    assert!(is("LimitNOFILE").parse::<usize>().expect("a number") > 2 * example().limits.connections_max);
}

#[test]
fn units_and_example_agree_on_folders_files_and_ports() {
    let (service, socket, example) = (Unit::read("strongroom.service"), Unit::read("strongroom.socket"), example());
    assert_eq!(socket.one("Socket", "ListenStream"), example.listen.to_string());
    assert!(service.one("Unit", "Requires").split(' ').any(|unit| unit == "strongroom.socket"), "its port is passed");
    let operations = example.operations.expect("it is told by default");
    assert!(operations.ip().is_loopback());
    assert_eq!(service.one("Service", "SocketBindAllow"), format!("tcp:{}", operations.port()));
    for (kind, base, folder) in [("State", "/var/lib", &example.data_folder), ("Logs", "/var/log", &example.audit_folder)] {
        let name = service.one("Service", &format!("{kind}Directory"));
        assert_eq!(&Path::new(base).join(name), folder);
        assert_eq!(service.one("Service", &format!("{kind}DirectoryMode")), "0700");
        assert!(service.one("Unit", "RequiresMountsFor").split(' ').any(|path| Path::new(path) == folder));
    }
    // What is loaded as a credential lies where the example has it, and is named where the page says.
    let page = fs::read_to_string(deploy().join("../docs/deployment.md")).expect("the page");
    let mut loaded = Vec::new();
    for credential in service.all("Service", "LoadCredential") {
        let (name, path) = credential.split_once(':').expect("a name and a path");
        loaded.push(Path::new("tls").join(name));
        assert_eq!(Path::new(path), Path::new(CONFIGURATION).with_file_name("tls").join(name));
        assert!(page.contains(&format!("/run/credentials/strongroom.service/{name}")), "{name} is not on the page");
    }
    let own = [&example.tls.certificate, &example.tls.key].map(|path| path.strip_prefix(deploy()).expect("relative").to_owned());
    assert_eq!(loaded, own);
}

/// The system calls that a unit's filter lets through, as systemd reads it: a list of what may, minus, plus, in that order.
fn permitted(filters: &[&str]) -> BTreeSet<String> {
    let mut permitted = members("@default");
    for filter in filters {
        let (takes, names) = filter.strip_prefix('~').map_or((false, *filter), |names| (true, names));
        for name in names.split(' ') {
            let group = members(name);
            if takes {
                permitted.retain(|call| !group.contains(call));
            } else {
                permitted.extend(group);
            }
        }
    }
    permitted.extend(members("@default"));
    permitted
}

/// The calls of a group and of the groups in it; a call is a group of its own.
fn members(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_owned()]);
    }
    let output = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]).output().expect("it ran");
    assert!(output.status.success(), "no group {name}");
    let list = String::from_utf8(output.stdout).expect("text");
    list.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(members).collect()
}

/// A day of the server's with every call that it makes of the kernel, seen by `strace`.
#[tokio::test(flavor = "multi_thread")]
async fn the_filter_lets_a_day_of_the_server_through() {
    const TEST: &str = "the_filter_lets_a_day_of_the_server_through";
    for program in ["systemd-analyze", "strace"] {
        if !runs(program) {
            return leave_out(TEST, program);
        }
    }
    let site = Site::with_vault("[audit]\nsegment_bytes = 1048576\n");
    let seen = site.path("seen");
    let mut command = Command::new("strace");
    // The server keeps the process id (-D): signals reach it, and not what watches it.
    command.args(["-D", "-f", "-qq", "-c", "-o"]).arg(&seen).args([PROGRAM, "server", "--config"]).arg(site.path("strongroom.toml"));
    command.stdin(std::process::Stdio::null());
    let running = match Running::of(command) {
        Ok(running) => running,
        Err(why) if why.contains("ptrace") => return leave_out(TEST, "strace"),
        Err(why) => panic!("{why}"),
    };
    site.unseal(&running).await;
    site.make_namespace(&running, "shop", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop")).await;
    let backend = site.client(&running, &workload("backend")).await;
    for number in 0..60 {
        let name = named(format!("shop/{number}"));
        backend.create_secret(opaque(&name, &"x".repeat(20_000))).await.expect("stored");
        backend.reveal_secret(strongroom::client::Reveal::latest(&name)).await.expect("read");
    }
    running.hang_up();
    running.says("were read again and are in force");
    assert!(running.stop(), "it ends cleanly");
    // The watcher ends after what it watches.
    let begin = std::time::Instant::now();
    let used = loop {
        let used = calls(&fs::read_to_string(&seen).unwrap_or_default());
        if !used.is_empty() {
            break used;
        }
        assert!(begin.elapsed().as_secs() < 20, "strace wrote nothing");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    for expected in ["accept4", "fdatasync", "memfd_secret", "futex"] {
        assert!(used.contains(expected), "{expected} was not seen: {used:?}");
    }
    let service = Unit::read("strongroom.service");
    let permitted = permitted(&service.all("Service", "SystemCallFilter"));
    let refused: Vec<_> = used.difference(&permitted).collect();
    println!("{} system calls used, {} permitted", used.len(), permitted.len());
    assert!(refused.is_empty(), "{refused:?}");
    assert!(!permitted.contains("mount") && !permitted.contains("ptrace") && !permitted.contains("setuid"), "it filters");
}

/// The names in a summary of strace's: the last column between the two rules.
fn calls(summary: &str) -> BTreeSet<String> {
    let rows = summary.lines().skip_while(|line| !line.starts_with("------")).skip(1).take_while(|line| !line.starts_with("------"));
    let found: BTreeSet<_> = rows.filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect();
    if summary.trim_end().ends_with("total") { found } else { BTreeSet::new() }
}

/// The instructions of the container file, lines joined, by stage.
fn stages() -> Vec<Vec<(String, String)>> {
    let whole = text("container/Containerfile").lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let mut stages = vec![Vec::new()];
    for line in whole.replace("\\\n", " ").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (instruction, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no arguments: {line}"));
        if instruction == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("never empty").push((instruction.to_owned(), rest.trim().to_owned()));
    }
    stages
}

#[test]
fn the_image_holds_one_program_and_no_shell() {
    let stages = stages();
    assert_eq!(stages.len(), 3, "what stands before, the build, the image");
    let (build, image) = (&stages[1], &stages[2]);
    let of = |key: &str| image.iter().filter(|(is, _)| is == key).map(|(_, rest)| rest.as_str()).collect::<Vec<_>>();
    assert_eq!(of("FROM"), ["scratch"]);
    let user = of("USER")[0].split_once(':').expect("user and group");
    assert!(user.0.parse::<u32>().is_ok_and(|id| id > 0) && user.1.parse::<u32>().is_ok_and(|id| id > 0), "{user:?}");
    for (instruction, rest) in image {
        assert!(["FROM", "COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"].contains(&instruction.as_str()), "{rest}");
    }
    // Nothing is taken that the build did not put there, and the folders belong to the user.
    let made = build.iter().filter(|(is, _)| is == "RUN").map(|(_, rest)| rest.as_str()).collect::<String>();
    for copy in of("COPY") {
        let words: Vec<_> = copy.split(' ').filter(|word| !word.starts_with("--")).collect();
        assert!(copy.starts_with("--from=build ") && made.contains(words[0]), "{copy}");
        assert!(copy.contains("/bin/") || copy.contains(&format!("--chown={}:{} ", user.0, user.1)), "{copy}");
        assert_eq!(words[0], format!("/image{}", words[1]), "{copy}");
    }
    let example = example();
    assert_eq!(of("EXPOSE"), [example.listen.port().to_string()]);
    let volumes: Vec<PathBuf> = serde_json::from_str(of("VOLUME")[0]).expect("a list");
    assert_eq!(volumes, [example.data_folder, example.audit_folder]);
    let run: Vec<String> = [of("ENTRYPOINT")[0], of("CMD")[0]].map(|list| serde_json::from_str::<Vec<_>>(list).expect("a list")).concat();
    assert_eq!(run, ["/usr/local/bin/strongroom", "server", "--config", CONFIGURATION]);
}

#[test]
fn the_build_sees_what_it_copies_and_nothing_else() {
    let root = deploy().join("..");
    let build = &stages()[1];
    let copied: BTreeSet<_> = build
        .iter()
        .filter(|(is, _)| is == "COPY")
        .flat_map(|(_, rest)| rest.rsplit_once(' ').expect("from and to").0.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for source in &copied {
        assert!(root.join(source).exists(), "{source} is not there");
    }
    let ignored = text("container/Containerfile.dockerignore");
    let mut rules = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"));
    assert_eq!(rules.map(|line| line.trim_start_matches('!').to_owned()).collect::<BTreeSet<_>>(), copied);
    // Whatever file the manifest names must be there, or cargo refuses it.
    let manifest: toml::Value = toml::from_str(&fs::read_to_string(root.join("Cargo.toml")).expect("text")).expect("the manifest");
    let paths = ["bin", "test", "lib"].iter().flat_map(|kind| match &manifest[kind] {
        toml::Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    });
    let paths: Vec<_> = paths.map(|target| target["path"].as_str().expect("a path").to_owned()).collect();
    for path in paths.iter().map(String::as_str).chain([manifest["package"]["build"].as_str().expect("a path"), "benches/read_path.rs"]) {
        assert!(copied.contains(path.split('/').next().expect("a part")), "{path} is not copied");
    }
}

#[test]
fn the_firewall_is_well_formed() {
    const TEST: &str = "the_firewall_is_well_formed";
    if !runs("nft") {
        return leave_out(TEST, "nft");
    }
    // A network of its own, where even the unprivileged may look at rules.
    let checked = Command::new("unshare").args(["-rn", "nft", "-c", "-f"]).arg(deploy().join("nftables/strongroom.nft")).output();
    let output = checked.expect("unshare is everywhere");
    let why = String::from_utf8_lossy(&output.stderr);
    if why.contains("unshare:") {
        return leave_out(TEST, "nft");
    }
    assert!(output.status.success(), "{why}");
}

#[test]
fn the_firewall_drops_what_it_does_not_name() {
    let rules = text("nftables/strongroom.nft");
    let lines: Vec<_> = rules.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let policy = |hook: &str| lines.iter().find(|line| line.contains(&format!("hook {hook} "))).copied().unwrap_or_default();
    assert!(policy("input").ends_with("policy drop;") && policy("forward").ends_with("policy drop;"));
    let example = example();
    let (vault, operations) = (example.listen.port(), example.operations.expect("told").port());
    // Nothing comes in but what stands here.
    let input: Vec<_> = lines.iter().skip_while(|line| **line != "chain input {").take_while(|line| **line != "}").copied().collect();
    let accepted: Vec<_> = input.iter().filter(|line| line.split([' ', ';', ',']).any(|word| word == "accept")).copied().collect();
    assert_eq!(
        accepted,
        [
            "iif \"lo\" accept",
            "ct state established,related accept",
            "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
            "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
            "icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
            "icmp type echo-request limit rate 10/second accept",
            "icmpv6 type echo-request limit rate 10/second accept",
            "tcp dport 22 ip saddr @admins_v4 accept",
            "tcp dport 22 ip6 saddr @admins_v6 accept",
        ]
    );
    let elsewhere: Vec<_> = input.iter().filter(|line| ["goto ", "jump ", "vmap "].iter().any(|word| line.contains(word))).collect();
    assert!(elsewhere.len() == 4 && elsewhere.iter().all(|line| line.ends_with(" goto vault")), "{elsewhere:?}");
    let ports: BTreeSet<_> = lines.iter().filter_map(|line| line.strip_prefix("tcp dport ")).collect();
    assert!(ports.iter().all(|rule| rule.starts_with("22 ") || rule.starts_with(&format!("{vault} "))), "{ports:?}");
    assert!(!ports.iter().any(|rule| rule.starts_with(&operations.to_string())), "health and metrics stay inside");
    for rule in ports {
        assert!(rule.contains(" saddr @"), "from anywhere: {rule}");
        assert_eq!(rule.starts_with(&vault.to_string()), rule.ends_with(" ct state new goto vault"), "not limited: {rule}");
        let set = rule.split('@').nth(1).and_then(|rest| rest.split(' ').next()).expect("a set");
        assert!(lines.contains(&format!("set {set} {{").as_str()), "no set {set}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("limit rate over") && line.ends_with(" drop")).count(), 2, "IPv4 and IPv6");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}

/// What is wrong with a line, were it part of a deployment: a secret, or a place for one.
fn gives_away(line: &str) -> bool {
    let lower = line.to_lowercase();
    let is_comment = line.trim_start().starts_with(['#', '/']);
    let word = ["password", "passwd", "passphrase", "secret_key", "api_key", "stringdata", "kind: secret"];
    let long = |part: &str| {
        part.len() >= 24 && part.bytes().any(|byte| byte.is_ascii_digit()) && part.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let is_blob =
        |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric() && !"+/".contains(c)).any(|part| long(part) && !part.starts_with('/'));
    lower.contains("-----begin") || (!is_comment && (word.iter().any(|word| lower.contains(word)) || is_blob(line)))
}

#[test]
fn nothing_has_a_secret_or_a_default_password() {
    let files = files(&deploy());
    assert!(files.len() >= 10, "{files:?}");
    let found: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let content = fs::read_to_string(file).expect("text");
            let bad = content.lines().enumerate().filter(|(_, line)| gives_away(line));
            bad.map(|(number, line)| format!("{}:{}: {line}", file.display(), number + 1)).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    for line in [
        "    -----BEGIN PRIVATE KEY-----",
        "Environment=STRONGROOM_PASSPHRASE=correct",
        "kind: Secret",
        "  tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t01",
        "password = \"\"",
    ] {
        assert!(gives_away(line), "{line}");
    }
}
