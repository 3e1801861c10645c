//! Strongroom: a vault for access tokens and user secrets.
pub mod access;
pub mod api;
pub mod audit;
pub mod cli;
pub mod client;
pub mod config;
pub mod crypto;
pub mod dev;
pub mod gate;
pub mod identity;
pub mod memory;
pub mod model;
pub mod pki;
pub mod rpc;
pub mod seal;
pub mod storage;
pub mod vault;
