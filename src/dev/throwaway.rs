//! Starts a throwaway vault: the production server in this process, on a generated configuration.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::folder::Folder;
use super::people::{self, Person};
use crate::client::{BindingScope, Client, NewBinding, NewNamespace, Profile};
use crate::memory::Hardening;
use crate::model::{Environment, NamespaceName, SecretBytes};
use crate::seal::{Argon2Parameters, Passphrase};
use crate::server::{Bound, Init, Manner, ServerError, init};
use crate::vault::FirstSlot;

/// A throwaway vault that serves.
pub(super) struct Throwaway<'a> {
    folder: &'a Folder,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), ServerError>>,
    /// Whether this start made it.
    pub(super) is_new: bool,
}

impl<'a> Throwaway<'a> {
    /// Makes the vault if there is none, and serves it, unsealed.
    pub(super) async fn start(folder: &'a Folder, hardening: Hardening) -> anyhow::Result<Self> {
        let vault = Self::start_sealed(folder, hardening).await?;
        vault.unseal().await?;
        Ok(vault)
    }

    /// The same, but sealed, as every server starts.
    pub(super) async fn start_sealed(folder: &'a Folder, hardening: Hardening) -> anyhow::Result<Self> {
        let config = folder.config()?;
        crate::server::log_to_stderr(config.log);
        let is_new = config.pinned.is_none();
        if is_new {
            let slot = FirstSlot::Passphrase(Passphrase::parse(&folder.passphrase()?)?, Argon2Parameters::for_throwaway());
            let administrators = vec![people::ADMIN.id()];
            let new = Init { slot, administrators, single_administrator: true, hsm: None, recovery_recipients: Vec::new() };
            let made = init(&config, new, |_| Ok(())).await?;
            folder.write_config(Some(made))?;
        }
        let bound = Bound::new(folder.config()?, Manner { hardening, reflection: true }, None).await?;
        let address = bound.address()?;
        folder.write_profiles(address)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(bound.serve(async move {
            let _ = stopped.await;
        }));
        Ok(Self { folder, address, stop, serving, is_new })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn unseal(&self) -> anyhow::Result<()> {
        self.client(people::ADMIN).await?.unseal(self.folder.passphrase()?).await.context("the vault does not open")?;
        Ok(())
    }

    /// Somebody's client, by the profile that lies in the folder.
    pub(super) async fn client(&self, person: Person) -> anyhow::Result<Client> {
        let profile = Profile::read(&self.folder.profile(person.name))?;
        Ok(Client::connect(profile.options()).await?)
    }

    /// A namespace, and roles for those who need one from the start.
    pub(super) async fn furnish(&self) -> anyhow::Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let admin = self.client(people::ADMIN).await?;
        let namespace: NamespaceName = people::NAMESPACE.parse()?;
        admin.create_namespace(NewNamespace::new(namespace.clone(), Environment::Stage)).await?;
        let wepay = || BindingScope::Namespace(namespace.clone());
        for (person, role, scope) in [
            (people::BACKEND, "backend", wepay()),
            (people::KEY_ADMIN, "key-admin", BindingScope::Vault),
            (people::AUDITOR, "auditor", BindingScope::Vault),
        ] {
            admin.create_binding(binding(person, role, scope)?).await?;
        }
        Ok(())
    }

    /// Ends it, as SIGTERM ends a server.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        // If nobody listens any more, it has ended already.
        let _ = self.stop.send(());
        Ok(self.serving.await??)
    }
}

/// A binding without end.
pub(super) fn binding(person: Person, role: &str, scope: BindingScope) -> anyhow::Result<NewBinding> {
    Ok(NewBinding {
        role: role.parse()?,
        principal: person.id(),
        scope,
        start_time: None,
        end_time: None,
        reason: "a throwaway vault's first roles".to_owned(),
        request_id: String::new(),
    })
}

/// Not a secret worth keeping: a token that no provider issued.
pub(super) fn made_up_token(environment: &str) -> anyhow::Result<SecretBytes> {
    use crate::crypto::{Random, SystemRandom};
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(SecretBytes::new(format!("{environment}_{}", hex::encode(bytes)).into_bytes()))
}
