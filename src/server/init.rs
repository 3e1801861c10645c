//! `init`: makes a vault on the host, against the data folder, without a network. Once.

use std::sync::Arc;

use super::ServerError;
use super::parts::{open_audit, open_store};
use crate::audit::{Draft, Event};
use crate::config::Config;
use crate::crypto::{Random, SystemRandom};
use crate::model::{Class, Clock, SecretBytes, SpiffeId, SystemClock};
use crate::seal::{Argon2Parameters, Passphrase};
use crate::storage::Mode;
use crate::vault::{FirstAdministrators, Pins, Vault};

/// What a vault is made of.
#[derive(Debug)]
pub struct Init {
    /// The passphrase of its first slot.
    pub passphrase: SecretBytes,
    /// What Argon2id costs.
    pub cost: Argon2Parameters,
    /// Who may administer access.
    pub administrators: Vec<SpiffeId>,
    /// Whether one administrator is enough, as somebody said in so many words.
    pub single_administrator: bool,
}

/// Makes a vault, and returns what to pin in the configuration.
///
/// # Errors
/// The configuration pins a vault already, the folder is not empty, the administrators are not who they should be, or the
/// passphrase is too short.
pub async fn init(config: &Config, init: Init) -> Result<Pins, ServerError> {
    check(config, &init)?;
    let passphrase = Passphrase::parse(&init.passphrase).map_err(|error| ServerError::Init(error.to_string()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open_store(config, Mode::CreateNew)?;
    let (audit, _) = open_audit(config, clock.clone())?;
    let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
    let administrators = FirstAdministrators(init.administrators);
    let made = Vault::init(&store, &random, clock.now(), &passphrase, init.cost, &administrators).await;
    let noted = match &made {
        Ok(pins) => {
            let names: Vec<_> = administrators.0.iter().map(ToString::to_string).collect();
            let entry = Draft::new(Event::System, "init")
                .with("vault", pins.vault_id)
                .with("audit_public_key", hex::encode(pins.audit_public_key))
                .with("administrators", names.join(" "))
                .with("policy_generation", 1);
            audit.append(entry).await.map(|_| ())
        }
        Err(_) => Ok(()),
    };
    store.close().await;
    audit.close()?;
    noted?;
    Ok(made?)
}

fn check(config: &Config, init: &Init) -> Result<(), ServerError> {
    let refused = |why: String| Err(ServerError::Init(why));
    if config.pinned.is_some() {
        return refused("the configuration pins a vault already: to make another, take vault_id and audit_public_key out of it".to_owned());
    }
    let operators =
        |id: &SpiffeId| config.tls.trust.iter().any(|trust| trust.domain == id.trust_domain() && trust.class == Class::Operator);
    if let Some(stranger) = init.administrators.iter().find(|id| !operators(id)) {
        return refused(format!("{stranger} is in no trust domain of class operator: only people administer access"));
    }
    let mut names = init.administrators.clone();
    names.sort();
    names.dedup();
    match (names.len(), init.administrators.len(), init.single_administrator) {
        (distinct, given, _) if distinct != given => refused("an administrator is named twice".to_owned()),
        (0, ..) => refused("name at least two administrators: --administrator SPIFFE_ID".to_owned()),
        (1, _, false) => refused(
            "one administrator alone cannot be replaced when lost, and nobody looks at what they do: name two, or say --single-administrator"
                .to_owned(),
        ),
        (count, ..) if count > 16 => refused("at most 16 administrators: bind more once the vault serves".to_owned()),
        _ => Ok(()),
    }
}
