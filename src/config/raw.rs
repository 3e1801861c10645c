//! The keys as they are typed. Nothing is required here and nothing has a default: both belong to the second step, whose
//! refusals say what to do. A key that is not here is refused by name, so a typing error cannot switch a defence off.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) listen: Option<String>,
    pub(super) node: Option<String>,
    pub(super) vault_id: Option<String>,
    pub(super) audit_public_key: Option<String>,
    pub(super) data_folder: Option<PathBuf>,
    pub(super) audit_folder: Option<PathBuf>,
    pub(super) custodians: Option<Vec<String>>,
    #[serde(default)]
    pub(super) tls: RawTls,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) store: RawStore,
    #[serde(default)]
    pub(super) audit: RawAudit,
    #[serde(default)]
    pub(super) operations: RawOperations,
    #[serde(default)]
    pub(super) log: RawLog,
    pub(super) traces: Option<RawTraces>,
    #[serde(default)]
    pub(super) hsm: Vec<RawHsm>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHsm {
    pub(super) name: Option<String>,
    pub(super) module: Option<PathBuf>,
    pub(super) token: Option<String>,
    pub(super) key: Option<String>,
    pub(super) pin_file: Option<PathBuf>,
    pub(super) timeout_s: Option<u64>,
    pub(super) unseal_at_start: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTraces {
    pub(super) endpoint: Option<String>,
    pub(super) allow_remote: Option<bool>,
    pub(super) sample_ratio: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperations {
    pub(super) listen: Option<String>,
    pub(super) allow_remote: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    #[serde(default)]
    pub(super) trust: Vec<RawTrust>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTrust {
    pub(super) domain: Option<String>,
    pub(super) class: Option<String>,
    pub(super) roots: Option<Vec<PathBuf>>,
    pub(super) crls: Option<Vec<PathBuf>>,
    pub(super) revocation: Option<String>,
    pub(super) max_leaf_lifetime_h: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) payload_max_bytes: Option<u64>,
    pub(super) message_max_bytes: Option<u64>,
    pub(super) header_list_max_bytes: Option<u64>,
    pub(super) streams_per_connection: Option<u64>,
    pub(super) connections_max: Option<u64>,
    pub(super) connections_per_principal_max: Option<u64>,
    pub(super) calls_max: Option<u64>,
    pub(super) calls_per_principal_max: Option<u64>,
    pub(super) calls_per_principal_per_s: Option<u64>,
    pub(super) calls_per_principal_burst: Option<u64>,
    pub(super) handshakes_max: Option<u64>,
    pub(super) handshakes_per_address_max: Option<u64>,
    pub(super) handshake_timeout_s: Option<u64>,
    pub(super) idle_timeout_s: Option<u64>,
    pub(super) connection_age_max_s: Option<u64>,
    pub(super) request_timeout_s: Option<u64>,
    pub(super) drain_timeout_s: Option<u64>,
    pub(super) page_max_items: Option<u64>,
    pub(super) watches_max: Option<u64>,
    pub(super) watches_per_principal_max: Option<u64>,
    pub(super) watch_heartbeat_s: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) cache_bytes: Option<u64>,
    pub(super) reserve_bytes: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    pub(super) segment_bytes: Option<u64>,
    pub(super) reserve_bytes: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) format: Option<String>,
    pub(super) level: Option<String>,
}
