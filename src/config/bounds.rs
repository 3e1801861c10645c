//! Each number's default, its least and its most. What lies outside is a slip of the pen or an attack, and is refused.

use crate::model::limits;

use super::error::Refused;

/// A number of the configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Dotted key; its last part ends in the unit, or is a count.
    pub key: &'static str,
    /// When the file does not say; `None` if that has a meaning of its own.
    pub default: Option<u64>,
    /// The smallest that is accepted.
    pub least: u64,
    /// The largest that is accepted.
    pub most: u64,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

macro_rules! bounds {
    ($($name:ident = $key:literal, $default:expr, $least:expr => $most:expr;)+) => {
        $(pub(super) const $name: Bound = Bound { key: $key, default: $default, least: $least, most: $most };)+
        pub(super) const ALL: &[Bound] = &[$($name),+];
    };
}

bounds! {
    MAX_LEAF_LIFETIME_H = "tls.trust[].max_leaf_lifetime_h", None, 1 => 24;
    // The most is what a row of the embedded store is laid out for; the least holds any token in use.
    PAYLOAD_MAX_BYTES = "limits.payload_max_bytes", Some(limits::PAYLOAD_BYTES as u64), KIB => 64 * KIB;
    MESSAGE_MAX_BYTES = "limits.message_max_bytes", Some(limits::MESSAGE_BYTES as u64), 32 * KIB => MIB;
    HEADER_LIST_MAX_BYTES = "limits.header_list_max_bytes", Some(limits::HEADER_LIST_BYTES as u64), 4 * KIB => 64 * KIB;
    STREAMS_PER_CONNECTION = "limits.streams_per_connection", Some(limits::STREAMS_PER_CONNECTION as u64), 1 => 1_024;
    CONNECTIONS_MAX = "limits.connections_max", Some(1_024), 8 => 65_536;
    // Half of all, if the file does not say.
    CONNECTIONS_PER_PRINCIPAL_MAX = "limits.connections_per_principal_max", None, 1 => 65_536;
    CALLS_MAX = "limits.calls_max", Some(2_048), 16 => 65_536;
    // Half of all, if the file does not say.
    CALLS_PER_PRINCIPAL_MAX = "limits.calls_per_principal_max", None, 1 => 65_536;
    CALLS_PER_PRINCIPAL_PER_S = "limits.calls_per_principal_per_s", Some(1_000), 1 => 1_000_000;
    // As much as in two seconds, if the file does not say.
    CALLS_PER_PRINCIPAL_BURST = "limits.calls_per_principal_burst", None, 1 => 2_000_000;
    HANDSHAKES_MAX = "limits.handshakes_max", Some(512), 1 => 1_024;
    // An eighth of all, if the file does not say.
    HANDSHAKES_PER_ADDRESS_MAX = "limits.handshakes_per_address_max", None, 1 => 1_024;
    HANDSHAKE_TIMEOUT_S = "limits.handshake_timeout_s", Some(5), 1 => 30;
    IDLE_TIMEOUT_S = "limits.idle_timeout_s", Some(300), 10 => 3_600;
    CONNECTION_AGE_MAX_S = "limits.connection_age_max_s", Some(3_600), 60 => 86_400;
    REQUEST_TIMEOUT_S = "limits.request_timeout_s", Some(30), 1 => 300;
    DRAIN_TIMEOUT_S = "limits.drain_timeout_s", Some(20), 1 => 300;
    PAGE_MAX_ITEMS = "limits.page_max_items", Some(limits::PAGE_ITEMS as u64), 10 => limits::PAGE_ITEMS as u64;
    WATCHES_MAX = "limits.watches_max", Some(512), 1 => 4_096;
    // An eighth of all, if the file does not say.
    WATCHES_PER_PRINCIPAL_MAX = "limits.watches_per_principal_max", None, 1 => 4_096;
    // 30, or half of the idle timeout where that is less, if the file does not say.
    WATCH_HEARTBEAT_S = "limits.watch_heartbeat_s", None, 1 => 300;
    STORE_CACHE_BYTES = "store.cache_bytes", Some(40 * MIB), 8 * MIB => 64 * GIB;
    STORE_RESERVE_BYTES = "store.reserve_bytes", Some(64 * MIB), 16 * MIB => 64 * GIB;
    AUDIT_SEGMENT_BYTES = "audit.segment_bytes", Some(16 * MIB), MIB => 64 * MIB;
    AUDIT_RESERVE_BYTES = "audit.reserve_bytes", Some(256 * KIB), 64 * KIB => 512 * KIB;
    HSM_TIMEOUT_S = "hsm[].timeout_s", Some(10), 1 => 120;
}

impl Bound {
    /// The number typed, or the default, as the type that the code inside counts in.
    pub(super) fn apply<T: TryFrom<u64>>(&self, typed: Option<u64>) -> Result<T, Refused> {
        self.apply_at(self.key, typed.or(self.default))
    }

    /// The same for a key that stands in a list, where it has a position and no default.
    pub(super) fn apply_at<T: TryFrom<u64>>(&self, key: &str, typed: Option<u64>) -> Result<T, Refused> {
        let Self { least, most, .. } = self;
        let value = typed.ok_or_else(|| Refused::new(key, format!("is missing; it must be from {least} to {most}")))?;
        let fits = (*least..=*most).contains(&value).then(|| T::try_from(value).ok()).flatten();
        fits.ok_or_else(|| {
            let advice = self.default.map_or_else(String::new, |default| format!(", or leave it out for {default}"));
            Refused::new(key, format!("is {value} but must be from {least} to {most}; put a number in that range{advice}"))
        })
    }
}
