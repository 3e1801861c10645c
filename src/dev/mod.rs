//! The throwaway vault, for laptops: generated certificates, one command, and a story that it tells by itself.
//!
//! | file | what |
//! |---|---|
//! | `people` | who is in it, and their SPIFFE IDs |
//! | `folder` | what lies in its folder: certificates, configuration, profiles |
//! | `throwaway` | starts it: init, unseal, a first namespace and its roles |
//! | `story` | `--demo`: everything once, through real calls, each step checked |
//! | `search` | no token in any file |
//!
//! It is the production server with a generated configuration, and no other: only the passphrase lies in a file beside
//! it, so nothing real belongs here.

mod folder;
mod people;
mod search;
mod story;
mod throwaway;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::memory::Hardening;
use folder::Folder;
use throwaway::Throwaway;

/// What `dev` was asked to do.
#[derive(Debug, Clone)]
pub struct Dev {
    /// Where to keep it; none for a folder that goes away at the end.
    pub folder: Option<PathBuf>,
    /// Where to listen; port 0 for any free one.
    pub listen: SocketAddr,
    /// Whether to tell the story and end.
    pub demo: bool,
    /// What `memory::harden` could do.
    pub hardening: Hardening,
}

/// Runs the throwaway vault until SIGTERM or SIGINT, or the story to its end.
///
/// # Errors
/// It did not start, or a step of the story did not hold.
pub async fn run(dev: Dev) -> anyhow::Result<()> {
    let folder = Folder::prepare(dev.folder.clone(), dev.listen)?;
    if dev.demo {
        return story::tell(&folder, dev.hardening).await;
    }
    let stop = crate::server::stop_signal()?;
    let vault = Throwaway::start(&folder, dev.hardening).await?;
    vault.furnish().await?;
    // Whoever does not read it to the end wants the vault all the same.
    let _ = writeln!(std::io::stdout(), "{}", greeting(&folder, vault.address(), dev.folder.is_some()));
    stop.await;
    vault.stop().await
}

/// One line that says where it serves, and three commands to paste.
fn greeting(folder: &Folder, address: SocketAddr, kept: bool) -> String {
    let program = std::env::current_exe().map_or_else(|_| "strongroom".to_owned(), |path| shell_word(&path.display().to_string()));
    let profile = |name: &str| shell_word(&folder.profile(name).display().to_string());
    let (backend, auditor) = (profile(people::BACKEND.name), profile(people::AUDITOR.name));
    let name = format!("{}/merchants/1", people::NAMESPACE);
    let keeps = if kept { "kept for the next start" } else { "gone when this ends" };
    format!(
        "strongroom dev: serving on {address}, everything in {} ({keeps}); Ctrl-C ends it\n\n\
         Store a token, read it back, and see what is on record (paste into another terminal):\n\n\
         head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' | sed 's/^/STAGE_/' | {program} --profile {backend} secret put {name} --provider wepay --subject 1\n\n\
         {program} --profile {backend} secret get {name} --show\n\n\
         {program} --profile {auditor} audit show --resource {name}\n",
        folder.path().display(),
    )
}

/// A word that the shell takes as it is.
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
