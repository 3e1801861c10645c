//! Strongroom: a vault for the access tokens and secrets that an application holds for its users.
//!
//! # The way of a request
//!
//! connection (TLS 1.3, client certificate) -> principal -> gate: decide, make the permit -> vault operation consumes the
//! permit: one storage read, one envelope -> the answer waits, unreleased, until its audit entry is on disk -> reply.
//!
//! # In which order to read
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | the words: paths, principals, actions, time, bounded text |
//! | [`access`] | may this principal do this, there, now? Pure |
//! | [`gate`] | the one door: decides, makes permits, lets nothing out unrecorded |
//! | [`vault`] | what needs a permit: secrets, namespaces, roles, keys |
//! | [`crypto`], [`seal`], [`memory`] | one construction for every ciphertext; from a passphrase to the keys; where keys lie |
//! | [`hsm`] | keys in HSMs, asked in a process of its own |
//! | [`backup`] | the archive of a backup: encrypted to people who keep their keys elsewhere |
//! | [`storage`], [`audit`] | rows of ciphertext, durable; lines of the record, durable |
//! | [`identity`], [`pki`] | from a certificate to a principal; a small CA, for whoever has none, for `dev` and tests |
//! | [`api`], [`rpc`], [`ops_http`] | the generated API; its handlers; what machines that watch machines ask |
//! | [`metrics`], [`traces`] | what is counted; by what a call is found again elsewhere |
//! | [`config`], [`server`] | what was typed becomes what is meant; the parts put together, run and drained |
//! | [`client`], [`cli`] | what a backend in Rust uses; the command line on top of it and of the small CA |
//! | [`dev`] | the throwaway vault and the story that it tells |
//! | [`doctor`] | whether a host is set up as it should be |
//!
//! A backend needs [`client`] and [`model`] alone. Which module may import which is in `docs/design.md`, and tested.

pub mod access;
pub mod api;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod client;
pub mod config;
pub mod crypto;
pub mod dev;
pub mod doctor;
pub mod gate;
pub mod hsm;
pub mod identity;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod ops_http;
pub mod pki;
#[cfg(test)]
#[path = "../tests/integration/required.rs"]
mod required;
pub mod rpc;
pub mod seal;
pub mod server;
pub mod storage;
pub mod traces;
pub mod vault;
