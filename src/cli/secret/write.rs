//! `secret put`, `update`, `label`, `expire`.

use super::view::{print_secret, print_stored};
use super::{ExpireArguments, LabelArguments, PutArguments, TokenArguments, UpdateArguments};
use crate::cli::{CliError, Session};
use crate::client::{Expiry, MetadataUpdate, NewSecret, SecretInfo, SecretUpdate};
use crate::model::SecretName;

pub(super) async fn put(session: &Session, arguments: PutArguments) -> Result<(), CliError> {
    let PutArguments { name, provider, subject, token, labels, expires, value } = arguments;
    let details = provider.zip(subject);
    if details.is_none() && token.is_given() {
        return Err(CliError::Usage("--scope and --type go with --provider and --subject".to_owned()));
    }
    let value = value.read()?;
    let mut new = match details {
        Some((provider, subject)) => {
            NewSecret::access_token(&name, value, provider, subject).scopes(token.scopes).token_type(token.token_type.unwrap_or_default())
        }
        None => NewSecret::opaque(&name, value),
    };
    for label in labels {
        new = new.label(label.key, label.value);
    }
    if let Some(Expiry::At(time)) = expires.map(super::NewExpiry::expiry) {
        new = new.expires(time);
    }
    print_stored(session, &session.client.create_secret(new).await?)
}

/// Describes the secret first unless everything is known, so that the caller replaces what was there when they began to
/// type, and not what somebody else stored meanwhile.
pub(super) async fn update(session: &Session, arguments: UpdateArguments) -> Result<(), CliError> {
    let UpdateArguments { name, expected_revision, token, expires, value } = arguments;
    let before = match expected_revision {
        Some(_) if !token.is_given() => None,
        _ => Some(session.client.describe_secret(&name).await?),
    };
    if let Some(before) = &before {
        session
            .printer
            .note(&format!("replacing version {} of {name}, stored {} by {}", before.version, before.update_time, before.updated_by));
    }
    let seen = before.as_ref().map(|before| before.revision);
    let revision = expected_revision.or(seen).unwrap_or_default();
    let details = before.map(|before| token.applied_to(before)).transpose()?.flatten();
    let mut update = SecretUpdate::new(&name, value.read()?, revision);
    if let Some(details) = details {
        update = update.access_token(details);
    }
    if let Some(expires) = expires {
        update = update.expiry(expires.expiry());
    }
    print_stored(session, &session.client.update_secret(update).await?)
}

pub(super) async fn label(session: &Session, arguments: LabelArguments) -> Result<(), CliError> {
    let LabelArguments { name, labels, remove, expected_revision } = arguments;
    let mut update = MetadataUpdate::new(&name, revision(session, &name, expected_revision).await?);
    for label in labels {
        update = update.set_label(label.key, label.value);
    }
    for key in remove {
        update = update.remove_label(key);
    }
    print_secret(session, &session.client.update_secret_metadata(update).await?)
}

pub(super) async fn expire(session: &Session, arguments: &ExpireArguments) -> Result<(), CliError> {
    let ExpireArguments { name, expires, expected_revision } = arguments;
    let revision = revision(session, name, *expected_revision).await?;
    let update = MetadataUpdate::new(name, revision).expiry(expires.expiry());
    print_secret(session, &session.client.update_secret_metadata(update).await?)
}

async fn revision(session: &Session, name: &SecretName, given: Option<u64>) -> Result<u64, CliError> {
    match given {
        Some(revision) => Ok(revision),
        None => Ok(session.client.describe_secret(name).await?.revision),
    }
}

impl TokenArguments {
    fn is_given(&self) -> bool {
        !self.scopes.is_empty() || self.token_type.is_some()
    }

    /// The details to send: provider and subject as they are, scopes and type as given or as they were.
    fn applied_to(self, secret: SecretInfo) -> Result<Option<crate::client::AccessToken>, CliError> {
        if !self.is_given() {
            return Ok(None);
        }
        let mut details = secret
            .access_token
            .ok_or_else(|| CliError::Input("--scope and --type are for access tokens; this secret is opaque".to_owned()))?;
        if !self.scopes.is_empty() {
            details.scopes = self.scopes;
        }
        if let Some(token_type) = self.token_type {
            details.token_type = token_type;
        }
        Ok(Some(details))
    }
}
