//! What the server says to the holder of the profile, asked at the address that the configuration names.

use std::net::SocketAddr;

use super::finding::Unseen;
use crate::client::{BindingFilter, BindingInfo, Client, ClientError, ClientOptions, Profile, RoleInfo, StatusInfo, collect};
use crate::model::{Clock, SystemClock, Timestamp};

const GIVE_ONE: &str = "give --profile of somebody who may `operate` and `audit` on the vault";

/// What it says.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    pub(super) status: Result<StatusInfo, Unseen>,
    pub(super) access: Result<Access, Unseen>,
    /// This machine's time before and after the status was asked for.
    pub(super) asked: [Timestamp; 2],
}

/// All roles and bindings.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) roles: Vec<RoleInfo>,
    pub(super) bindings: Vec<BindingInfo>,
}

impl Answers {
    pub(super) fn none(unseen: &Unseen) -> Self {
        Self { status: Err(unseen.clone()), access: Err(unseen.clone()), asked: [Timestamp::default(); 2] }
    }
}

/// Asks it. The holder needs `operate` for the one, `audit` or `administer` on the vault for the other.
pub(super) async fn ask(address: Result<SocketAddr, Unseen>, profile: Option<&Profile>) -> Answers {
    let Some(profile) = profile else {
        return Answers::none(&Unseen::new("there is no profile to ask the server with", GIVE_ONE));
    };
    let address = match address {
        Ok(address) => address,
        Err(unseen) => return Answers::none(&unseen),
    };
    let Profile { server_id, credentials, deadline, .. } = profile.clone();
    let options = ClientOptions::new(address.to_string(), server_id, credentials).deadline(deadline).retries(0);
    let client = match Client::connect(options).await {
        Ok(client) => client,
        Err(error) => return Answers::none(&unseen(&error)),
    };
    let before = SystemClock.now();
    let status = client.status().await.map_err(|error| unseen(&error));
    let asked = [before, SystemClock.now()];
    let access = access(&client).await.map_err(|error| unseen(&error));
    Answers { status, access, asked }
}

/// Without a filter the server lists all or nothing: whoever may see those of one namespace alone is refused.
async fn access(client: &Client) -> Result<Access, ClientError> {
    let roles = collect(0, |page| client.list_roles(page)).await?.items;
    let all = BindingFilter::default();
    let bindings = collect(0, |page| client.list_bindings(&all, page)).await?.items;
    Ok(Access { roles, bindings })
}

fn unseen(error: &ClientError) -> Unseen {
    let advice = match error {
        ClientError::Refused(refusal) if refusal.is_sealed() => "unseal the vault, and run doctor again",
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } => {
            "start the server; if it runs, see whether it was started with this configuration"
        }
        _ => GIVE_ONE,
    };
    Unseen::new(error.to_string(), advice)
}
