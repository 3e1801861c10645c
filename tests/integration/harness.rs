//! A real server process in a folder of its own, with certificates for everybody, and clients to talk to it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strongroom::client::{BindingScope, Client, ClientError, ClientOptions, Credentials, NewBinding, NewNamespace};
use strongroom::config::Config;
use strongroom::model::{Clock, Environment, SecretBytes, SpiffeId, SystemClock, Text};
use strongroom::pki::{Authority, Issued, LeafProfile, private_folder, write_private};
use strongroom::seal::{Argon2Parameters, Passphrase};
use strongroom::server::{Init, init};
use strongroom::vault::{FirstSlot, NewRecipient};
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");
/// What opens every vault of these tests.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
/// Whom the backups of these vaults are encrypted to, and what decrypts them; nobody else uses it.
pub(crate) const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
pub(crate) const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
/// The domain of programs.
pub(crate) const WORKLOADS: &str = "apps.test";
/// The domain of people.
pub(crate) const OPERATORS: &str = "people.test";
const LIFETIME: Duration = Duration::from_secs(3600);

/// The SPIFFE ID of a program.
pub(crate) fn workload(name: &str) -> SpiffeId {
    format!("spiffe://{WORKLOADS}/{name}").parse().expect("a test's own name")
}

/// The SPIFFE ID of a person.
pub(crate) fn person(name: &str) -> SpiffeId {
    format!("spiffe://{OPERATORS}/{name}").parse().expect("a test's own name")
}

/// The server's SPIFFE ID.
pub(crate) fn server_id() -> SpiffeId {
    workload("strongroom")
}

/// A folder with certificates and configuration, and a vault once it was made.
pub(crate) struct Site {
    folder: TempDir,
    issuing: Mutex<()>,
    workloads: Authority,
    operators: Authority,
    /// Of the store and of the log.
    folders: [&'static str; 2],
}

/// A server process. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Site {
    /// Certificates and a configuration without a vault. `extra` is put at the configuration's end, e.g. `[limits]`.
    pub(crate) fn new(extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let create =
            |name: &str, domain: &str| Authority::create(name, domain.parse().expect("valid"), SystemClock.now()).expect("an authority");
        let site = Self {
            folder,
            issuing: Mutex::new(()),
            workloads: create("workloads", WORKLOADS),
            operators: create("operators", OPERATORS),
            folders: ["data", "audit"],
        };
        private_folder(&site.path("pki")).expect("made");
        for (name, authority) in [("workload-ca", &site.workloads), ("operator-ca", &site.operators)] {
            write_private(&site.pki(name, "pem"), authority.certificate_pem()).expect("written");
        }
        let leaf = site.new_server_leaf();
        site.write_leaf("server", &leaf);
        write_private(&site.pki("server", "pub"), &leaf.public_key_pem()).expect("written");
        site.write_config("", extra);
        site
    }

    /// The same with a vault, administered by `ana` and `ben`, whose custodian is `cleo`.
    pub(crate) fn with_vault(extra: &str) -> Self {
        let site = Self::new(extra);
        site.make_vault(extra);
        site
    }

    /// A site whose store and log lie in `data-disk/store` and `audit-disk/log`, where a test may mount what it likes before
    /// it calls [`Site::make_vault`].
    pub(crate) fn with_disks(extra: &str) -> Self {
        let mut site = Self::new(extra);
        site.folders = ["data-disk/store", "audit-disk/log"];
        for folder in ["data-disk", "audit-disk"] {
            private_folder(&site.path(folder)).expect("made");
        }
        site.write_config("", extra);
        site
    }

    /// Makes the vault, administered by `ana` and `ben`.
    pub(crate) fn make_vault(&self, extra: &str) {
        let recipient = format!("cleo={RECIPIENT}");
        let (ana, ben) = (person("ana"), person("ben"));
        let pins = self.init(&["--administrator", ana.as_str(), "--administrator", ben.as_str(), "--recovery-recipient", &recipient]);
        self.write_config(&pins, extra);
    }

    /// The same with the least cost of its passphrase that there is, for tests that open it over and over.
    pub(crate) async fn make_cheap_vault(&self, extra: &str) {
        let config = Config::load(&self.path("strongroom.toml")).expect("the site's own");
        let passphrase = Passphrase::parse(&SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).expect("long enough");
        let slot = FirstSlot::Passphrase(passphrase, Argon2Parameters::for_throwaway());
        let administrators = vec![person("ana"), person("ben")];
        let name = Text::parse("cleo").expect("valid");
        let recovery_recipients = vec![NewRecipient { name, recipient: RECIPIENT.parse().expect("valid") }];
        let new = Init { slot, administrators, single_administrator: false, hsm: None, recovery_recipients };
        let pins = init(&config, new, |_| Ok(())).await.expect("made");
        let key = hex::encode(pins.audit_public_key);
        self.write_config(&format!("vault_id = \"{}\"\naudit_public_key = \"{key}\"\n", pins.vault_id), extra);
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pki(&self, name: &str, ending: &str) -> PathBuf {
        self.path("pki").join(format!("{name}.{ending}"))
    }

    /// Writes the configuration; `pins` are the lines that `init` printed.
    pub(crate) fn write_config(&self, pins: &str, extra: &str) {
        self.write_config_for(pins, &[person("cleo")], extra);
    }

    /// The same with these custodians.
    pub(crate) fn write_config_for(&self, pins: &str, custodians: &[SpiffeId], extra: &str) {
        let custodians: Vec<_> = custodians.iter().map(|id| format!("\"{id}\"")).collect();
        let trust = |domain: &str, class: &str| {
            format!("[[tls.trust]]\ndomain = \"{domain}\"\nclass = \"{class}\"\nroots = [\"pki/{class}-ca.pem\"]\nrevocation = \"none\"\n")
        };
        let extra = with_room(extra);
        let text = format!(
            "listen = \"127.0.0.1:0\"\nnode = \"test\"\n{pins}data_folder = \"{}\"\naudit_folder = \"{}\"\ncustodians = [{}]\n\
             [tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\n{}{}{extra}",
            self.folders[0],
            self.folders[1],
            custodians.join(", "),
            trust(WORKLOADS, "workload"),
            trust(OPERATORS, "operator"),
        );
        write_private(&self.path("strongroom.toml"), &text).expect("written");
    }

    /// The public key of the server's first certificate, in PEM.
    pub(crate) fn server_public_key(&self) -> String {
        std::fs::read_to_string(self.pki("server", "pub")).expect("written")
    }

    /// A new certificate for the server, with a new key.
    pub(crate) fn new_server_leaf(&self) -> Issued {
        let own = [Ipv4Addr::LOCALHOST.into()];
        self.workloads.issue_server(&server_id(), &["localhost"], &own, SystemClock.now(), LIFETIME).expect("issued")
    }

    fn write_leaf(&self, name: &str, leaf: &Issued) {
        write_private(&self.pki(name, "key"), &leaf.key_pem()).expect("written");
        write_private(&self.pki(name, "pem"), leaf.certificate_pem()).expect("written");
    }

    /// Runs `init` and returns what it printed.
    pub(crate) fn init(&self, arguments: &[&str]) -> String {
        self.try_init(self.command("init"), arguments).unwrap_or_else(|errors| panic!("init: {errors}"))
    }

    /// The same with a command that the test has changed, or what it wrote to standard error.
    pub(crate) fn try_init(&self, mut command: Command, arguments: &[&str]) -> Result<String, String> {
        write_private(&self.path("passphrase"), PASSPHRASE).expect("written");
        let output = command.arg("--passphrase-file").arg(self.path("passphrase")).args(arguments).output().expect("it ran");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let printed = String::from_utf8(output.stdout).expect("text");
        let pins = printed.lines().filter(|line| line.contains(" = ")).map(|line| format!("{line}\n")).collect();
        Ok(pins)
    }

    /// The program with a subcommand on this site's configuration.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg(subcommand).arg("--config").arg(self.path("strongroom.toml")).stdin(Stdio::null());
        command
    }

    /// Starts the server, sealed, and waits until it says where it serves.
    pub(crate) fn start(&self) -> Running {
        Running::of(self.command("server")).unwrap_or_else(|log| panic!("the server did not start: {log}"))
    }

    /// Starts it and opens the vault.
    pub(crate) async fn start_open(&self) -> Running {
        let running = self.start();
        self.unseal(&running).await;
        running
    }

    /// Opens the vault as its custodian.
    pub(crate) async fn unseal(&self, running: &Running) {
        let cleo = self.client(running, &person("cleo")).await;
        cleo.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await.expect("unsealed");
    }

    /// Files of a certificate for anybody, issued when they are first asked for.
    pub(crate) fn credentials(&self, id: &SpiffeId) -> Credentials {
        let is_operator = id.trust_domain().as_str() == OPERATORS;
        let name = id.as_str().rsplit('/').next().expect("an id has a path");
        let authority = if is_operator { &self.operators } else { &self.workloads };
        let _alone = self.issuing.lock().expect("no test panics in here");
        if !self.pki(name, "pem").exists() {
            self.write_leaf(name, &authority.issue_client(id, SystemClock.now(), LIFETIME).expect("issued"));
        }
        Credentials { ca: self.pki("workload-ca", "pem"), certificate: self.pki(name, "pem"), key: self.pki(name, "key") }
    }

    /// The authority of programs, for its revocation lists.
    pub(crate) fn workloads(&self) -> &Authority {
        &self.workloads
    }

    /// Files of a leaf that says what the test wants, signed by the authority of people or of programs.
    pub(crate) fn forge(&self, name: &str, by_operators: bool, profile: &LeafProfile) -> Credentials {
        let authority = if by_operators { &self.operators } else { &self.workloads };
        self.write_leaf(name, &authority.issue(profile).expect("issued"));
        Credentials { ca: self.pki("workload-ca", "pem"), certificate: self.pki(name, "pem"), key: self.pki(name, "key") }
    }

    /// A client for anybody. It never tries again by itself, so that a test sees what happens.
    pub(crate) async fn client(&self, running: &Running, id: &SpiffeId) -> Client {
        self.try_client(running, &self.credentials(id)).await.expect("connected")
    }

    /// The same with these files, of a server that may be gone or refuse them.
    pub(crate) async fn try_client(&self, running: &Running, credentials: &Credentials) -> Result<Client, ClientError> {
        let options = ClientOptions::new(running.address.to_string(), server_id(), credentials.clone()).retries(0);
        Client::connect(options).await
    }

    /// A profile for anybody, as the command line takes it.
    pub(crate) fn profile(&self, running: &Running, id: &SpiffeId) -> PathBuf {
        let Credentials { ca, certificate, key } = self.credentials(id);
        let text = format!(
            "address = \"{}\"\nserver_id = \"{}\"\nca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            running.address,
            server_id(),
            ca.display(),
            certificate.display(),
            key.display()
        );
        let path = certificate.with_extension("toml");
        write_private(&path, &text).expect("written");
        path
    }

    /// Makes a namespace as `ana`.
    pub(crate) async fn make_namespace(&self, running: &Running, name: &str, environment: Environment) {
        let ana = self.client(running, &person("ana")).await;
        ana.create_namespace(NewNamespace::new(name.parse().expect("valid"), environment)).await.expect("made");
    }

    /// Gives a role as `ana`, in a namespace or on the vault.
    pub(crate) async fn bind(&self, running: &Running, role: &str, principal: &SpiffeId, namespace: Option<&str>) {
        let ana = self.client(running, &person("ana")).await;
        let scope = namespace.map_or(BindingScope::Vault, |name| BindingScope::Namespace(name.parse().expect("valid")));
        let new = NewBinding {
            role: role.parse().expect("valid"),
            principal: principal.clone(),
            scope,
            start_time: None,
            end_time: None,
            reason: "a test".to_owned(),
            request_id: String::new(),
        };
        ana.create_binding(new).await.expect("bound");
    }

    /// Everything that lies in a folder of the site, file by file.
    pub(crate) fn files(&self, folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        gather(&self.path(folder), &mut files);
        files
    }
}

/// Tests call as fast as they can, and many servers run side by side: so a rate and a port of the tests' own, unless the
/// test's own lines say something else.
fn with_room(extra: &str) -> String {
    let fast = "calls_per_principal_per_s = 1000000\n";
    let with_rate = match extra.split_once("[limits]\n") {
        Some(_) if extra.contains("calls_per_principal_per_s") => extra.to_owned(),
        Some((before, after)) => format!("{before}[limits]\n{fast}{after}"),
        None => format!("[limits]\n{fast}{extra}"),
    };
    if extra.contains("[operations]") { with_rate } else { format!("{with_rate}\n[operations]\nlisten = \"127.0.0.1:0\"\n") }
}

fn gather(folder: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            gather(&entry.path(), into);
        } else if kind.is_file() {
            into.push((entry.path(), std::fs::read(entry.path()).expect("read")));
        }
    }
}

impl Running {
    /// Starts the command and waits for `serving on ADDRESS` on its standard error; otherwise what stood there, and how it ended.
    pub(crate) fn of(mut command: Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut log = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(address) = line.split("serving on ").nth(1) {
                let address = address.split([',', ' ']).next().and_then(|text| text.parse().ok()).expect("an address");
                let said = Arc::new(Mutex::new(log));
                let saying = said.clone();
                // The rest goes on being read, or the server would block on a full pipe.
                let reader = std::thread::spawn(move || {
                    lines.map_while(Result::ok).for_each(|line| saying.lock().expect("no reader panics").push_str(&(line + "\n")));
                });
                return Ok(Self { child, address, log: said, reader: Some(reader) });
            }
            log.push_str(&line);
            log.push('\n');
        }
        let status = child.wait().expect("waited");
        Err(format!("{log}{status}"))
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells health and metrics.
    pub(crate) fn operations(&self) -> SocketAddr {
        let log = self.log.lock().expect("no reader panics").clone();
        let address = log.split("health and metrics on http://").nth(1).and_then(|rest| rest.lines().next());
        address.expect("it said so").parse().expect("an address")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What of it lies in memory (proc(5)).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process in memory");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1_024
    }

    /// Waits until its log says so.
    pub(crate) fn says(&self, text: &str) {
        let log = || self.log.lock().expect("no reader panics").clone();
        let begin = std::time::Instant::now();
        while !log().contains(text) {
            assert!(begin.elapsed() < std::time::Duration::from_secs(10), "it does not say {text:?}: {}", log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// How often its log says so.
    pub(crate) fn times_said(&self, text: &str) -> usize {
        self.log.lock().expect("no reader panics").matches(text).count()
    }

    /// SIGHUP: certificates and revocation lists are to be read again.
    pub(crate) fn hang_up(&self) {
        rustix::process::kill_process(self.raw_pid(), rustix::process::Signal::HUP).expect("signalled");
    }

    /// SIGKILL, now.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
    }

    /// SIGTERM, and whether it ended cleanly.
    pub(crate) fn stop(mut self) -> bool {
        self.terminate()
    }

    /// The same; it must have ended cleanly. Returns all that it wrote to its log.
    pub(crate) fn stop_and_read(self) -> String {
        let (status, log) = self.end();
        assert!(status.success(), "it ends cleanly: {log}");
        log
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("waited").is_some()
    }

    /// SIGTERM, if it still runs; how it ended, and all that it wrote to its log. One that goes on for a minute hangs.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        // It may have ended by itself just now.
        let _ = rustix::process::kill_process(self.raw_pid(), rustix::process::Signal::TERM);
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "it hangs: {}", self.log.lock().expect("no reader panics"));
            std::thread::sleep(Duration::from_millis(5));
        };
        self.reader.take().map(std::thread::JoinHandle::join).expect("read once").expect("no reader panics");
        (status, std::mem::take(&mut *self.log.lock().expect("no reader panics")))
    }

    fn raw_pid(&self) -> rustix::process::Pid {
        i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid")
    }

    fn terminate(&mut self) -> bool {
        rustix::process::kill_process(self.raw_pid(), rustix::process::Signal::TERM).expect("signalled");
        self.child.wait().expect("waited").success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
