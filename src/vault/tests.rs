//! The vault over a store in memory, through a real gate and a real log: what whoever owns the database can do to it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::record::{KeyringRow, Namespace as NamespaceRecord, PolicyHead, Role, SecretMeta};
use super::*;
use crate::access::{CurrentPolicy, Grant};
use crate::api::Method;
use crate::audit::{AuditLog, AuditOptions};
use crate::crypto::{Random, RandomFailed, SystemRandom};
use crate::gate::{Below, Call, Gate, Permit, Refusal, Resource, ScopeNamed, Unreleased, WholeVault};
use crate::identity::Peer;
use crate::model::{
    Action, ActionSet, Class, Clock, Environment, PathPattern, Principal, SecretBytes, SecretName, SpiffeId, SystemClock, Text, Timestamp,
    VaultId,
};
use crate::seal::{Argon2Parameters, Passphrase};
use crate::storage::{Batch, Key, MemoryStore, PageSize, Revision, Row, Store};

const PASSPHRASE: &[u8] = b"correct horse battery staple";

/// A generator that can be broken.
struct Breakable {
    inner: SystemRandom,
    is_broken: AtomicBool,
}

impl Random for Breakable {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomFailed> {
        if self.is_broken.load(Ordering::SeqCst) { Err(RandomFailed) } else { self.inner.fill(out) }
    }
}

struct Fixture {
    store: Arc<dyn Store>,
    random: Arc<Breakable>,
    vault: Arc<Vault>,
    gate: Arc<Gate>,
    pins: Pins,
    _folder: TempDir,
}

fn ana() -> SpiffeId {
    "spiffe://people.test/ana".parse().expect("valid")
}

fn owner() -> SpiffeId {
    "spiffe://apps.test/owner".parse().expect("valid")
}

fn peer(id: &SpiffeId) -> Peer {
    Peer {
        principal: Arc::new(Principal { id: id.clone(), class: Class::Workload }),
        serial: "01".into(),
        not_after: Timestamp::MAX,
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
        tls_group: "X25519MLKEM768",
        post_quantum: true,
    }
}

fn name(text: &str) -> SecretName {
    text.parse().expect("a test's own name")
}

fn value(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

fn new_secret(text: &str, subject: Option<&str>) -> NewSecret {
    let token = subject.map(|subject| TokenDetails {
        provider: Text::parse("wepay").expect("valid"),
        subject: Text::parse(subject).expect("valid"),
        scopes: Vec::new(),
        token_type: None,
    });
    NewSecret { payload: value(text), token, labels: Default::default(), expires: None }
}

impl Fixture {
    /// A vault that is open, with the namespace `shop`, in which `owner` may do everything with secrets.
    async fn open() -> Self {
        let fixture = Self::sealed(MemoryStore::new()).await;
        fixture.unseal().await.expect("opened");
        let new =
            NewNamespace { name: "shop".parse().expect("valid"), environment: Environment::Stage, limits: NamespaceLimits::default() };
        fixture
            .run(ana(), Method::CreateNamespace, WholeVault::NAMESPACES, |vault, permit| async move {
                vault.open()?.create_namespace(permit, new).await
            })
            .await
            .expect("a namespace");
        let all = [Action::Describe, Action::Reveal, Action::Create, Action::Update, Action::Destroy];
        let grants = vec![Grant { actions: ActionSet::of(&all), pattern: PathPattern::everything() }];
        let role = RoleDraft { name: "owner".parse().expect("valid"), description: None, grants };
        fixture
            .run(ana(), Method::CreateRole, WholeVault::ROLES, |vault, permit| async move { vault.open()?.create_role(permit, role).await })
            .await
            .expect("a role");
        let draft = BindingDraft { role: "owner".parse().expect("valid"), principal: owner(), start: None, end: None, reason: None };
        let here = ScopeNamed(Some("shop".parse().expect("valid")));
        fixture
            .run(ana(), Method::CreateBinding, here, |vault, permit| async move { vault.open()?.create_binding(permit, draft).await })
            .await
            .expect("bound");
        fixture
    }

    async fn sealed(store: MemoryStore) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        let random = Arc::new(Breakable { inner: SystemRandom::new(), is_broken: AtomicBool::new(false) });
        let passphrase = Passphrase::parse(&SecretBytes::new(PASSPHRASE.to_vec())).expect("long enough");
        let as_random: Arc<dyn Random> = random.clone();
        let administrators = FirstAdministrators(vec![ana()]);
        let pins = Vault::init(&store, &as_random, SystemClock.now(), &passphrase, Argon2Parameters::for_throwaway(), &administrators)
            .await
            .expect("made");
        Self::over(store, random, pins, History::default()).await.expect("it holds this vault")
    }

    async fn over(store: Arc<dyn Store>, random: Arc<Breakable>, pins: Pins, history: History) -> Result<Self, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (audit, _) = AuditLog::open(&folder.path().join("audit"), AuditOptions::new("test"), clock.clone()).expect("a log");
        let policy = Arc::new(CurrentPolicy::default());
        let vault = Vault::new(store.clone(), random.clone(), clock.clone(), policy.clone(), pins, history).await?;
        let gate = Gate::new(policy, vec![ana()], audit, clock);
        Ok(Self { store, random, vault, gate, pins, _folder: folder })
    }

    /// The same store under another start of the server.
    async fn restarted(&self, history: History) -> Self {
        Self::over(self.store.clone(), self.random.clone(), self.pins, history).await.expect("it holds this vault")
    }

    async fn run<R, T, F, O>(&self, who: SpiffeId, method: Method, resource: R, operation: O) -> Result<T, Error>
    where
        R: Resource,
        T: Send + 'static,
        F: Future<Output = Result<Unreleased<T>, Error>> + Send + 'static,
        O: FnOnce(Arc<Vault>, Permit<R::Granted>) -> F + Send + 'static,
    {
        let vault = self.vault.clone();
        let answer = self.gate.run(Call::new(method, peer(&who)), resource, move |permit| operation(vault, permit)).await;
        answer.map_err(|refusal| match refusal {
            Refusal::Failed(error) => error,
            other => panic!("{method:?} was refused: {other}"),
        })
    }

    async fn unseal(&self) -> Result<VaultId, Error> {
        let passphrase = SecretBytes::new(PASSPHRASE.to_vec());
        self.run(ana(), Method::Unseal, WholeVault::VAULT, |vault, permit| async move { vault.unseal(permit, passphrase).await }).await
    }

    async fn create(&self, at: &str, text: &str, subject: Option<&str>) -> Result<Stored, Error> {
        let new = new_secret(text, subject);
        self.run(owner(), Method::CreateSecret, name(at), |vault, permit| async move { vault.open()?.create(permit, new).await }).await
    }

    async fn reveal(&self, at: &str) -> Result<String, Error> {
        let revealed =
            self.run(owner(), Method::RevealSecret, name(at), |vault, permit| async move { vault.open()?.reveal(permit, 0).await }).await?;
        Ok(String::from_utf8(revealed.payload.into_exposed()).expect("a test's own text"))
    }

    async fn find(&self, subject: &str) -> Result<Vec<SecretInfo>, Error> {
        let (provider, subject) = (Text::parse("wepay").expect("valid"), Text::parse(subject).expect("valid"));
        let below = Below { namespace: "shop".parse().expect("valid"), prefix: Vec::new() };
        self.run(owner(), Method::FindSecrets, below, |vault, permit| async move {
            vault.open()?.find_tokens(permit, &provider, &subject).await
        })
        .await
    }

    /// The rows of a class, as whoever owns the database sees them.
    async fn rows(&self, class: &str) -> Vec<(Key, Row)> {
        self.store.scan(&Key::new(class.as_bytes().to_vec()).expect("short"), None, PageSize::MAX).await.expect("scanned").rows
    }

    async fn put(&self, key: &Key, bytes: Vec<u8>) {
        self.store.commit(Batch::new().put(key.clone(), bytes)).await.expect("put");
    }
}

fn each_flipped_bit(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

// immune: row-38
#[tokio::test]
async fn every_bit_of_a_secrets_row_is_authenticated() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "value", None).await.expect("stored");
    let (key, row) = fixture.rows("h").await.remove(0);
    for flipped in each_flipped_bit(&row.value) {
        fixture.put(&key, flipped).await;
        assert!(fixture.reveal("shop/a").await.is_err());
    }
    fixture.put(&key, row.value.to_vec()).await;
    assert_eq!(fixture.reveal("shop/a").await.expect("as it was"), "value");
}

// immune: row-38
#[tokio::test]
async fn every_bit_of_the_vaults_own_rows_is_authenticated() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "value", Some("1")).await.expect("stored");
    let open = fixture.vault.open().expect("open");
    for class in ["k", "n", "p"] {
        for (key, row) in fixture.rows(class).await {
            let opens = |bytes: &[u8]| match class {
                "k" => open.rows.open::<KeyringRow>(&key, bytes).is_ok(),
                "n" => open.rows.open::<NamespaceRecord>(&key, bytes).is_ok(),
                _ if key.as_bytes() == b"p" => open.rows.open::<PolicyHead>(&key, bytes).is_ok(),
                _ => open.rows.open::<Role>(&key, bytes).is_ok() || open.rows.open::<record::Binding>(&key, bytes).is_ok(),
            };
            assert!(opens(&row.value), "{class}");
            assert!(!each_flipped_bit(&row.value).any(|flipped| opens(&flipped)), "{class}");
        }
    }
    let (key, lookup) = fixture.rows("i").await.remove(0);
    for flipped in each_flipped_bit(&lookup.value) {
        fixture.put(&key, flipped).await;
        assert!(fixture.find("1").await.is_err());
    }
}

// immune: row-38
#[tokio::test]
async fn rows_that_changed_places_are_refused() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "of a", None).await.expect("stored");
    fixture.create("shop/b", "of b", None).await.expect("stored");
    let rows = fixture.rows("h").await;
    fixture.put(&rows[0].0, rows[1].1.value.to_vec()).await;
    fixture.put(&rows[1].0, rows[0].1.value.to_vec()).await;
    for at in ["shop/a", "shop/b"] {
        assert!(matches!(fixture.reveal(at).await, Err(Error::Integrity(_))), "{at}");
    }
}

// immune: row-64
#[tokio::test]
async fn a_lookup_that_leads_to_another_secret_is_refused() {
    let fixture = Fixture::open().await;
    fixture.create("shop/a", "of a", Some("1")).await.expect("stored");
    fixture.create("shop/b", "of b", Some("2")).await.expect("stored");
    assert_eq!(fixture.find("1").await.expect("found")[0].name, name("shop/a"));
    let rows = fixture.rows("i").await;
    fixture.put(&rows[0].0, rows[1].1.value.to_vec()).await;
    fixture.put(&rows[1].0, rows[0].1.value.to_vec()).await;
    for subject in ["1", "2"] {
        assert!(matches!(fixture.find(subject).await, Err(Error::Integrity(_))), "{subject}");
    }
}

// immune: row-35
#[tokio::test]
async fn without_randomness_nothing_is_stored() {
    let fixture = Fixture::open().await;
    let before = (fixture.rows("h").await, fixture.rows("n").await.len(), fixture.rows("k").await);
    fixture.random.is_broken.store(true, Ordering::SeqCst);
    assert!(matches!(fixture.create("shop/a", "value", None).await, Err(Error::Crypto(_))));
    let shop = crate::gate::InNamespace("shop".parse().expect("valid"));
    let draft = BindingDraft { role: "key-admin".parse().expect("valid"), principal: owner(), start: None, end: None, reason: None };
    let bound = fixture.run(ana(), Method::CreateBinding, ScopeNamed(None), |vault, permit| async move {
        vault.open()?.create_binding(permit, draft).await
    });
    assert!(bound.await.is_err());
    fixture.random.is_broken.store(false, Ordering::SeqCst);
    let draft = BindingDraft { role: "key-admin".parse().expect("valid"), principal: owner(), start: None, end: None, reason: None };
    fixture
        .run(
            ana(),
            Method::CreateBinding,
            ScopeNamed(None),
            |vault, permit| async move { vault.open()?.create_binding(permit, draft).await },
        )
        .await
        .expect("bound");
    fixture.random.is_broken.store(true, Ordering::SeqCst);
    let rotated = fixture.run(owner(), Method::RotateKey, shop, |vault, permit| async move { vault.open()?.rotate_key(permit, 0).await });
    assert!(matches!(rotated.await, Err(Error::Crypto(_))));
    assert_eq!((fixture.rows("h").await, fixture.rows("n").await.len(), fixture.rows("k").await), before);
}

// immune: row-20
#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_create_one_name_one_succeeds() {
    let fixture = Arc::new(Fixture::open().await);
    let racers: Vec<_> = (0..64)
        .map(|number| {
            let fixture = fixture.clone();
            tokio::spawn(async move { fixture.create("shop/a", &format!("value {number}"), None).await.is_ok() })
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        winners += usize::from(racer.await.expect("it ran"));
    }
    assert_eq!(winners, 1);
    let new =
        || NewNamespace { name: "twice".parse().expect("valid"), environment: Environment::Stage, limits: NamespaceLimits::default() };
    let mut made = 0;
    for _ in 0..2 {
        let new = new();
        let answer = fixture.run(ana(), Method::CreateNamespace, WholeVault::NAMESPACES, |vault, permit| async move {
            vault.open()?.create_namespace(permit, new).await
        });
        made += usize::from(answer.await.is_ok());
    }
    assert_eq!(made, 1);
}

// immune: row-54
// immune: row-56
#[tokio::test]
async fn a_value_is_replaced_only_by_who_saw_it_and_never_by_another_subjects() {
    let fixture = Fixture::open().await;
    let seen = fixture.create("shop/a", "first", Some("1")).await.expect("stored").info;
    assert!(matches!(fixture.create("shop/a", "second", Some("1")).await, Err(Error::Exists)));
    let update = |revision, subject: Option<&'static str>| {
        let token = new_secret("", subject).token;
        let new = NewVersion { payload: value("second"), expected_revision: revision, expiry: Expiry::Unchanged, token };
        fixture.run(owner(), Method::UpdateSecret, name("shop/a"), |vault, permit| async move { vault.open()?.update(permit, new).await })
    };
    assert!(matches!(update(seen.revision + 1, None).await, Err(Error::Conflict)));
    assert!(matches!(update(seen.revision, Some("2")).await, Err(Error::Invalid { field: "access_token", .. })));
    assert_eq!(update(seen.revision, Some("1")).await.expect("replaced").info.version, 2);
    assert!(matches!(update(seen.revision, None).await, Err(Error::Conflict)));
    assert_eq!(fixture.find("1").await.expect("found").len(), 1);
}

#[tokio::test]
async fn no_namespace_is_called_as_a_part_of_the_vault() {
    // Whoever audits it would read the vault's own entries.
    let fixture = Fixture::open().await;
    for word in crate::gate::VAULT_WORDS {
        let new = NewNamespace { name: word.parse().expect("valid"), environment: Environment::Stage, limits: NamespaceLimits::default() };
        let made = fixture
            .run(ana(), Method::CreateNamespace, WholeVault::NAMESPACES, |vault, permit| async move {
                vault.open()?.create_namespace(permit, new).await
            })
            .await;
        assert!(matches!(made, Err(Error::Invalid { field: "name", .. })), "{word}");
    }
}

#[tokio::test]
async fn a_request_id_answers_for_the_same_caller_and_content_alone() {
    let fixture = Fixture::open().await;
    let create = |who: SpiffeId, text: &'static str, subject: Option<&'static str>| {
        let mut call = Call::new(Method::CreateSecret, peer(&who));
        call.request_id = Some(Text::parse("request-1").expect("valid"));
        let (vault, new) = (fixture.vault.clone(), new_secret(text, subject));
        fixture.gate.run(call, name("shop/a"), move |permit| async move { vault.open()?.create(permit, new).await })
    };
    let first = create(owner(), "value", Some("1")).await.expect("stored").info;
    let again = create(owner(), "value", Some("1")).await.expect("the same answer").info;
    assert_eq!((again.revision, again.version), (first.revision, 1));
    assert!(matches!(create(owner(), "other", Some("1")).await, Err(Refusal::Failed(Error::Exists))));
    assert!(matches!(create(owner(), "value", Some("2")).await, Err(Refusal::Failed(Error::Exists))));
    assert!(matches!(create(owner(), "value", None).await, Err(Refusal::Failed(Error::Exists))));
}

// immune: row-58
#[tokio::test]
async fn another_vault_under_these_pins_is_refused() {
    let (fixture, other) = (Fixture::sealed(MemoryStore::new()).await, Fixture::sealed(MemoryStore::new()).await);
    let swapped = Fixture::over(other.store.clone(), other.random.clone(), fixture.pins, History::default()).await;
    assert!(matches!(swapped, Err(Error::Integrity(_))));
    // The same id, but keys of another's making.
    let pins = Pins { audit_public_key: fixture.pins.audit_public_key, ..other.pins };
    let swapped =
        Fixture::over(other.store.clone(), other.random.clone(), pins, History::default()).await.expect("its id is the pinned one");
    assert!(matches!(swapped.unseal().await, Err(Error::Integrity(_))));
    assert!(!swapped.vault.is_open());
}

// immune: row-59
#[tokio::test]
async fn an_empty_store_under_a_pinned_id_is_refused() {
    let fixture = Fixture::sealed(MemoryStore::new()).await;
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    assert!(matches!(Fixture::over(empty.clone(), fixture.random.clone(), fixture.pins, History::default()).await, Err(Error::Absent(_))));
    assert!(empty.scan(&Key::new(b"H".to_vec()).expect("short"), None, PageSize::MAX).await.expect("scanned").rows.is_empty());
}

#[tokio::test]
async fn a_policy_that_was_put_back_is_refused() {
    let fixture = Fixture::open().await;
    let ahead = fixture.restarted(History { policy_generation: 1_000, ..History::default() }).await;
    assert!(matches!(ahead.unseal().await, Err(Error::Integrity(_))), "older than the log says");
    // One binding taken out, without the head.
    let (key, _) = fixture.rows("pb").await.remove(0);
    fixture.store.commit(Batch::new().delete(key)).await.expect("deleted");
    let cut = fixture.restarted(History::default()).await;
    assert!(matches!(cut.unseal().await, Err(Error::Integrity(_))), "not what its head covers");
}

#[tokio::test]
async fn writers_begin_again_under_a_rotated_key() {
    let fixture = Arc::new(Fixture::open().await);
    let draft = BindingDraft { role: "key-admin".parse().expect("valid"), principal: owner(), start: None, end: None, reason: None };
    fixture
        .run(
            ana(),
            Method::CreateBinding,
            ScopeNamed(None),
            |vault, permit| async move { vault.open()?.create_binding(permit, draft).await },
        )
        .await
        .expect("bound");
    let writers: Vec<_> = (0..32)
        .map(|number| {
            let fixture = fixture.clone();
            tokio::spawn(
                async move { fixture.create(&format!("shop/s/{number}"), "value", None).await.map(|stored| stored.info.kek_version) },
            )
        })
        .collect();
    for _ in 0..4 {
        let shop = crate::gate::InNamespace("shop".parse().expect("valid"));
        fixture
            .run(owner(), Method::RotateKey, shop, |vault, permit| async move { vault.open()?.rotate_key(permit, 0).await })
            .await
            .expect("rotated");
    }
    for writer in writers {
        assert!(writer.await.expect("it ran").is_ok());
    }
    for number in 0..32 {
        assert_eq!(fixture.reveal(&format!("shop/s/{number}")).await.expect("it reads"), "value");
    }
}

#[test]
fn metadata_has_a_known_encoding() {
    use prost::Message;
    // A field that moved would make every row of every vault unreadable.
    let meta = SecretMeta {
        path: "a/b".to_owned(),
        created_ms: 1,
        intent: 2,
        method: "CreateSecret".to_owned(),
        oldest_version: 1,
        ..Default::default()
    };
    assert_eq!(hex::encode(meta.encode_to_vec()), "0a03612f6220017002 7a0c437265617465536563726574 800101".replace(' ', ""));
    assert_eq!(Revision::ABSENT.number(), 0);
}
