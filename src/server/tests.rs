//! Each limit's way from the file to who heeds it. What the HTTP/2 server keeps to itself (streams, header lists, deadlines, age)
//! the integration tests see at its edge.

use super::*;
use crate::config;
use crate::model::SecretBytes;
use crate::seal::{Argon2Parameters, Passphrase};
use crate::vault::FirstSlot;

/// No two alike, and none the default.
const LIMITS: &str = "\
[limits]
payload_max_bytes = 20001
message_max_bytes = 40002
header_list_max_bytes = 5003
streams_per_connection = 104
connections_max = 1005
connections_per_principal_max = 106
calls_max = 1007
calls_per_principal_max = 108
calls_per_principal_per_s = 109
calls_per_principal_burst = 110
handshakes_max = 511
handshakes_per_address_max = 112
handshake_timeout_s = 13
idle_timeout_s = 114
connection_age_max_s = 315
request_timeout_s = 16
drain_timeout_s = 17
page_max_items = 118
watches_max = 119
watches_per_principal_max = 20
watch_heartbeat_s = 21
";

const REST: &str = r#"
custodians = ["spiffe://people.example/cleo"]
data_folder = "data"
audit_folder = "audit"
[tls]
certificate = "server.pem"
key = "server.key"
[[tls.trust]]
domain = "people.example"
class = "operator"
roots = ["people.pem"]
revocation = "none"
"#;

fn config() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("strongroom.toml");
    std::fs::write(&file, format!("{REST}{LIMITS}")).expect("written");
    let config = Config::load(&file).expect("valid");
    (folder, config)
}

#[test]
fn the_doorkeeper_gets_the_limits_of_the_file() {
    let (_folder, config) = config();
    let AcceptLimits { handshake_timeout, handshakes, handshakes_per_address, connections, principal, call_bytes, idle, call, age } =
        accept_limits(&config);
    assert_eq!((handshake_timeout.as_secs(), idle.as_secs(), call.as_secs(), age.as_secs()), (13, 114, 2 * 16, 315));
    assert_eq!((handshakes, handshakes_per_address, connections), (511, 112, 1_005));
    assert_eq!(call_bytes, 40_002 + 5_003);
    let PrincipalLimits { connections, calls, calls_per_s, burst, watches } = principal;
    assert_eq!((connections, calls, calls_per_s, burst, watches), (106, 108, 109, 110, 20));
}

#[tokio::test]
async fn the_services_get_the_limits_of_the_file() {
    let (_folder, mut config) = config();
    let passphrase = Passphrase::parse(&SecretBytes::new(b"correct horse battery staple".to_vec())).expect("long enough");
    let slot = FirstSlot::Passphrase(passphrase, Argon2Parameters::for_throwaway());
    let administrators = vec!["spiffe://people.example/ana".parse().expect("valid"), "spiffe://people.example/ben".parse().expect("valid")];
    let new = Init { slot, administrators, single_administrator: false, hsm: None, recovery_recipients: Vec::new() };
    let pins = init(&config, new, |_| Ok(())).await.expect("made");
    config.pinned = Some(config::Pins { vault_id: pins.vault_id, audit_public_key: pins.audit_public_key });
    let parts = Parts::open(&config).await.expect("opened");
    let manner = Manner { hardening: Hardening { core_limit_zero: false, undumpable: false }, reflection: false };
    let (_end, ending) = watch::channel(false);
    let services = services(&config, manner, &parts, ending);
    assert_eq!((services.message_max_bytes, services.payload_max_bytes, services.page_max_items), (40_002, 20_001, 118));
    assert_eq!((services.calls_max, services.watches_max, services.watch_heartbeat.as_secs()), (1_007, 119, 21));
    parts.close().await;
}
