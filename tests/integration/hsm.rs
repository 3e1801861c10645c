//! A vault that an HSM opens, and HSMs that are away, refuse, lie, hang or crash. The HSM is SoftHSM2; the one that lies passes on what
//! SoftHSM2 answers, spoiled: `lying_hsm.c`, which is compiled with `cc`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use strongroom::audit::{Entry, Event, Filter, Order, Reader};
use strongroom::client::{Client, ProposedChange, SealState, SlotKind, SlotSecret};
use strongroom::model::SecretBytes;
use strongroom::pki::{private_folder, write_private};

use crate::harness::{PASSPHRASE, Running, Site, person};
use crate::required::leave_out;

const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];
const LIAR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/lying_hsm.c");
const PAGE: &str = include_str!("../../docs/operations/hsm.md");
/// Nobody else has it.
const PIN: &str = "canary-pin-4711";
const OPENED: &str = "the vault has opened itself with its HSM";
const SHUT: &str = "the vault stays sealed";
/// After which a server that could not open itself tries again.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// `CKM_AES_KEY_GEN` and `CKM_AES_GCM`.
const WANTED: [&str; 2] = ["1080", "1087"];

/// A site whose vault SoftHSM2 opens.
struct Place {
    site: Site,
    module: PathBuf,
    real: PathBuf,
}

/// The code block of the page after this mark.
fn block(mark: &str) -> String {
    let after = PAGE.split_once(&format!("<!-- {mark} -->\n```")).expect("the mark").1;
    let block = after.split_once('\n').expect("a block").1.split("```").next().expect("its end");
    block.to_owned()
}

impl Place {
    /// A token, made as the page says, and no vault yet; none where there is no SoftHSM2.
    fn without_vault(test: &str) -> Option<Self> {
        let real = MODULES.iter().map(PathBuf::from).find(|module| module.exists());
        let Some(real) = real.filter(|_| Command::new("softhsm2-util").arg("--version").output().is_ok()) else {
            leave_out(test, "softhsm");
            return None;
        };
        let site = Site::new("");
        let place = Self { module: real.clone(), site, real };
        private_folder(&place.site.path("tokens")).expect("made");
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            place.site.path("tokens").display()
        );
        write_private(&place.site.path("softhsm2.conf"), &settings).expect("written");
        place.write_pin(PIN);
        place.make_token();
        Some(place)
    }

    /// The same, whose module is the one that lies, honest at first.
    fn with_liar(test: &str) -> Option<Self> {
        let mut place = Self::without_vault(test)?;
        let library = place.site.path("lying_hsm.so");
        let compiled = Command::new("cc").args(["-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-o"]).arg(&library).arg(LIAR).status();
        match compiled {
            Ok(status) => assert!(status.success(), "the lying module does not compile"),
            Err(_) => {
                leave_out(test, "cc");
                return None;
            }
        }
        place.module = library;
        private_folder(&place.site.path("liar")).expect("made");
        place.lie("honest");
        Some(place)
    }

    fn make_token(&self) {
        let block = block("token");
        let line = block.lines().next().expect("a command");
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("a program"));
        // At a terminal it asks for them.
        command.args(words).args(["--so-pin", "officer-1", "--pin", PIN]);
        let output = self.in_its_world(&mut command).output().expect("it ran");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn in_its_world<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("SOFTHSM2_CONF", self.site.path("softhsm2.conf"))
            .env("LYING_HSM_FOLDER", self.site.path("liar"))
            .env("LYING_HSM_REAL", &self.real)
    }

    fn write_pin(&self, pin: &str) {
        write_private(&self.site.path("hsm-pin"), &format!("{pin}\n")).expect("written");
    }

    /// The page's section, for this place's module.
    fn section(&self, timeout_s: u64) -> String {
        let section = block("section").replace("/usr/lib/softhsm/libsofthsm2.so", &self.module.display().to_string());
        section.replace("timeout_s = 10", &format!("timeout_s = {timeout_s}"))
    }

    fn try_init(&self) -> Result<String, String> {
        self.site.write_config("", &self.section(10));
        let mut command = self.site.command("init");
        self.in_its_world(&mut command);
        let (ana, ben) = (person("ana"), person("ben"));
        self.site.try_init(command, &["--hsm", "main", "--administrator", ana.as_str(), "--administrator", ben.as_str()])
    }

    /// Makes the vault, with a slot for the HSM, which is not asked for longer than this; and returns its pins.
    fn init(&self, timeout_s: u64) -> String {
        let pins = self.try_init().unwrap_or_else(|errors| panic!("{errors}"));
        self.site.write_config(&pins, &self.section(timeout_s));
        pins
    }

    fn start(&self) -> Running {
        let mut command = self.site.command("server");
        self.in_its_world(&mut command);
        Running::of(command).unwrap_or_else(|log| panic!("the server did not start: {log}"))
    }

    async fn cleo(&self, running: &Running) -> Client {
        self.site.client(running, &person("cleo")).await
    }

    async fn is_open(&self, running: &Running) -> bool {
        self.cleo(running).await.status().await.expect("status").seal_state == SealState::Open
    }

    /// What of the audit log tells of vaults that open themselves.
    fn on_record(&self) -> Vec<Entry> {
        let log = Reader::open(&self.site.path("audit")).expect("opened");
        let filter = Filter { method: Some("automatic_unseal".to_owned()), ..Filter::default() };
        log.entries(filter, Order::OldestFirst).map(|entry| entry.expect("read")).collect()
    }

    fn hide_tokens(&self) {
        fs::rename(self.site.path("tokens"), self.site.path("away")).expect("moved");
    }

    fn bring_tokens_back(&self) {
        // SoftHSM2 may have made an empty one meanwhile.
        let _ = fs::remove_dir(self.site.path("tokens"));
        fs::rename(self.site.path("away"), self.site.path("tokens")).expect("moved");
    }

    fn lie(&self, mode: &str) {
        write_private(&self.site.path("liar/mode"), mode).expect("written");
    }

    /// The lines that the lying module has left.
    fn left(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.site.path("liar").join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The process that the module was loaded into last.
    fn worker(&self) -> PathBuf {
        Path::new("/proc").join(self.left("pid").last().expect("it was loaded"))
    }

    /// Every spelling of what must stand nowhere: PIN and slot secrets.
    fn canaries(&self) -> BTreeSet<Vec<u8>> {
        let secrets: BTreeSet<_> = self.left("secrets").into_iter().collect();
        assert!(secrets.len() >= 2 && secrets.contains(&hex::encode(PIN)), "a PIN and a secret: {}", secrets.len());
        let spellings = |secret: &String| {
            let raw = hex::decode(secret).expect("hex");
            [raw, secret.clone().into_bytes(), secret.to_uppercase().into_bytes()]
        };
        secrets.iter().flat_map(spellings).collect()
    }

    /// Looks for them in the log of the server, the audit log and the store.
    fn shows_no_canary(&self, log: &str, what: &str) {
        let mut texts = vec![(PathBuf::from("the log"), log.as_bytes().to_vec())];
        texts.extend(self.site.files("audit").into_iter().chain(self.site.files("data")));
        for canary in self.canaries() {
            for (place, text) in &texts {
                assert!(!text.windows(canary.len()).any(|part| part == canary), "{what}: a canary in {}", place.display());
            }
        }
    }
}

/// Waits until it is so.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn passphrase() -> SecretBytes {
    SecretBytes::new(PASSPHRASE.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_opens_itself_with_its_hsm_and_a_person_opens_it_without() {
    let Some(place) = Place::without_vault("a vault that SoftHSM2 opens") else { return };
    place.init(10);

    let running = place.start();
    running.says(OPENED);
    assert!(place.is_open(&running).await);
    running.kill();
    let entries = place.on_record();
    assert_eq!(entries.iter().map(|entry| entry.event).collect::<Vec<_>>(), [Event::Intent, Event::Outcome]);
    let outcome = &entries[1];
    assert_eq!((outcome.outcome.as_deref(), outcome.principal.as_deref(), outcome.intent), (Some("ok"), None, Some(entries[0].sequence)));
    assert_eq!((outcome.detail["hsm"].as_str(), outcome.detail["slot"].len()), ("main", 32));

    place.hide_tokens();
    let running = place.start();
    running.says(SHUT);
    let cleo = place.cleo(&running).await;
    let status = cleo.status().await.expect("status");
    let waits = status.automatic_unseal.expect("it says why it does not open");
    assert!(status.seal_state == SealState::Sealed && waits.problem.contains("HSM main") && waits.since.is_some(), "{waits:?}");
    cleo.unseal(passphrase()).await.expect("a person opens it");
    assert_eq!(cleo.status().await.expect("status").automatic_unseal, None, "it does not wait any more");
    assert!(running.stop());
    let last = place.on_record().pop().expect("it is on record");
    assert_eq!((last.event, last.outcome.as_deref(), last.detail["hsm"].as_str()), (Event::System, Some("failed"), "main"));

    let running = place.start();
    running.says(SHUT);
    tokio::time::sleep(FIRST_PAUSE + Duration::from_secs(1)).await;
    place.bring_tokens_back();
    running.says(OPENED);
    assert!(place.is_open(&running).await);
    assert_eq!(running.times_said(SHUT), 1, "once, however often it was asked");
    assert!(running.stop());
}

/// Added by people who can read no secret, while the vault serves; and it goes along with a new root key, though nobody opens it.
#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_joins_a_vault_that_serves_and_follows_it_to_another_root_key() {
    let Some(place) = Place::without_vault("an_hsm_joins_a_vault") else { return };
    place.site.make_vault(&place.section(10));
    let running = place.start();
    place.site.unseal(&running).await;
    place.site.bind(&running, "key-admin", &person("kim"), None).await;
    place.site.bind(&running, "approver", &person("bea"), None).await;
    let client = async |name: &str| place.site.client(&running, &person(name)).await;
    let (kim, bea, cleo) = (client("kim").await, client("bea").await, client("cleo").await);
    let ready = async |change: ProposedChange| {
        let id = kim.propose(&change, "a test", None).await.expect("proposed").proposal_id;
        bea.approve_proposal(id, "").await.expect("approved");
        let presented = cleo.present_secret(id, SlotSecret::Passphrase(passphrase())).await.expect("presented");
        assert!(presented.missing.is_empty(), "the HSM needs nobody: {:?}", presented.missing);
        id
    };
    let unknown = ready(ProposedChange::AddTokenSlot("other".parse().expect("valid"))).await;
    let refused = kim.carry_out_proposal(unknown, None, "").await.expect_err("there is none").to_string();
    assert!(refused.contains("names no HSM"), "{refused}");
    let added = ready(ProposedChange::AddTokenSlot("main".parse().expect("valid"))).await;
    let slot = kim.carry_out_proposal(added, None, "").await.expect("carried out").slot.expect("one");
    assert_eq!(slot.kind, SlotKind::Token { token_label: "strongroom".to_owned(), key_label: "strongroom-root".to_owned() });

    // While the HSM is away, there is no new root key that would leave its slot behind.
    let rotation = ready(ProposedChange::ReplaceRootKey { dropped: Vec::new() }).await;
    place.hide_tokens();
    assert!(kim.carry_out_proposal(rotation, None, "").await.expect_err("its slot").to_string().contains(&slot.slot_id.to_string()));
    place.bring_tokens_back();
    kim.carry_out_proposal(rotation, None, "").await.expect("carried out");
    running.kill();

    // Both lead to the new root key.
    let running = place.start();
    running.says(OPENED);
    let cleo = place.cleo(&running).await;
    cleo.seal("").await.expect("sealed");
    cleo.unseal(passphrase()).await.expect("opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_seals_a_vault_that_would_open_itself_has_the_last_word() {
    let Some(place) = Place::without_vault("a vault that is sealed on purpose") else { return };
    place.init(10);
    place.hide_tokens();
    let running = place.start();
    running.says(SHUT);
    let cleo = place.cleo(&running).await;
    assert!(cleo.seal("while it waits for its HSM").await.is_err(), "it is sealed already");
    place.bring_tokens_back();
    tokio::time::sleep(2 * FIRST_PAUSE).await;
    assert!(!place.is_open(&running).await, "the next try would have been after 2 s");

    cleo.unseal(passphrase()).await.expect("a person opens it");
    cleo.seal("while it is open").await.expect("sealed");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!place.is_open(&running).await);
    assert!(running.stop());

    let running = place.start();
    running.says(OPENED);
    assert!(running.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_pin_is_tried_once_a_start() {
    let Some(place) = Place::with_liar("a wrong PIN") else { return };
    place.init(10);
    let before = place.left("logins").len();
    place.write_pin("wrong-pin-0815");
    let running = place.start();
    running.says("the HSM refuses the PIN");
    running.says("it is not asked again before the next start");
    tokio::time::sleep(2 * FIRST_PAUSE).await;
    assert_eq!(place.left("logins").len(), before + 1, "the next try would have been after 2 s");
    assert!(!place.is_open(&running).await);
    place.cleo(&running).await.unseal(passphrase()).await.expect("a person opens it");
    let log = running.stop_and_read();
    assert!(!log.contains("wrong-pin-0815"), "{log}");
    assert_eq!(place.on_record().pop().expect("on record").detail["why"], "wrong_pin");

    place.write_pin(PIN);
    let running = place.start();
    running.says(OPENED);
    assert!(running.stop());

    fs::set_permissions(place.site.path("hsm-pin"), fs::Permissions::from_mode(0o644)).expect("our own");
    let running = place.start();
    running.says("the PIN file cannot be used");
    assert!(running.stop());
}

#[test]
fn a_vault_is_made_with_a_good_hsm_or_not_at_all() {
    let Some(place) = Place::with_liar("an HSM that is no good when the vault is made") else { return };
    let refused = |why: &str| {
        let errors = place.try_init().expect_err(why);
        assert!(errors.contains("HSM main") && errors.contains(why) && !errors.contains(PIN), "{errors}");
        assert!(!place.site.path("data").exists() && !place.site.path("audit").exists(), "nothing was made: {why}");
    };
    place.write_pin("wrong-pin-0815");
    refused("refuses the PIN");
    place.write_pin(PIN);
    place.hide_tokens();
    refused("");
    place.bring_tokens_back();
    for mode in ["key_may_leave", "key_is_plain", "key_is_short"] {
        place.lie(mode);
        refused("not extractable");
    }
    place.lie("honest");
    let pins = place.try_init().unwrap_or_else(|errors| panic!("{errors}"));
    assert!(pins.contains("vault_id"));
    let mut unknown = place.site.command("init");
    place.in_its_world(&mut unknown);
    let arguments = ["--hsm", "other", "--administrator", "spiffe://people.test/ana", "--single-administrator"];
    assert!(place.site.try_init(unknown, &arguments).expect_err("no such HSM").contains("--hsm names no [[hsm]]"));
}

#[test]
fn an_hsm_that_does_not_give_back_what_it_was_given_gets_no_slot() {
    let Some(place) = Place::with_liar("an HSM that lies when the slot is made") else { return };
    for (mode, why) in [("encrypts_wrongly", "CKR_"), ("encrypts_nothing", "CKR_"), ("wrong_bytes", "other bytes")] {
        place.lie(mode);
        let errors = place.try_init().expect_err(mode);
        assert!(errors.contains(why) && !errors.contains(PIN), "{mode}: {errors}");
        for folder in ["data", "audit"] {
            let _ = fs::remove_dir_all(place.site.path(folder));
        }
    }
}

/// What the module does, what the log says of it, and why, in the audit log.
const LIES: [(&str, &str, &str); 20] = [
    ("wrong_bytes", "other bytes than it was given", "wrong_answer"),
    ("too_short", "other bytes than it was given", "wrong_answer"),
    ("nothing", "other bytes than it was given", "wrong_answer"),
    ("too_long", "other bytes than it was given", "wrong_answer"),
    ("says_more_than_there_is", "other bytes than it was given", "wrong_answer"),
    ("far_too_long", "crashed", "crashed"),
    ("general_error", "CKR_GENERAL_ERROR", "hsm_failed"),
    ("device_removed", "CKR_DEVICE_REMOVED", "hsm_failed"),
    ("secret_as_a_number", "an error of another kind", "hsm_failed"),
    ("babbles", "CKR_GENERAL_ERROR", "hsm_failed"),
    ("never_starts", "did not answer in time", "timed_out"),
    ("never_logs_in", "did not answer in time", "timed_out"),
    ("never", "did not answer in time", "timed_out"),
    ("aborts", "crashed", "crashed"),
    ("crashes", "crashed", "crashed"),
    ("leaves", "crashed", "crashed"),
    ("forges", "other bytes than it was given", "wrong_answer"),
    ("forges_a_text", "other bytes than it was given", "wrong_answer"),
    ("key_may_leave", "not extractable", "loose_key"),
    ("key_is_plain", "not extractable", "loose_key"),
];

// immune: row-39
#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_hsm_answers_the_vault_stays_shut_and_no_secret_is_told() {
    let Some(place) = Place::with_liar("an HSM that lies") else { return };
    place.init(2);
    for (mode, said, why) in LIES {
        eprintln!("{mode}");
        place.lie(mode);
        let running = place.start();
        running.says(SHUT);
        running.says(said);
        assert!(!place.is_open(&running).await, "{mode}");
        place.cleo(&running).await.unseal(passphrase()).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        let begin = Instant::now();
        let log = running.stop_and_read();
        assert!(begin.elapsed() < Duration::from_secs(10), "{mode}: it ends in time");
        assert_eq!(place.on_record().pop().expect("on record").detail["why"], why, "{mode}");
        place.shows_no_canary(&log, mode);
        let worker = place.worker();
        wait("its process is gone", || !worker.exists());
    }
    // What does not harm: a module that chats, and one that does not end as it should.
    for mode in ["honest", "babbles_and_answers", "never_ends", "aborts_at_the_end"] {
        eprintln!("{mode}");
        place.lie(mode);
        let running = place.start();
        running.says(OPENED);
        let log = running.stop_and_read();
        place.shows_no_canary(&log, mode);
        let worker = place.worker();
        wait("its process is gone", || !worker.exists());
    }
    let mechanisms: BTreeSet<_> = place.left("mechanisms").into_iter().collect();
    assert_eq!(mechanisms, WANTED.map(str::to_owned).into(), "no other mechanism was ever asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_that_hangs_holds_up_nobody_and_does_not_outlive_the_server() {
    let Some(place) = Place::with_liar("an HSM that hangs") else { return };
    place.init(120);
    place.lie("never");
    let hanging = || {
        let before = place.left("pid").len();
        let running = place.start();
        wait("it is asked", || place.left("pid").len() > before);
        (place.worker(), running)
    };

    let (worker, running) = hanging();
    let secret = |file: &str| fs::read(worker.join(file)).expect("it runs");
    for text in [secret("cmdline"), secret("environ")] {
        assert!(!text.windows(PIN.len()).any(|part| part == PIN.as_bytes()), "the PIN goes through a pipe");
    }
    let begin = Instant::now();
    place.cleo(&running).await.unseal(passphrase()).await.expect("nobody waits for the HSM");
    assert!(begin.elapsed() < Duration::from_secs(10));
    wait("nobody needs its answer any more", || !worker.exists());
    assert!(running.stop());

    let (worker, running) = hanging();
    let begin = Instant::now();
    let log = running.stop_and_read();
    assert!(begin.elapsed() < Duration::from_secs(10), "{log}");
    wait("it ends with the server", || !worker.exists());

    let (worker, running) = hanging();
    running.kill();
    wait("it ends with a server that was killed", || !worker.exists());
}
