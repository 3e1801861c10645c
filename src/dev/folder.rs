//! What lies in a throwaway vault's folder:
//!
//! ```text
//! strongroom.toml   passphrase      the configuration, and what opens the vault
//! pki/              NAME.pem NAME.key, workload-ca, operator-ca, server
//! profiles/         NAME.toml       for `strongroom --profile`
//! data/  audit/                     the store and the log
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use anyhow::{Context, bail};

use super::people::{self, Person};
use crate::config::Config;
use crate::crypto::{Random, SystemRandom};
use crate::model::{Clock, SecretBytes, SystemClock};
use crate::pki::{Authority, Issued, private_folder, write_private};
use crate::vault::Pins;

/// How long certificates last. They are issued anew at each start.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
const CONFIG: &str = "strongroom.toml";
const PASSPHRASE: &str = "passphrase";
/// First line of the configuration: only a folder that this program made is used again.
const MARK: &str = "# A throwaway vault, made by `strongroom dev`. Nothing real belongs here: its passphrase lies beside it.";

/// A throwaway vault's folder. One without a name of its own goes away when this is dropped.
pub(super) struct Folder {
    path: PathBuf,
    temporary: bool,
    listen: SocketAddr,
}

impl Folder {
    /// Makes the folder, or takes up one that was made before, with fresh certificates.
    pub(super) fn prepare(wanted: Option<PathBuf>, listen: SocketAddr) -> anyhow::Result<Self> {
        if !listen.ip().is_loopback() {
            bail!("a throwaway vault listens on loopback only, e.g. 127.0.0.1:7443");
        }
        let temporary = wanted.is_none();
        let path = std::path::absolute(wanted.map_or_else(temporary_path, Ok)?)?;
        let is_new = !path.join(CONFIG).exists();
        if is_new && fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} is neither empty nor a throwaway vault: name another folder", path.display());
        }
        private_folder(&path)?;
        let folder = Self { path, temporary, listen };
        for name in ["pki", "profiles"] {
            private_folder(&folder.path.join(name))?;
        }
        if is_new {
            folder.write_passphrase()?;
            folder.write_config(None)?;
        } else {
            folder.check_mark()?;
        }
        folder.issue()?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn profile(&self, name: &str) -> PathBuf {
        self.path.join("profiles").join(format!("{name}.toml"))
    }

    /// The configuration, listening where this start was told to.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(&self.path.join(CONFIG))?;
        config.listen = self.listen;
        Ok(config)
    }

    pub(super) fn passphrase(&self) -> anyhow::Result<SecretBytes> {
        let path = self.path.join(PASSPHRASE);
        let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(SecretBytes::new(text))
    }

    /// Writes the configuration, with what to pin once the vault was made.
    pub(super) fn write_config(&self, pins: Option<Pins>) -> anyhow::Result<()> {
        let pinned = pins.map_or_else(String::new, |pins| {
            format!("vault_id = \"{}\"\naudit_public_key = \"{}\"\n", pins.vault_id, hex::encode(pins.audit_public_key))
        });
        let trust = |domain: &str, class: &str| {
            format!("[[tls.trust]]\ndomain = \"{domain}\"\nclass = \"{class}\"\nroots = [\"pki/{class}-ca.pem\"]\nrevocation = \"none\"\n")
        };
        let text = format!(
            "{MARK}\nlisten = \"{}\"\nnode = \"dev\"\n{pinned}data_folder = \"data\"\naudit_folder = \"audit\"\ncustodians = [\"{}\"]\n\n\
             [tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\n\n{}\n{}\n\
             [store]\nreserve_bytes = 16777216\n\n[audit]\nsegment_bytes = 1048576\n\n[operations]\nlisten = \"none\"\n\n[log]\nlevel = \"warn\"\n",
            self.listen,
            people::ADMIN.id(),
            trust(people::WORKLOADS, "workload"),
            trust(people::OPERATORS, "operator"),
        );
        Ok(write_private(&self.path.join(CONFIG), &text)?)
    }

    /// Writes everybody's profile, for the address where the vault serves now.
    pub(super) fn write_profiles(&self, address: SocketAddr) -> anyhow::Result<()> {
        for person in people::ALL {
            let text = format!(
                "address = \"{address}\"\nserver_id = \"{}\"\nca = \"../pki/workload-ca.pem\"\ncertificate = \"../pki/{name}.pem\"\nkey = \"../pki/{name}.key\"\n",
                people::server_id(),
                name = person.name,
            );
            write_private(&self.profile(person.name), &text)?;
        }
        Ok(())
    }

    fn check_mark(&self) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.path.join(CONFIG))?;
        if !text.starts_with(MARK) {
            bail!("{} holds a vault that is no throwaway: use `strongroom server`", self.path.display());
        }
        Ok(())
    }

    fn write_passphrase(&self) -> anyhow::Result<()> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(write_private(&self.path.join(PASSPHRASE), &hex::encode(bytes))?)
    }

    /// Certificates for the server and everybody, by authorities that stay.
    fn issue(&self) -> anyhow::Result<()> {
        let workloads = self.authority("workload-ca", people::WORKLOADS)?;
        let operators = self.authority("operator-ca", people::OPERATORS)?;
        let now = SystemClock.now();
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        self.write_leaf("server", &workloads.issue_server(&people::server_id(), &["localhost"], &addresses, now, LIFETIME)?)?;
        people::ALL.iter().try_for_each(|person| self.issue_to(*person, if person.is_operator() { &operators } else { &workloads }))
    }

    fn issue_to(&self, person: Person, authority: &Authority) -> anyhow::Result<()> {
        self.write_leaf(person.name, &authority.issue_client(&person.id(), SystemClock.now(), LIFETIME)?)
    }

    fn authority(&self, name: &str, domain: &str) -> anyhow::Result<Authority> {
        let (certificate, key) = (self.pki(name, "pem"), self.pki(name, "key"));
        if certificate.exists() {
            return Ok(Authority::load(&certificate, &key)?);
        }
        let authority = Authority::create(&format!("strongroom dev {name}"), people::domain(domain), SystemClock.now())?;
        authority.save(&certificate, &key)?;
        Ok(authority)
    }

    fn write_leaf(&self, name: &str, leaf: &Issued) -> anyhow::Result<()> {
        write_private(&self.pki(name, "key"), &leaf.key_pem())?;
        Ok(write_private(&self.pki(name, "pem"), leaf.certificate_pem())?)
    }

    fn pki(&self, name: &str, ending: &str) -> PathBuf {
        self.path.join("pki").join(format!("{name}.{ending}"))
    }
}

fn temporary_path() -> io::Result<PathBuf> {
    let mut suffix = [0; 8];
    SystemRandom::new().fill(&mut suffix).map_err(io::Error::other)?;
    Ok(env::temp_dir().join(format!("strongroom-dev-{}", hex::encode(suffix))))
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed stays: it holds nothing real.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
