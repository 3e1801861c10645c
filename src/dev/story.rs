//! `dev --demo`: the whole story through real calls on a real port. Each step is checked; the first that does not hold ends
//! it with an error.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, ensure};
use tonic::Code;

use super::folder::Folder;
use super::people::{self, Person};
use super::search::files_holding;
use super::throwaway::{Throwaway, binding, made_up_token};
use crate::client::{AuditFilter, BindingScope, Client, ClientError, NewSecret, Page, Reveal, SealState, SecretUpdate};
use crate::memory::Hardening;
use crate::model::{BindingId, Clock, NamespaceName, SecretBytes, SecretName, SystemClock};

/// A name that must not be found in the store's files.
const MERCHANT: &str = "merchant-4711-of-the-story";
/// Entries that one look at the log returns.
const ENTRIES: u32 = 1_000;

/// What the story has stored, to be read again later.
struct Stored {
    name: SecretName,
    token: SecretBytes,
}

/// Tells the story.
pub(super) async fn tell(folder: &Folder, hardening: Hardening) -> anyhow::Result<()> {
    let vault = Throwaway::start_sealed(folder, hardening).await?;
    ensure!(vault.is_new, "the story needs a folder of its own: name one that is empty, or none");
    told(&format!("a vault was made and serves on {}, sealed", vault.address()));
    let admin = vault.client(people::ADMIN).await?;
    ensure!(admin.status().await?.seal_state == SealState::Sealed, "it is not sealed");
    vault.unseal().await?;
    told("a custodian unsealed it");
    vault.furnish().await?;
    told("admin made the namespace wepay-stage, and gave the backend its role");

    let old = first_token(&vault).await?;
    strangers(&vault, &old).await?;
    operator(&vault, &old).await?;
    let new = rotation(&vault, &old).await?;
    on_record(&vault.client(people::AUDITOR).await?, &old).await?;
    vault.stop().await?;

    let vault = Throwaway::start_sealed(folder, hardening).await?;
    restart(&vault, &[&old, &new]).await?;
    vault.stop().await?;
    nothing_in_the_clear(folder, &[&old, &new])?;
    say("everything held");
    Ok(())
}

fn told(step: &str) {
    say(&format!("ok  {step}"));
}

/// Whether or not somebody reads on.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

async fn first_token(vault: &Throwaway<'_>) -> anyhow::Result<Stored> {
    let backend = vault.client(people::BACKEND).await?;
    let stored = store(&backend, &format!("{}/{MERCHANT}/old", people::NAMESPACE)).await?;
    reads_back(&backend, &stored, "").await?;
    told("the backend stored a merchant's token and read it back");

    let seen = backend.describe_secret(&stored.name).await?;
    let replaced = backend.update_secret(SecretUpdate::new(&stored.name, made_up_token("STAGE")?, seen.revision)).await;
    refused(replaced, Code::PermissionDenied).context("the backend could replace the token")?;
    told("it cannot replace it: it has no `update`");

    let production = NewSecret::opaque(&format!("{}/production", people::NAMESPACE).parse()?, made_up_token("PRODUCTION")?);
    refused(backend.create_secret(production).await, Code::InvalidArgument).context("stage took a production token")?;
    told("a production token is refused by the stage namespace");
    Ok(stored)
}

/// Whoever has no role is told the same of what is there and of what is not.
async fn strangers(vault: &Throwaway<'_>, stored: &Stored) -> anyhow::Result<()> {
    let outsider = vault.client(people::OUTSIDER).await?;
    let absent: SecretName = format!("{}/nobody", people::NAMESPACE).parse()?;
    let of_stored = refused(outsider.reveal_secret(Reveal::latest(&stored.name)).await, Code::NotFound)?;
    let of_absent = refused(outsider.reveal_secret(Reveal::latest(&absent)).await, Code::NotFound)?;
    ensure!(of_stored == of_absent, "an outsider can tell what exists");
    told("an outsider is refused exactly as for an absent secret");
    Ok(())
}

async fn operator(vault: &Throwaway<'_>, stored: &Stored) -> anyhow::Result<()> {
    let (admin, operator) = (vault.client(people::ADMIN).await?, vault.client(people::OPERATOR).await?);
    refused(reveal(&operator, stored, "before the role").await, Code::NotFound)?;
    let given = bind_for_an_hour(&admin, people::OPERATOR).await?;
    refused(reveal(&operator, stored, "").await, Code::InvalidArgument).context("an operator needed no reason")?;
    reads_back(&operator, stored, "customer asks why a charge failed").await?;
    told("admin gave the operator a reader's role for an hour; the operator revealed the token, with a reason");
    admin.delete_binding(given, "the question is answered").await?;
    refused(reveal(&operator, stored, "after the role").await, Code::NotFound)?;
    told("once the role was taken away, the operator could not");
    Ok(())
}

async fn rotation(vault: &Throwaway<'_>, old: &Stored) -> anyhow::Result<Stored> {
    let (backend, key_admin) = (vault.client(people::BACKEND).await?, vault.client(people::KEY_ADMIN).await?);
    let namespace: NamespaceName = people::NAMESPACE.parse()?;
    let rotated = key_admin.rotate_key(&namespace, 1, "the story goes on").await?;
    ensure!(rotated.version == 2, "the key was not rotated");
    let new = store(&backend, &format!("{}/{MERCHANT}/new", people::NAMESPACE)).await?;
    let under = backend.describe_secret(&new.name).await?.kek_version;
    ensure!(under == 2, "a new token lies under key version {under}");
    reads_back(&backend, old, "").await?;
    reads_back(&backend, &new, "").await?;
    told("the key was rotated while the vault served: the old token and a new one read");
    Ok(new)
}

async fn on_record(auditor: &Client, stored: &Stored) -> anyhow::Result<()> {
    let filter = AuditFilter { oldest_first: true, ..AuditFilter::default() };
    let entries = auditor.list_audit_entries(&filter, Page { size: ENTRIES, token: String::new() }).await?.items;
    let about = |method: &str, who: Person, outcome: &str| {
        let (id, name) = (who.id().to_string(), stored.name.to_string());
        let found = entries.iter().any(|entry| {
            let is_about = entry.resource == name || !matches!(method, "CreateSecret" | "UpdateSecret" | "RevealSecret");
            entry.method == method && entry.principal == id && entry.outcome == outcome && is_about
        });
        ensure!(found, "the log does not show {method} by {} with outcome {outcome}", who.name);
        Ok(())
    };
    about("Unseal", people::ADMIN, "ok")?;
    about("CreateNamespace", people::ADMIN, "ok")?;
    about("CreateSecret", people::BACKEND, "ok")?;
    about("RevealSecret", people::BACKEND, "ok")?;
    about("UpdateSecret", people::BACKEND, "permission_denied")?;
    about("RevealSecret", people::OUTSIDER, "not_visible")?;
    about("CreateBinding", people::ADMIN, "ok")?;
    about("RevealSecret", people::OPERATOR, "ok")?;
    about("DeleteBinding", people::ADMIN, "ok")?;
    about("RevealSecret", people::OPERATOR, "not_visible")?;
    about("RotateKey", people::KEY_ADMIN, "ok")?;
    told(&format!("the audit log shows each of these, in {} entries", entries.len()));
    Ok(())
}

async fn restart(vault: &Throwaway<'_>, stored: &[&Stored]) -> anyhow::Result<()> {
    let backend = vault.client(people::BACKEND).await?;
    let error = reveal(&backend, stored[0], "").await.err().context("a sealed vault revealed a token")?;
    ensure!(error.refusal().is_some_and(crate::client::Refusal::is_sealed), "it is not sealed after a restart: {error}");
    vault.unseal().await?;
    for one in stored {
        reads_back(&backend, one, "").await?;
    }
    told("after a restart it was sealed; unsealed, it has kept everything");
    Ok(())
}

fn nothing_in_the_clear(folder: &Folder, stored: &[&Stored]) -> anyhow::Result<()> {
    let tokens: Vec<&[u8]> = stored.iter().map(|one| one.token.expose()).collect();
    let with_token = files_holding(folder.path(), &tokens)?;
    ensure!(with_token.is_empty(), "a token lies in {with_token:?}");
    let with_name = files_holding(&folder.data(), &[MERCHANT.as_bytes()])?;
    ensure!(with_name.is_empty(), "the merchant's name lies in {with_name:?}");
    told("no file holds a token, and none of the store's the merchant's name");
    Ok(())
}

async fn store(backend: &Client, name: &str) -> anyhow::Result<Stored> {
    let (name, token) = (name.parse()?, made_up_token("STAGE")?);
    let copy = SecretBytes::new(token.expose().to_vec());
    backend.create_secret(NewSecret::access_token(&name, copy, "wepay", "4711").token_type("BEARER")).await?;
    Ok(Stored { name, token })
}

async fn reveal(client: &Client, stored: &Stored, reason: &str) -> Result<crate::client::Revealed, ClientError> {
    client.reveal_secret(Reveal::latest(&stored.name).reason(reason)).await
}

async fn reads_back(client: &Client, stored: &Stored, reason: &str) -> anyhow::Result<()> {
    let revealed = reveal(client, stored, reason).await?;
    ensure!(revealed.value.same_as(&stored.token), "another value came back");
    Ok(())
}

async fn bind_for_an_hour(admin: &Client, person: Person) -> anyhow::Result<BindingId> {
    let mut new = binding(person, "reader", BindingScope::Namespace(people::NAMESPACE.parse()?))?;
    new.end_time = Some(SystemClock.now().plus(Duration::from_secs(3600)));
    new.reason = "support case 4711".to_owned();
    Ok(admin.create_binding(new).await?.binding_id)
}

/// The refusal's message, if it is one with that code.
fn refused<T>(answer: Result<T, ClientError>, code: Code) -> anyhow::Result<String> {
    let error = answer.err().context("it was not refused")?;
    let refusal = error.refusal().with_context(|| format!("not a refusal of the server's: {error}"))?;
    ensure!(refusal.code == code, "refused with {:?}: {error}", refusal.code);
    Ok(refusal.message.clone())
}
