//! `strongroom pki`, as people use it: the commands of `docs/tls.md`, a server that lives on what they make, and bad moments.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer, PrivateKeyDer};
use serde_json::Value;
use strongroom::client::{Client, ClientError, ClientOptions, Credentials};
use strongroom::model::SecretBytes;
use strongroom::pki::write_private;
use tempfile::TempDir;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::harness::{PASSPHRASE, PROGRAM, Running};
use crate::required::leave_out;

const PAGE: &str = include_str!("../../docs/tls.md");
const CONFIGURATION: &str = include_str!("../../deploy/strongroom.example.toml");
const BACKEND: &str = "spiffe://shop.example/backend";

/// A folder with a PKI in `pki`.
struct Desk(TempDir);

impl Desk {
    fn empty() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn new() -> Self {
        let desk = Self::empty();
        desk.ok("init --workload-domain shop.example --operator-domain people.example");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("pki").args(words.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("it ran")
    }

    fn ok(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{words} --output json"))).expect("JSON")
    }

    /// Exit code and message.
    fn fails(&self, words: &str) -> (i32, String) {
        let output = self.run(words);
        assert!(output.stdout.is_empty(), "{words}: an error leaves standard output empty");
        (output.status.code().expect("an exit code"), String::from_utf8(output.stderr).expect("text"))
    }

    /// A shell in the folder that finds the program.
    fn shell(&self, script: &str) -> Output {
        let program = Path::new(PROGRAM).parent().expect("a folder");
        let path =
            std::env::join_paths([program.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").expect("set"))));
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script]).current_dir(self.0.path()).env("PATH", path.expect("paths"));
        command.output().expect("sh runs")
    }

    fn number(&self, class: &str) -> u64 {
        let der = CertificateRevocationListDer::from_pem_file(self.path(&format!("pki/{class}/crl.pem"))).expect("a whole list");
        let (_, list) = CertificateRevocationList::from_der(&der).expect("a list");
        list.crl_number().expect("numbered").to_string().parse().expect("a number")
    }

    /// Every file and folder below with its mode.
    fn modes(&self) -> BTreeMap<PathBuf, u32> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path("pki"), self.path("issued")];
        while let Some(folder) = folders.pop() {
            found.insert(folder.clone(), mode(&folder));
            for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    found.insert(entry.clone(), mode(&entry));
                }
            }
        }
        found
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn has_openssl() -> bool {
    Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success())
}

/// The blocks of shell commands in a part of the page.
fn blocks(section: &str) -> Vec<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("\n{section}\n")).expect("the page has the section");
    let end = rest.find("\n### ").into_iter().chain(rest.find("\n## ")).min().unwrap_or(rest.len());
    rest[..end].split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("split yields one at least")).collect()
}

/// Runs a part of the page, but for what needs a program that is not there.
fn run(desk: &Desk, section: &str, skip_openssl: bool) -> String {
    let found = blocks(section);
    assert!(!found.is_empty(), "{section}");
    let wanted: Vec<_> = found.into_iter().filter(|block| !(skip_openssl && block.contains("openssl"))).collect();
    let output = desk.shell(&wanted.join("\n"));
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{section}: {told}");
    told
}

/// A server on the example configuration, in the desk's folder.
fn serve(desk: &Desk) -> Running {
    let mut command = Command::new(PROGRAM);
    command.args(["server", "--config"]).arg(desk.path("strongroom.toml")).stdin(Stdio::null());
    Running::of(command).unwrap_or_else(|log| panic!("the server did not start: {log}"))
}

async fn client(desk: &Desk, running: &Running, name: &str) -> Result<Client, ClientError> {
    let file = |ending: &str| desk.path(&format!("issued/{name}.{ending}"));
    let credentials = Credentials { ca: desk.path("pki/workloads/ca.pem"), certificate: file("pem"), key: file("key") };
    let server = "spiffe://shop.example/strongroom".parse().expect("valid");
    Client::connect(ClientOptions::new(running.address().to_string(), server, credentials).retries(0)).await
}

/// Whether the server answers, be it with a no.
async fn is_let_in(desk: &Desk, running: &Running, name: &str) -> bool {
    let answer = match client(desk, running, name).await {
        Ok(client) => client.status().await.map(drop),
        Err(error) => Err(error),
    };
    !matches!(answer, Err(ClientError::Tls { .. } | ClientError::Unreachable { .. }))
}

/// The page's whole way: made, issued, given to a server that follows the example configuration, renewed, revoked.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_leads_to_a_server_that_knows_whom_to_let_in() {
    let desk = Desk::empty();
    let no_openssl = !has_openssl();
    if no_openssl {
        leave_out("what of docs/tls.md needs openssl", "openssl");
    }
    run(&desk, "### Make it", no_openssl);
    run(&desk, "### Issue", no_openssl);
    let text = CONFIGURATION
        .replace("\"127.0.0.1:7443\"", "\"127.0.0.1:0\"")
        .replace("\"/var/lib/strongroom\"", "\"data\"")
        .replace("\"/var/log/strongroom\"", "\"audit\"");
    write_private(&desk.path("strongroom.toml"), &text).expect("written");
    write_private(&desk.path("passphrase"), PASSPHRASE).expect("written");
    let made = desk.shell(
        "strongroom init --config strongroom.toml --passphrase-file passphrase \
         --administrator spiffe://people.example/alice --administrator spiffe://people.example/bob",
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    write_private(&desk.path("strongroom.toml"), &(String::from_utf8(made.stdout).expect("text") + &text)).expect("written");

    let running = serve(&desk);
    let alice = client(&desk, &running, "alice").await.expect("let in");
    alice.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await.expect("a custodian unseals");
    for name in ["backend", "bob", "carol", "erin"] {
        assert!(is_let_in(&desk, &running, name).await, "{name}");
    }
    assert!(!is_let_in(&desk, &running, "server").await, "a server's certificate is no client's");

    let before = fs::read(desk.path("issued/backend.key")).expect("read");
    let told = run(&desk, "### Renew", no_openssl);
    assert!(told.contains(BACKEND) && told.contains("valid"), "{told}");
    assert_ne!(fs::read(desk.path("issued/backend.key")).expect("read"), before);
    assert!(is_let_in(&desk, &running, "backend").await, "the renewed one");

    run(&desk, "### Revoke", no_openssl);
    // The page does not say it: the server notices by itself, and this says when.
    running.hang_up();
    running.says("were read again and are in force");
    for (name, let_in) in [("backend", false), ("erin", false), ("alice", true), ("bob", true)] {
        assert_eq!(is_let_in(&desk, &running, name).await, let_in, "{name}");
    }
    let numbers = [desk.number("workloads"), desk.number("operators")];
    assert_eq!(numbers, [2, 2]);
    run(&desk, "### Deliver fresh lists", no_openssl);
    assert_eq!([desk.number("workloads"), desk.number("operators")], [3, 3]);
    let told = run(&desk, "### Keep it", no_openssl);
    assert!(no_openssl || told.contains("issued/alice.pem: OK") && told.contains("URI:spiffe://people.example/alice"), "{told}");
}

/// Another program reads what was made, and comes to the same word on what was taken back.
#[test]
fn openssl_agrees() {
    if !has_openssl() {
        return leave_out("openssl_agrees", "openssl");
    }
    let desk = Desk::new();
    desk.ok("issue server spiffe://shop.example/strongroom --dns vault.internal --ip 10.0.0.5 --name server --out issued");
    desk.ok(&format!("issue workload {BACKEND} --out issued"));
    let verify = |name: &str, purpose: &str| {
        let output = desk.shell(&format!(
            "openssl verify -x509_strict -purpose {purpose} -CAfile pki/workloads/ca.pem -crl_check -CRLfile pki/workloads/crl.pem issued/{name}.pem"
        ));
        (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    assert!(verify("backend", "sslclient").0, "{}", verify("backend", "sslclient").1);
    assert!(verify("server", "sslserver").0, "{}", verify("server", "sslserver").1);
    assert!(!verify("backend", "sslserver").0 && !verify("server", "sslclient").0);
    let hosts = desk.shell("openssl x509 -in issued/server.pem -noout -checkhost vault.internal -checkip 10.0.0.5");
    let hosts = String::from_utf8_lossy(&hosts.stdout).into_owned();
    assert!(hosts.contains("does match certificate") && !hosts.contains("does NOT"), "{hosts}");

    desk.ok("revoke issued/backend.pem --reason key-compromise");
    let (fine, told) = verify("backend", "sslclient");
    assert!(!fine && told.contains("certificate revoked"), "{told}");
    assert!(verify("server", "sslserver").0);
    let list = desk.shell("openssl crl -in pki/workloads/crl.pem -CAfile pki/workloads/ca.pem -noout -text");
    let list = format!("{}{}", String::from_utf8_lossy(&list.stdout), String::from_utf8_lossy(&list.stderr));
    assert!(list.contains("verify OK") && list.contains("Key Compromise"), "{list}");
}

/// The key is made elsewhere; what the request asks for beside it counts for nothing.
#[test]
fn a_request_gets_what_the_command_says() {
    if !has_openssl() {
        return leave_out("a_request_gets_what_the_command_says", "openssl");
    }
    let desk = Desk::new();
    let made = desk.shell(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=root -keyout a.key -out a.csr \
         -addext subjectAltName=URI:spiffe://people.example/admin -addext basicConstraints=critical,CA:TRUE \
         -addext keyUsage=keyCertSign -addext nsComment=hello",
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let issued = desk.json("issue operator spiffe://people.example/dave --csr a.csr");
    assert_eq!((issued["items"][0]["certificate"].as_str(), issued["items"][0]["key"].as_str()), (Some("./dave.pem"), None));
    let shown = desk.shell("openssl x509 -in dave.pem -noout -text");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("URI:spiffe://people.example/dave") && shown.contains("CA:FALSE") && shown.contains("Digital Signature"),
        "{shown}"
    );
    for wish in ["admin", "root", "CA:TRUE", "Certificate Sign", "hello"] {
        assert!(!shown.contains(wish), "{wish}: {shown}");
    }
    let same = desk.shell("openssl x509 -in dave.pem -noout -pubkey > one && openssl pkey -in a.key -pubout > two && cmp one two");
    assert!(same.status.success());
    // The same request, whole, but its signature: the last byte of it is another.
    let mut der = CertificateSigningRequestDer::from_pem_file(desk.path("a.csr")).expect("a request").to_vec();
    *der.last_mut().expect("not empty") ^= 1;
    fs::write(desk.path("b.der"), der).expect("written");
    let armour =
        "(echo '-----BEGIN CERTIFICATE REQUEST-----' && openssl base64 -in b.der && echo '-----END CERTIFICATE REQUEST-----') > b.csr";
    assert!(desk.shell(armour).status.success());
    let (code, told) = desk.fails("issue operator spiffe://people.example/eve --csr b.csr");
    assert!(code == 7 && told.contains("not signed with the key that it holds"), "{code}: {told}");
}

// immune: row-52
#[test]
fn nothing_is_readable_by_others_whatever_the_umask() {
    let desk = Desk::empty();
    let script = format!(
        "umask 000\n\
         strongroom pki init --workload-domain shop.example --operator-domain people.example\n\
         strongroom pki issue workload {BACKEND} spiffe://shop.example/other --out issued\n\
         strongroom pki renew issued/backend.pem --revoke-old\n\
         strongroom pki revoke issued/other.pem\n\
         strongroom pki crl\n\
         touch witness"
    );
    let output = desk.shell(&script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(mode(&desk.path("witness")), 0o666, "the umask is not 000");
    let modes = desk.modes();
    assert_eq!(modes.len(), 17, "{modes:#?}");
    for (path, mode) in modes {
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[test]
fn scripts_are_told_what_happened() {
    let desk = Desk::empty();
    assert_eq!(desk.fails("list").0, 3);
    let made = desk.json("init --workload-domain shop.example --operator-domain people.example");
    assert_eq!((made["items"][0]["class"].as_str(), made["items"][1]["domain"].as_str()), (Some("workload"), Some("people.example")));
    assert_eq!(desk.fails("init --workload-domain shop.example --operator-domain people.example").0, 5);
    let issued = desk.json(&format!("issue workload {BACKEND} --out issued --lifetime 12h"));
    let serial = issued["items"][0]["serial"].as_str().expect("text").to_owned();
    assert_eq!(issued["items"][0]["key"].as_str(), Some("issued/backend.key"));
    let (code, told) = desk.fails(&format!("issue workload {BACKEND} --out issued"));
    assert!(code == 5 && told.contains("issued/backend.pem") && told.contains("renew"), "{told}");
    assert_eq!(desk.fails("issue workload spiffe://people.example/alice --out issued").0, 7);
    assert_eq!(desk.fails("issue operator spiffe://people.example/alice --lifetime 32d").0, 7);
    assert_eq!(desk.fails("issue workload spiffe://shop.example/a/x spiffe://shop.example/b/x").0, 2);
    assert_eq!(desk.fails("revoke --serial 00").0, 3);
    assert_eq!(desk.fails("crl --days 91").0, 7);

    let renewed = desk.json("renew issued/backend.pem --revoke-old");
    assert_eq!((renewed["before"]["serial"].as_str(), renewed["before"]["state"].as_str()), (Some(serial.as_str()), Some("revoked")));
    assert_eq!((renewed["id"].as_str(), renewed["lists"][0]["number"].as_u64()), (Some(BACKEND), Some(2)));
    let revoked = desk.json("revoke issued/backend.pem --reason cessation-of-operation");
    assert_eq!(
        (revoked["items"][0]["revoke_reason"].as_str(), revoked["lists"][0]["number"].as_u64()),
        (Some("cessation-of-operation"), Some(3))
    );
    let (code, told) = desk.fails("renew issued/backend.pem --output json");
    let error: Value = serde_json::from_str(&told).expect("an error in JSON");
    assert_eq!((code, error["error"]["code"].as_str()), (5, Some("PKI")));
    let all = desk.json("list");
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2));
    assert_eq!((all["authorities"][0]["list"]["number"].as_u64(), all["warnings"].as_array().map(Vec::len)), (Some(3), Some(0)));
    let table = desk.ok("list");
    assert!(table.starts_with("SERIAL") && table.contains(&serial) && table.contains("revoked"), "{table}");
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    let desk = Desk::new();
    let mut running = Vec::new();
    for number in 0..8 {
        running.push(desk.command(&format!("issue workload spiffe://shop.example/w{number} --out issued --output json")));
        running.push(desk.command("crl"));
    }
    let children: Vec<_> =
        running.iter_mut().map(|command| command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts")).collect();
    let mut serials: Vec<String> = Vec::new();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let said: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        serials.extend(said.and_then(|said| said["items"][0]["serial"].as_str().map(str::to_owned)));
    }
    let listed = desk.json("list");
    let mut known: Vec<_> = listed["items"].as_array().expect("a list").iter().filter_map(|leaf| leaf["serial"].as_str()).collect();
    known.sort_unstable();
    serials.sort_unstable();
    assert_eq!((serials.len(), known), (8, serials.iter().map(String::as_str).collect()));
    assert_eq!([desk.number("workloads"), desk.number("operators")], [9, 9]);
}

/// SIGKILL at random instants: what lies there is whole, numbers never fall, and the next command works.
#[test]
fn a_kill_at_any_moment_leaves_whole_files() {
    let desk = Desk::new();
    desk.ok(&format!("issue workload {BACKEND} --out issued"));
    let mut highest = desk.number("workloads");
    let mut killed = 0;
    for cycle in 0..60 {
        let words = match cycle % 4 {
            0 => format!("issue workload spiffe://shop.example/k{cycle} --out issued"),
            1 => "renew issued/backend.pem --revoke-old".to_owned(),
            2 => "renew issued/backend.pem".to_owned(),
            _ => "crl".to_owned(),
        };
        let mut child = desk.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_micros(random_us(12_000)));
        let _ = child.kill();
        killed += u32::from(!child.wait().expect("it ends").success());
        highest = check_whole(&desk, highest);
    }
    assert!(killed > 5, "only {killed} were killed in time");
    desk.ok("list");
    // Whatever was cut off, one more mends it.
    desk.ok("renew issued/backend.pem");
    let der = CertificateDer::from_pem_file(desk.path("issued/backend.pem")).expect("a certificate");
    let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
    let key = rcgen::KeyPair::from_pem(&fs::read_to_string(desk.path("issued/backend.key")).expect("read")).expect("a key");
    assert_eq!(&*certificate.public_key().subject_public_key.data, rcgen::PublicKeyData::der_bytes(&key));
    desk.ok("crl");
    assert!(desk.number("workloads") > highest);
}

/// Every file is whole, but for those that were being written beside their place. Returns the list's number.
fn check_whole(desk: &Desk, lowest: u64) -> u64 {
    for path in desk.modes().into_keys().filter(|path| path.is_file()) {
        let is_named = |name: &str| path.file_name().is_some_and(|own| own == name);
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("key") => assert!(PrivateKeyDer::from_pem_file(&path).is_ok(), "{}", path.display()),
            Some("pem") if is_named("crl.pem") => assert!(CertificateRevocationListDer::from_pem_file(&path).is_ok()),
            Some("pem") => assert!(CertificateDer::from_pem_file(&path).is_ok(), "{}", path.display()),
            Some("json") => {
                let books: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("whole");
                assert!(books["list"]["number"].as_u64() >= Some(1));
            }
            _ => assert!(is_named("lock") || path.extension().is_some_and(|ending| ending == "new"), "{}", path.display()),
        }
    }
    let number = desk.number("workloads");
    let books: Value = serde_json::from_slice(&fs::read(desk.path("pki/workloads/register.json")).expect("read")).expect("whole");
    assert!(number >= lowest && books["list"]["number"].as_u64() >= Some(number), "list {number} after {lowest}");
    number
}

fn random_us(most: u64) -> u64 {
    use strongroom::crypto::{Random, SystemRandom};
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).expect("randomness");
    u64::from_be_bytes(bytes) % most
}
