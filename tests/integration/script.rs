//! A run through the life of a vault, each change on a thing of its own, so that it can be told afterwards for each of them
//! whether it happened, did not, or happened by half.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use strongroom::client::{
    BindingFilter, Client, ClientError, KeyState, MetadataUpdate, NewRole, NewSecret, Page, Reveal, SecretUpdate, StateChange,
};
use strongroom::model::{Environment, RoleName, SecretBytes, SecretName};
use tonic::Code;

use crate::harness::{PASSPHRASE, Running, Site, person, workload};
use crate::stage::{EVERYTHING, bytes, named, new_binding, opaque};

const PROVIDER: &str = "wepay";
const SUBJECT: &str = "merchant-1";

/// What the script changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Create,
    Update,
    Label,
    Disable,
    Destroy,
    Restore,
    Purge,
    Rotate,
    Role,
    Binding,
}

/// How the server answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    /// It happened or it did not.
    Refused(String),
}

/// What came of a run, as its callers know it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) answers: BTreeMap<Step, Answer>,
    /// The reasons of reveals that returned a value.
    pub(crate) revealed: Vec<String>,
    pub(crate) refusals: usize,
}

/// Who acts.
pub(crate) struct Cast {
    pub(crate) owner: Client,
    ana: Client,
    pub(crate) cleo: Client,
}

impl Cast {
    /// All of them connected, or why not.
    pub(crate) async fn connect(site: &Site, running: &Running) -> Result<Self, ClientError> {
        let connect = async |id| site.try_client(running, &site.credentials(&id)).await;
        Ok(Self { owner: connect(workload("owner")).await?, ana: connect(person("ana")).await?, cleo: connect(person("cleo")).await? })
    }

    pub(crate) async fn unseal(&self) -> Result<(), ClientError> {
        self.cleo.unseal(SecretBytes::new(PASSPHRASE.as_bytes().to_vec())).await.map(drop)
    }

    /// Reads the one secret that never changes.
    pub(crate) async fn reveal(&self, reason: &str) -> Result<(), ClientError> {
        let revealed = self.owner.reveal_secret(Reveal::latest(&named("shop/read")).reason(reason)).await?;
        assert_eq!(revealed.value.expose(), b"value", "what was revealed is what was stored");
        Ok(())
    }
}

/// Makes what the script needs, in an open vault.
pub(crate) async fn prepare(site: &Site, running: &Running) {
    let cast = Cast::connect(site, running).await.expect("connected");
    site.make_namespace(running, "shop", Environment::Stage).await;
    cast.ana.create_role(new_role("owner", EVERYTHING)).await.expect("made");
    site.bind(running, "owner", &workload("owner"), Some("shop")).await;
    cast.owner.create_secret(opaque(&named("shop/read"), "value")).await.expect("stored");
    for step in Step::ALL.into_iter().filter(|step| step.has_secret() && *step != Step::Create) {
        cast.owner.create_secret(opaque(&step.secret(), "value")).await.expect("stored");
        if matches!(step, Step::Restore | Step::Purge) {
            cast.owner.destroy_secret(StateChange::of(&step.secret())).await.expect("destroyed");
        }
    }
}

/// Goes through all of it, as far as the server lets it.
pub(crate) async fn run(cast: &Cast) -> Known {
    let mut known = Known::default();
    known.note(cast.unseal().await);
    known.reveal(cast, "first").await;
    for step in Step::ALL {
        let taken = step.take(cast).await;
        let answer = known.note(taken).map_or(Answer::Done, Answer::Refused);
        known.answers.insert(step, answer);
        if step == Step::Purge {
            known.reveal(cast, "second").await;
        }
    }
    known
}

/// Once sealed and open again.
pub(crate) async fn reopen(cast: &Cast, known: &mut Known) {
    known.note(cast.cleo.seal("a test").await);
    known.note(cast.unseal().await);
    known.reveal(cast, "third").await;
}

impl Known {
    pub(crate) async fn reveal(&mut self, cast: &Cast, reason: &str) {
        let revealed = cast.reveal(reason).await;
        if self.note(revealed).is_none() {
            self.revealed.push(reason.to_owned());
        }
    }

    /// Why it was refused, if it was. What is refused for want of a disk says so, and nothing waits for ever.
    fn note(&mut self, answer: Result<(), ClientError>) -> Option<String> {
        let error = answer.err()?;
        self.refusals += 1;
        let is_fair = match &error {
            ClientError::Unreachable { .. } => true,
            ClientError::Refused(refusal) => matches!(refusal.code, Code::Unavailable | Code::Unknown),
            _ => false,
        };
        assert!(is_fair, "an answer that no fault of a disk explains: {error:?}");
        Some(error.to_string())
    }
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Create,
        Self::Update,
        Self::Label,
        Self::Disable,
        Self::Destroy,
        Self::Restore,
        Self::Purge,
        Self::Rotate,
        Self::Role,
        Self::Binding,
    ];

    fn has_secret(self) -> bool {
        !matches!(self, Self::Rotate | Self::Role | Self::Binding)
    }

    fn secret(self) -> SecretName {
        named(format!("shop/{self:?}"))
    }

    fn method(self) -> &'static str {
        match self {
            Self::Create => "CreateSecret",
            Self::Update => "UpdateSecret",
            Self::Label => "UpdateSecretMetadata",
            Self::Disable => "DisableSecret",
            Self::Destroy => "DestroySecret",
            Self::Restore => "RestoreSecret",
            Self::Purge => "PurgeSecret",
            Self::Rotate => "RotateKey",
            Self::Role => "CreateRole",
            Self::Binding => "CreateBinding",
        }
    }

    async fn take(self, cast: &Cast) -> Result<(), ClientError> {
        let (name, change) = (self.secret(), StateChange::of(&self.secret()));
        let owner = &cast.owner;
        match self {
            Self::Create => owner.create_secret(NewSecret::access_token(&name, bytes("new"), PROVIDER, SUBJECT)).await.map(drop),
            Self::Update => {
                let revision = owner.describe_secret(&name).await?.revision;
                owner.update_secret(SecretUpdate::new(&name, bytes("new"), revision)).await.map(drop)
            }
            Self::Label => {
                let revision = owner.describe_secret(&name).await?.revision;
                owner.update_secret_metadata(MetadataUpdate::new(&name, revision).set_label("shelf", "top")).await.map(drop)
            }
            Self::Disable => owner.disable_secret(change).await.map(drop),
            Self::Destroy => owner.destroy_secret(change).await.map(drop),
            Self::Restore => owner.restore_secret(change).await.map(drop),
            Self::Purge => owner.purge_secret(change).await.map(drop),
            Self::Rotate => owner.rotate_key(&"shop".parse().expect("valid"), 1, "a test").await.map(drop),
            Self::Role => cast.ana.create_role(new_role("made", "verify:**")).await.map(drop),
            Self::Binding => cast.ana.create_binding(new_binding("reader", &workload("bound"), Some("shop"))).await.map(drop),
        }
    }

    /// What can be seen of it: one text before, another after, and none of a change by half.
    fn before_and_after(self) -> [&'static str; 2] {
        match self {
            Self::Create => ["absent, found 0", "new, version 1, found 1"],
            Self::Update => ["value, version 1 of 1", "new, version 2 of 2"],
            Self::Label => ["", "shelf=top"],
            Self::Disable => ["Enabled", "Disabled"],
            Self::Destroy => ["Enabled", "Destroyed"],
            Self::Restore => ["Destroyed", "Enabled"],
            Self::Purge => ["Destroyed", "absent"],
            Self::Rotate => ["active 1 of 1", "active 2 of 2"],
            Self::Role => ["absent", "made"],
            Self::Binding => ["0 bindings", "1 bindings"],
        }
    }

    async fn look(self, cast: &Cast) -> Result<String, ClientError> {
        let (name, owner) = (self.secret(), &cast.owner);
        Ok(match self {
            Self::Create => {
                let found = owner.find_secrets(&"shop".parse().expect("valid"), PROVIDER, SUBJECT).await?.len();
                let value =
                    reveal(owner, &name).await?.map_or("absent".to_owned(), |(value, version)| format!("{value}, version {version}"));
                format!("{value}, found {found}")
            }
            Self::Update => {
                let (value, version) = reveal(owner, &name).await?.unwrap_or_default();
                let versions = owner.list_secret_versions(&name, Page::default()).await?.items.len();
                format!("{value}, version {version} of {versions}")
            }
            Self::Label => {
                let labels = owner.describe_secret(&name).await?.labels;
                labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
            }
            Self::Disable | Self::Destroy | Self::Restore | Self::Purge => match owner.describe_secret(&name).await {
                Ok(secret) => format!("{:?}", secret.state),
                Err(error) if is_absent(&error) => "absent".to_owned(),
                Err(error) => return Err(error),
            },
            Self::Rotate => {
                let keys = owner.list_keys(Some(&"shop".parse().expect("valid")), Page::default()).await?.items;
                let active = keys.iter().find(|key| key.state == KeyState::Active).map_or(0, |key| key.version);
                format!("active {active} of {}", keys.len())
            }
            Self::Role => match cast.ana.describe_role(&role_name("made")).await {
                Ok(role) => role.name.to_string(),
                Err(error) if is_absent(&error) => "absent".to_owned(),
                Err(error) => return Err(error),
            },
            Self::Binding => {
                let filter = BindingFilter { principal: Some(workload("bound")), ..BindingFilter::default() };
                format!("{} bindings", cast.ana.list_bindings(&filter, Page::default()).await?.items.len())
            }
        })
    }
}

/// Looks at everything, in a vault that works: what was acknowledged is there, what was refused is there or is not. Says
/// which steps happened.
pub(crate) async fn check(cast: &Cast, known: &Known) -> BTreeSet<Step> {
    cast.reveal("afterwards").await.expect("what was there before is there");
    let mut happened = BTreeSet::new();
    for step in Step::ALL {
        let seen = step.look(cast).await.unwrap_or_else(|error| panic!("{step:?} cannot be looked at: {error:?}"));
        let [before, after] = step.before_and_after();
        match known.answers.get(&step) {
            Some(Answer::Done) => assert_eq!(seen, after, "{step:?} was acknowledged"),
            Some(Answer::Refused(why)) => assert!(seen == before || seen == after, "{step:?} happened by half: {seen} ({why})"),
            None => assert_eq!(seen, before, "{step:?} was never asked for"),
        }
        if seen == after {
            happened.insert(step);
        }
    }
    happened
}

/// Reads the log as it lies on disk once the server has stopped: no gap, time that never goes back, an entry for each value
/// that left, and for each change an outcome that is true.
pub(crate) fn check_record(site: &Site, known: &Known, happened: &BTreeSet<Step>) {
    let entries = entries(site);
    for reason in &known.revealed {
        let is_its = |entry: &&Value| entry["reason"] == **reason && entry["event"] == "read" && entry["outcome"] == "ok";
        assert!(entries.iter().any(|entry| is_its(&entry)), "a value left for {reason} and is not on record");
    }
    let outcomes: BTreeMap<u64, &Value> =
        entries.iter().filter(|entry| entry["event"] == "outcome").filter_map(|entry| Some((entry["intent"].as_u64()?, entry))).collect();
    for step in Step::ALL {
        // The last one is the script's: those before it were made ready with.
        let intents = entries.iter().filter(|entry| entry["event"] == "intent" && entry["method"] == step.method());
        let about = |entry: &&Value| !step.has_secret() || entry["resource"] == step.secret().to_string();
        let own = |entry: &&Value| match step {
            Step::Role => !entry.to_string().contains("owner"),
            Step::Binding => !entry.to_string().contains("owner"),
            _ => true,
        };
        let mut ok = 0;
        for intent in intents.filter(about).filter(own) {
            let sequence = intent["sequence"].as_u64().expect("a number");
            let outcome = outcomes.get(&sequence).unwrap_or_else(|| panic!("{step:?} has no outcome: {intent}"));
            ok += usize::from(outcome["outcome"] == "ok");
        }
        assert_eq!(ok, usize::from(happened.contains(&step)), "{step:?}: the log and the vault differ");
    }
}

/// The entries of a log that no server holds, read as `docs/audit.md` says: without a gap, and in the order of their times.
pub(crate) fn entries(site: &Site) -> Vec<Value> {
    let mut files = site.files("audit");
    files.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let first = |path: &Path| path.to_str().and_then(|path| path.rsplit_once("audit-")?.1.strip_suffix(".jsonl")?.parse::<u64>().ok());
    let firsts: Vec<_> = files.iter().map(|(path, _)| first(path).expect("a segment's name")).collect();
    let mut entries = Vec::new();
    for (at, (path, content)) in files.iter().enumerate() {
        let written: Vec<u8> = content.iter().copied().take_while(|byte| *byte != 0).collect();
        let lines = String::from_utf8(written).expect("text");
        let of_file = lines.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let parsed = of_file.map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        // What lies beyond the next file's first sequence was left by a write that failed.
        let next = firsts.get(at + 1).copied().unwrap_or(u64::MAX);
        entries.extend(parsed.filter(|entry| entry["sequence"].as_u64().is_some_and(|sequence| sequence < next)));
    }
    for (number, entry) in (1..).zip(&entries) {
        assert_eq!(entry["sequence"], number, "a gap before {entry}");
    }
    let time = |entry: &Value| entry["time"].as_str().expect("a time").to_owned();
    assert!(entries.is_sorted_by_key(time), "time went back");
    entries
}

async fn reveal(client: &Client, name: &SecretName) -> Result<Option<(String, u64)>, ClientError> {
    match client.reveal_secret(Reveal::latest(name)).await {
        Ok(revealed) => Ok(Some((String::from_utf8_lossy(revealed.value.expose()).into_owned(), revealed.version))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &ClientError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.code == Code::NotFound)
}

fn role_name(name: &str) -> RoleName {
    name.parse().expect("valid")
}

/// A role with one grant.
pub(crate) fn new_role(name: &str, grant: &str) -> NewRole {
    let grants = vec![grant.parse().expect("a grant")];
    NewRole { name: role_name(name), description: String::new(), grants, request_id: String::new() }
}
