//! `init`: makes a vault on the host, against the data folder, without a network. Once.

use std::sync::Arc;

use super::ServerError;
use super::parts::{open_audit, open_store};
use crate::audit::{Draft, Event};
use crate::config::Config;
use crate::crypto::{Random, SystemRandom};
use crate::model::{Class, Clock, HsmName, SpiffeId, SystemClock};
use crate::seal::TokenKey;
use crate::storage::Mode;
use crate::vault::{FirstPeople, FirstSlot, NewRecipient, NewShare, Pins, Vault};

/// What a vault is made of.
#[derive(Debug)]
pub struct Init {
    /// What opens it.
    pub slot: FirstSlot,
    /// Who may administer access.
    pub administrators: Vec<SpiffeId>,
    /// Whether one administrator is enough, as somebody said in so many words.
    pub single_administrator: bool,
    /// The configured name of the HSM that opens a second slot.
    pub hsm: Option<HsmName>,
    /// Whom backups are encrypted to.
    pub recovery_recipients: Vec<NewRecipient>,
}

/// Makes a vault, and returns what to pin in the configuration. Shares go to `deliver` before there is a vault: if it does not take
/// them, there is none.
///
/// # Errors
/// The configuration pins a vault already, the folder is not empty, the administrators are not who they should be, the shares were
/// not taken, or the HSM does not do its part.
pub async fn init(
    config: &Config,
    init: Init,
    deliver: impl FnOnce(Vec<NewShare>) -> Result<(), String> + Send,
) -> Result<Pins, ServerError> {
    check(config, &init)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let token = token(config, &init).await?;
    let store = open_store(config, Mode::CreateNew)?;
    let (audit, _) = open_audit(config, clock.clone())?;
    let random: Arc<dyn Random> = Arc::new(SystemRandom::new());
    let deliver = |shares| deliver(shares).map_err(ServerError::Init);
    let people = FirstPeople { administrators: init.administrators, recipients: init.recovery_recipients };
    let made = Vault::init(&store, &random, clock.now(), &init.slot, token, &people, deliver).await;
    let noted = match &made {
        Ok(pins) => {
            let names: Vec<_> = people.administrators.iter().map(ToString::to_string).collect();
            let entry = Draft::new(Event::System, "init")
                .with("vault", pins.vault_id)
                .with("audit_public_key", hex::encode(pins.audit_public_key))
                .with("administrators", names.join(" "))
                .with("slot", in_words(&init.slot))
                .with("policy_generation", 1);
            audit.append(entry).await.map(|_| ())
        }
        Err(_) => Ok(()),
    };
    store.close().await;
    audit.close()?;
    noted?;
    made
}

fn in_words(slot: &FirstSlot) -> String {
    match slot {
        FirstSlot::Passphrase(..) => "a passphrase".to_owned(),
        FirstSlot::Quorum { size, .. } => format!("{} of {} shares", size.threshold(), size.shares()),
    }
}

/// The key in the HSM, before anything is made here: it must be there and be good.
async fn token<'a>(config: &'a Config, init: &Init) -> Result<Option<&'a dyn TokenKey>, ServerError> {
    let Some(name) = &init.hsm else { return Ok(None) };
    let hsm = config.hsm(name).ok_or_else(|| ServerError::Init("--hsm names no [[hsm]] of the configuration".to_owned()))?;
    hsm.token.make_key().await.map_err(|error| ServerError::Init(format!("HSM {name}: {error}")))?;
    Ok(Some(&hsm.token))
}

fn check(config: &Config, init: &Init) -> Result<(), ServerError> {
    let refused = |why: String| Err(ServerError::Init(why));
    if config.pinned.is_some() {
        return refused("the configuration pins a vault already: to make another, take vault_id and audit_public_key out of it".to_owned());
    }
    check_administrators(config, &init.administrators, init.single_administrator).or_else(refused)
}

/// They are people whom the configuration knows, each named once, and two at least.
pub(super) fn check_administrators(config: &Config, administrators: &[SpiffeId], single: bool) -> Result<(), String> {
    let refused = |why: String| Err(why);
    let operators =
        |id: &SpiffeId| config.tls.trust.iter().any(|trust| trust.domain == id.trust_domain() && trust.class == Class::Operator);
    if let Some(stranger) = administrators.iter().find(|id| !operators(id)) {
        return refused(format!("{stranger} is in no trust domain of class operator: only people administer access"));
    }
    let mut names = administrators.to_vec();
    names.sort();
    names.dedup();
    match (names.len(), administrators.len(), single) {
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
