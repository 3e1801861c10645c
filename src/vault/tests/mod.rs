//! The vault over a store in memory, through a real gate and a real log.

mod backup;
mod ceremonies;
mod changes;
mod own_opening;
mod races;
mod retirement;
mod rewrap;
mod tampering;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use super::record::{KeyringRow, Namespace as NamespaceRecord, PolicyHead, PurgeJob, Role, SecretMeta};
use super::*;
use crate::access::{CurrentPolicy, Grant};
use crate::api::Method;
use crate::audit::{AuditLog, AuditOptions};
use crate::crypto::{Random, RandomFailed, SystemRandom};
use crate::gate::{Below, BindingNamed, Call, Gate, Permit, Refusal, Resource, ScopeNamed, Unreleased, WholeVault};
use crate::identity::Peer;
use crate::model::{
    Action, ActionSet, BindingId, Class, Clock, Effort, Environment, PathPattern, Principal, SecretBytes, SecretName, SpiffeId,
    SystemClock, Text, Timestamp, VaultId,
};
use crate::seal::{Argon2Parameters, Passphrase};
use crate::storage::{self, Batch, CommitError, Condition, Key, MemoryStore, PageSize, Revision, Row, Store, StoreError, StoreStatus};

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

/// A store in which one commit can be held back while others go on, or happen and be answered as if nobody knew.
#[derive(Default)]
struct UnsteadyStore {
    inner: MemoryStore,
    /// The class of the rows whose next writer is held; 0 for none.
    class: AtomicU8,
    is_held: Notify,
    release: Notify,
    /// Whether the next commit is answered so.
    is_in_doubt: AtomicBool,
    /// Whether it takes no writes.
    is_full: AtomicBool,
    /// Whether nothing can be read after it.
    goes_dark: AtomicBool,
    is_dark: AtomicBool,
}

impl UnsteadyStore {
    /// The next commit happens, nobody knows, and nobody can look until [`UnsteadyStore::lighten`].
    fn darken(&self) {
        self.goes_dark.store(true, Ordering::SeqCst);
        self.is_in_doubt.store(true, Ordering::SeqCst);
    }

    fn lighten(&self) {
        self.is_dark.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for UnsteadyStore {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        if self.is_dark.load(Ordering::SeqCst) { Err(StoreError::Full("dark".to_owned())) } else { self.inner.get(keys).await }
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: PageSize) -> Result<storage::Page, StoreError> {
        self.inner.scan(prefix, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, CommitError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(StoreError::Full("no room".to_owned()).into());
        }
        let class = self.class.load(Ordering::SeqCst);
        if batch.writes().iter().any(|(key, _)| key.as_bytes()[0] == class) {
            self.class.store(0, Ordering::SeqCst);
            self.is_held.notify_one();
            self.release.notified().await;
        }
        let committed = self.inner.commit(batch).await;
        if !self.is_in_doubt.swap(false, Ordering::SeqCst) {
            return committed;
        }
        self.is_dark.store(self.goes_dark.swap(false, Ordering::SeqCst), Ordering::SeqCst);
        Err(CommitError::Unknown)
    }

    async fn watch(&self, prefix: &Key, after: Revision) -> Result<storage::Changes, StoreError> {
        self.inner.watch(prefix, after).await
    }

    async fn stand_still(&self) -> Result<Box<dyn storage::Standstill>, StoreError> {
        self.inner.stand_still().await
    }

    fn status(&self) -> StoreStatus {
        self.inner.status()
    }

    fn conditions(&self) -> watch::Receiver<Condition> {
        self.inner.conditions()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// The machine's clock, or one that runs ahead of it.
#[derive(Default)]
struct Hands {
    ahead_ms: AtomicU64,
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst)))
    }
}

struct Fixture {
    store: Arc<dyn Store>,
    random: Arc<Breakable>,
    clock: Arc<Hands>,
    vault: Arc<Vault>,
    gate: Arc<Gate>,
    audit: Arc<AuditLog>,
    pins: Pins,
    _folder: TempDir,
}

fn ana() -> SpiffeId {
    "spiffe://people.test/ana".parse().expect("valid")
}

fn ben() -> SpiffeId {
    "spiffe://people.test/ben".parse().expect("valid")
}

fn cleo() -> SpiffeId {
    "spiffe://people.test/cleo".parse().expect("valid")
}

fn owner() -> SpiffeId {
    "spiffe://apps.test/owner".parse().expect("valid")
}

/// Whose identity the tests of backups have.
fn recipient() -> NewRecipient {
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".parse().expect("valid");
    NewRecipient { name: Text::parse("cleo").expect("valid"), recipient }
}

fn peer(id: &SpiffeId) -> Peer {
    let class = if id.trust_domain().as_str() == "people.test" { Class::Operator } else { Class::Workload };
    Peer {
        principal: Arc::new(Principal { id: id.clone(), class }),
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
        Self::open_over(Arc::new(MemoryStore::new())).await
    }

    async fn open_over(store: Arc<dyn Store>) -> Self {
        let fixture = Self::sealed(store).await;
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

    async fn sealed(store: Arc<dyn Store>) -> Self {
        let passphrase = Passphrase::parse(&SecretBytes::new(PASSPHRASE.to_vec())).expect("long enough");
        Self::sealed_by(store, FirstSlot::Passphrase(passphrase, Argon2Parameters::for_throwaway())).await.0
    }

    /// With its first slot's shares, if it has any.
    async fn sealed_by(store: Arc<dyn Store>, slot: FirstSlot) -> (Self, Vec<String>) {
        let random = Arc::new(Breakable { inner: SystemRandom::new(), is_broken: AtomicBool::new(false) });
        let as_random: Arc<dyn Random> = random.clone();
        let people = FirstPeople { administrators: vec![ana(), ben()], recipients: vec![recipient()] };
        let mut texts = Vec::new();
        let deliver = |shares: Vec<NewShare>| {
            texts = shares.into_iter().map(|share| String::from_utf8(share.text.into_exposed()).expect("text")).collect();
            Ok::<_, Error>(())
        };
        let pins = Vault::init(&store, &as_random, SystemClock.now(), &slot, None, &people, deliver).await.expect("made");
        (Self::over(store, random, pins, History::default()).await.expect("it holds this vault"), texts)
    }

    async fn over(store: Arc<dyn Store>, random: Arc<Breakable>, pins: Pins, history: History) -> Result<Self, Error> {
        Self::at(Hands::default(), store, random, pins, history).await
    }

    async fn at(clock: Hands, store: Arc<dyn Store>, random: Arc<Breakable>, pins: Pins, history: History) -> Result<Self, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(clock);
        let (audit, _) = AuditLog::open(&folder.path().join("audit"), AuditOptions::new("test"), clock.clone()).expect("a log");
        let policy = Arc::new(CurrentPolicy::default());
        let vault = Vault::new(store.clone(), random.clone(), clock.clone(), policy.clone(), pins, history, Tokens::default()).await?;
        let gate = Gate::new(policy, vec![ana(), ben(), cleo()], audit.clone(), clock.clone());
        Ok(Self { store, random, clock, vault, gate, audit, pins, _folder: folder })
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
        self.run_as(who, method, resource, None, operation).await
    }

    async fn run_as<R, T, F, O>(&self, who: SpiffeId, method: Method, resource: R, id: Option<&str>, operation: O) -> Result<T, Error>
    where
        R: Resource,
        T: Send + 'static,
        F: Future<Output = Result<Unreleased<T>, Error>> + Send + 'static,
        O: FnOnce(Arc<Vault>, Permit<R::Granted>) -> F + Send + 'static,
    {
        let vault = self.vault.clone();
        let mut call = Call::new(method, peer(&who));
        call.request_id = id.map(|id| Text::parse(id).expect("valid"));
        let answer = self.gate.run(call, resource, move |permit| operation(vault, permit)).await;
        answer.map_err(|refusal| match refusal {
            Refusal::Failed(error) => error,
            other => panic!("{method:?} was refused: {other}"),
        })
    }

    async fn unseal(&self) -> Result<VaultId, Error> {
        match self.give(ana(), SlotSecret::Passphrase(SecretBytes::new(PASSPHRASE.to_vec()))).await? {
            Unsealing::Open(vault_id) => Ok(vault_id),
            Unsealing::Waiting(progress) => panic!("a passphrase is enough: {progress:?}"),
        }
    }

    async fn give(&self, who: SpiffeId, secret: SlotSecret) -> Result<Unsealing, Error> {
        self.run(who, Method::Unseal, WholeVault::VAULT, |vault, permit| async move { vault.unseal(permit, secret).await }).await
    }

    async fn create(&self, at: &str, text: &str, subject: Option<&str>) -> Result<Stored, Error> {
        let new = new_secret(text, subject);
        self.run(owner(), Method::CreateSecret, name(at), |vault, permit| async move { vault.open()?.create(permit, new).await }).await
    }

    async fn make_namespace(&self, by: SpiffeId, name: &str, request_id: Option<&str>) -> Result<NamespaceInfo, Error> {
        let new = NewNamespace { name: name.parse().expect("valid"), environment: Environment::Stage, limits: NamespaceLimits::default() };
        self.run_as(by, Method::CreateNamespace, WholeVault::NAMESPACES, request_id, |vault, permit| async move {
            vault.open()?.create_namespace(permit, new).await
        })
        .await
    }

    async fn update(&self, at: &str, revision: u64, text: &str, subject: Option<&str>) -> Result<Stored, Error> {
        let token = new_secret("", subject).token;
        let new = NewVersion { payload: value(text), expected_revision: revision, expiry: Expiry::Unchanged, token };
        self.run(owner(), Method::UpdateSecret, name(at), |vault, permit| async move { vault.open()?.update(permit, new).await }).await
    }

    async fn destroy(&self, at: &str) -> Result<(), Error> {
        let destroyed = self.run(owner(), Method::DestroySecret, name(at), |vault, permit| async move {
            vault.open()?.change_state(permit, 0, StateChange::Destroy).await
        });
        destroyed.await.map(drop)
    }

    async fn rotate(&self) -> Result<(), Error> {
        let shop = crate::gate::InNamespace("shop".parse().expect("valid"));
        let rotated = self.run(owner(), Method::RotateKey, shop, |vault, permit| async move {
            vault.open()?.rotate_key(permit, Rotation::default()).await
        });
        rotated.await.map(drop)
    }

    /// Gives a built-in role to `owner`, by `ana`.
    async fn bind_on_the_vault(&self, role: &str) -> Result<(), Error> {
        self.bind(role, owner(), None).await.map(drop)
    }

    /// Gives a role to somebody, by `ana`.
    async fn bind(&self, role: &str, principal: SpiffeId, namespace: Option<&str>) -> Result<BindingInfo, Error> {
        let draft = BindingDraft { role: role.parse().expect("valid"), principal, start: None, end: None, reason: None };
        let scope = ScopeNamed(namespace.map(|name| name.parse().expect("valid")));
        self.run(ana(), Method::CreateBinding, scope, |vault, permit| async move { vault.open()?.create_binding(permit, draft).await })
            .await
    }

    async fn unbind(&self, by: SpiffeId, id: BindingId) -> Result<(), Error> {
        let unbound = self
            .run(by, Method::DeleteBinding, BindingNamed(id), |vault, permit| async move { vault.open()?.delete_binding(permit).await });
        unbound.await
    }

    /// The id of the binding that somebody has had from the beginning.
    fn first_binding_of(&self, who: &SpiffeId) -> BindingId {
        let policy = self.vault.open().expect("open").policy.snapshot().expect("open");
        policy.bindings().find(|binding| binding.principal == *who).expect("bound").id
    }

    async fn reveal(&self, at: &str) -> Result<String, Error> {
        self.reveal_version(at, 0).await
    }

    async fn reveal_version(&self, at: &str, version: u64) -> Result<String, Error> {
        let revealed = self
            .run(owner(), Method::RevealSecret, name(at), move |vault, permit| async move { vault.open()?.reveal(permit, version).await })
            .await?;
        Ok(String::from_utf8(revealed.payload.into_exposed()).expect("a test's own text"))
    }

    async fn versions(&self, at: &str) -> Result<Vec<u64>, Error> {
        let all = PageLimits { items: 100, bytes: usize::MAX };
        let page = self.run(owner(), Method::ListSecretVersions, name(at), move |vault, permit| async move {
            vault.open()?.versions(permit, all, "", &Effort::default()).await
        });
        Ok(page.await?.items.iter().map(|info| info.version).collect())
    }

    async fn find(&self, subject: &str) -> Result<Vec<SecretInfo>, Error> {
        let (provider, subject) = (Text::parse("wepay").expect("valid"), Text::parse(subject).expect("valid"));
        let below = Below { namespace: "shop".parse().expect("valid"), prefix: Vec::new() };
        self.run(owner(), Method::FindSecrets, below, |vault, permit| async move {
            vault.open()?.find_tokens(permit, &provider, &subject, &Effort::default()).await
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
