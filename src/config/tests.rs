//! The file as a whole: the example and the documentation against the code, every bound at its edge, every refusal.

use std::os::unix::fs::PermissionsExt;

use super::*;

const EXAMPLE: &str = include_str!("../../deploy/strongroom.example.toml");
const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");

/// The least that is accepted; `HEAD` holds the keys that must stand before the first table.
const HEAD: &str = "custodians = [\"spiffe://people.example/alice\", \"spiffe://people.example/bob\"]\n";
const REST: &str = r#"
[tls]
certificate = "tls/server.pem"
key = "tls/server.key"
[[tls.trust]]
domain = "shop.example"
class = "workload"
roots = ["tls/workloads-ca.pem"]
max_leaf_lifetime_h = 24
[[tls.trust]]
domain = "people.example"
class = "operator"
roots = ["tls/people-ca.pem"]
crls = ["tls/people.crl"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, PathBuf::from("/etc/strongroom/strongroom.toml"))
}

/// The least file with a key more at the top and more tables at the end.
fn with(head: &str, tail: &str) -> Result<Config, ConfigError> {
    parse(&format!("{head}\n{HEAD}{REST}{tail}"))
}

/// The least file with one text in it replaced.
fn but(from: &str, to: &str) -> Result<Config, ConfigError> {
    let text = format!("{HEAD}{REST}");
    assert!(text.contains(from), "{from} is not in the least file");
    parse(&text.replace(from, to))
}

/// Asserts a refusal of this key whose message holds all of these parts.
fn assert_refused(outcome: Result<Config, ConfigError>, key: &str, parts: &[&str]) {
    let error = outcome.expect_err("must be refused");
    let ConfigError::Refused { key: found, .. } = &error else { panic!("{error}") };
    assert_eq!(found, key, "{error}");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

fn number(key: &str, value: &str) -> Result<Config, ConfigError> {
    let (table, name) = key.split_once('.').expect("in a table");
    // What must fit together gets room, so that each bound is seen alone.
    let company = match name {
        "payload_max_bytes" => "message_max_bytes = 1048576",
        "message_max_bytes" => "payload_max_bytes = 1024",
        "connections_max" => "handshakes_max = 1",
        "handshakes_max" => "connections_max = 65536",
        "handshakes_per_address_max" => "handshakes_max = 1024",
        "connections_per_principal_max" => "connections_max = 65536",
        "calls_per_principal_max" => "calls_max = 65536",
        "watches_per_principal_max" => "watches_max = 4096",
        "watch_heartbeat_s" => "idle_timeout_s = 3600",
        "connection_age_max_s" => "request_timeout_s = 1",
        _ => "",
    };
    with("", &format!("[{table}]\n{company}\n{name} = {value}\n"))
}

#[test]
fn the_example_shows_the_defaults() {
    let example = parse(EXAMPLE).expect("the example is valid");
    let lists = but("max_leaf_lifetime_h = 24", "crls = [\"tls/workloads.crl\"]");
    assert_eq!(example, lists.expect("the least file is valid"));
    for key in keys() {
        let name = key.rsplit('.').next().expect("a name");
        let shown = EXAMPLE
            .lines()
            .any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} = ")) || line.ends_with(&format!("[{key}]]")));
        assert!(shown || EXAMPLE.contains(&format!("[{key}]\n")), "the example lacks {key}");
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let Config { limits, pinned, listen, .. } = with("", "").expect("valid");
    assert_eq!((limits.payload_max_bytes, limits.message_max_bytes), (64 * 1024, 256 * 1024));
    assert_eq!((limits.header_list_max_bytes, limits.streams_per_connection, limits.page_max_items), (16 * 1024, 256, 1_000));
    assert_eq!((limits.handshake_timeout.as_secs(), limits.idle_timeout.as_secs(), limits.connection_age_max.as_secs()), (5, 300, 3_600));
    assert!(listen.ip().is_loopback() && pinned.is_none());
}

#[test]
fn every_number_is_accepted_at_its_edges_and_refused_beyond() {
    for bound in Config::bounds().iter().filter(|bound| !bound.key.contains("[]")) {
        for value in [bound.least, bound.most] {
            number(bound.key, &value.to_string()).unwrap_or_else(|error| panic!("{error}"));
        }
        for value in [bound.least - 1, bound.most + 1, i64::MAX as u64] {
            let range = format!("from {} to {}", bound.least, bound.most);
            assert_refused(number(bound.key, &value.to_string()), bound.key, &[&value.to_string(), &range, "put a number in that range"]);
        }
        assert_refused(number(bound.key, "-1"), bound.key, &["-1"]);
        assert_refused(number(bound.key, "\"64 KiB\""), bound.key, &["expected u64"]);
    }
}

#[test]
fn what_must_fit_together_does() {
    let limits = |keys: &str| with("", &format!("[limits]\n{keys}\n"));
    assert!(limits("message_max_bytes = 81920").is_ok());
    assert_refused(limits("message_max_bytes = 81919"), "limits.message_max_bytes", &["81919", "81920", "lower payload_max_bytes"]);
    assert!(limits("connections_max = 512").is_ok());
    assert_refused(limits("connections_max = 511"), "limits.handshakes_max", &["512", "511"]);
    // One address never has all places unless somebody says so.
    for (typed, per_address) in
        [("", 64), ("handshakes_max = 80", 10), ("handshakes_max = 1", 1), ("handshakes_per_address_max = 512", 512)]
    {
        assert_eq!(limits(typed).expect("valid").limits.handshakes_per_address_max, per_address, "{typed}");
    }
    assert_refused(limits("handshakes_per_address_max = 513"), "limits.handshakes_per_address_max", &["513", "512"]);
    for (whole, part) in [
        ("connections_max", "connections_per_principal_max"),
        ("calls_max", "calls_per_principal_max"),
        ("watches_max", "watches_per_principal_max"),
    ] {
        let both = |share: u32| limits(&format!("handshakes_max = 1\n{whole} = 48\n{part} = {share}"));
        assert!(both(48).is_ok(), "{part}");
        assert_refused(both(49), &format!("limits.{part}"), &["49", "48", whole, "lower it"]);
    }
    for (typed, heartbeat_s) in [("", 30), ("idle_timeout_s = 10", 5), ("idle_timeout_s = 3600", 30), ("watch_heartbeat_s = 299", 299)] {
        assert_eq!(limits(typed).expect("valid").limits.watch_heartbeat.as_secs(), heartbeat_s, "{typed}");
    }
    assert_refused(limits("watch_heartbeat_s = 300"), "limits.watch_heartbeat_s", &["300", "idle_timeout_s"]);
    assert!(limits("connection_age_max_s = 60\nrequest_timeout_s = 60").is_ok());
    assert_refused(limits("connection_age_max_s = 60\nrequest_timeout_s = 61"), "limits.request_timeout_s", &["61", "60"]);
}

/// One principal never has all of it unless somebody says so.
#[test]
fn what_is_not_said_is_a_part_of_what_is() {
    type Part = (&'static str, fn(&Limits) -> u64, &'static [(u64, u64)]);
    let parts: [Part; 4] = [
        ("connections_max", |limits| limits.connections_per_principal_max as u64, &[(1_024, 512), (9, 4), (8, 4)]),
        ("calls_max", |limits| limits.calls_per_principal_max as u64, &[(2_048, 1_024), (17, 8), (16, 8)]),
        ("watches_max", |limits| limits.watches_per_principal_max as u64, &[(512, 64), (15, 1), (8, 1), (7, 1), (1, 1)]),
        ("calls_per_principal_per_s", |limits| limits.calls_per_principal_burst.into(), &[(1_000, 2_000), (1, 2), (1_000_000, 2_000_000)]),
    ];
    for (whole, part, expected) in parts {
        for &(typed, meant) in expected {
            let limits = with("", &format!("[limits]\nhandshakes_max = 1\n{whole} = {typed}\n")).expect("valid").limits;
            assert_eq!(part(&limits), meant, "{whole} = {typed}");
        }
        // The first is the default of the whole.
        assert_eq!(part(&with("", "").expect("valid").limits), expected[0].1, "{whole}");
    }
}

#[test]
fn an_error_names_file_line_and_key() {
    let error = with("", "[limits]\nidle_timeout_s = 300\npage_max_items = 0\n").expect_err("refused");
    let line = format!("\n{HEAD}{REST}").lines().count() + 3;
    let start = format!("/etc/strongroom/strongroom.toml:{line}: limits.page_max_items: is 0 but must be from 10 to 1000");
    assert!(error.to_string().starts_with(&start), "{error}");

    let error = with("", "[limits]\npage_max = 10\n").expect_err("refused");
    assert!(
        error.to_string().starts_with(&format!("/etc/strongroom/strongroom.toml:{}: limits.page_max: unknown field", line - 1)),
        "{error}"
    );

    let error = parse("listen = \n").expect_err("no TOML");
    assert!(matches!(error, ConfigError::Syntax { line: Some(1), .. }), "{error}");
    let error = but("class = \"operator\"", "").expect_err("refused");
    assert!(error.to_string().contains("strongroom.toml:11: tls.trust[1].class: is missing"), "{error}");
}

#[test]
fn no_refusal_repeats_a_text_that_was_typed() {
    const CANARY: &str = "hunter2 \\\" canary";
    let spellings = [
        with(&format!("vault_id = \"{CANARY}\"\naudit_public_key = \"00\""), ""),
        with(&format!("audit_public_key = \"{CANARY}\"\nvault_id = \"{}\"", "0".repeat(32)), ""),
        with(&format!("listen = \"{CANARY}\""), ""),
        with(&format!("node = \"{CANARY}\""), ""),
        with(&format!("passphrase = \"{CANARY}\""), ""),
        with("", &format!("[limits]\npage_max_items = \"{CANARY}\"")),
        with("", &format!("[limits]\npage_max_items = \"{CANARY}")),
        with("", &format!("[log]\nlevel = \"{CANARY}\"")),
        with("", &format!("[log]\nformat = \"{CANARY}\"")),
        with(&format!("limits = \"{CANARY}\""), ""),
        parse(&format!("custodians = \"{CANARY}\"\n{REST}")),
        but("\"spiffe://people.example/bob\"", &format!("\"{CANARY}\"")),
        but("\"operator\"", &format!("\"{CANARY}\"")),
        but("max_leaf_lifetime_h = 24", &format!("revocation = \"{CANARY}\"")),
        but("\"shop.example\"", &format!("\"{CANARY}\"")),
        with("", &HSM.replace("\"main\"", &format!("\"{CANARY}\""))),
        with("", &HSM.replace("\"strongroom\"", &format!("\" {CANARY}\""))),
        with("", &format!("{HSM}pin = \"{CANARY}\"")),
        with("", &format!("{HSM}timeout_s = \"{CANARY}\"")),
    ];
    for outcome in spellings {
        let error = outcome.expect_err("must be refused");
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains("canary"), "{shown}");
        }
    }
}

#[test]
fn the_two_folders_lie_apart() {
    for (data, audit) in [("/srv/a", "/srv/a"), ("/srv/a", "/srv/a/audit"), ("/srv/a/data", "/srv/a"), ("a", "./b/../a/c"), ("..", "audit")]
    {
        let outcome = with(&format!("data_folder = \"{data}\"\naudit_folder = \"{audit}\""), "");
        assert_refused(outcome, "audit_folder", &["volume of its own"]);
    }
    let config = with("data_folder = \"data\"\naudit_folder = \"../audit\"", "").expect("apart");
    assert_eq!((config.data_folder, config.audit_folder), (PathBuf::from("/etc/strongroom/data"), PathBuf::from("/etc/audit")));
    assert_refused(with("data_folder = \"\"", ""), "data_folder", &["is empty"]);
}

#[test]
fn pins_come_in_twos_and_the_server_insists_on_them() {
    let (id, key) = ("0f".repeat(16), "a1".repeat(32));
    let config = with(&format!("vault_id = \"{id}\"\naudit_public_key = \"{key}\""), "").expect("valid");
    let pins = config.pins().expect("pinned");
    assert_eq!((pins.vault_id.to_string(), pins.audit_public_key), (id.clone(), [0xa1; 32]));

    assert_refused(with(&format!("vault_id = \"{id}\""), ""), "audit_public_key", &["twin"]);
    assert_refused(with(&format!("audit_public_key = \"{key}\""), ""), "vault_id", &["twin"]);
    for bad in ["a1".repeat(31), "a1".repeat(33), "A1".repeat(32), "zz".repeat(32)] {
        assert_refused(with(&format!("vault_id = \"{id}\"\naudit_public_key = \"{bad}\""), ""), "audit_public_key", &["64 lowercase hex"]);
    }
    for bad in ["0f".repeat(15) + "0", "0f".repeat(16) + "0", "0F".repeat(16), "0g".repeat(16), String::new()] {
        assert_refused(with(&format!("vault_id = \"{bad}\"\naudit_public_key = \"{key}\""), ""), "vault_id", &["32 lowercase hex"]);
    }
    let message = with("", "").expect("valid").pins().expect_err("not pinned").to_string();
    assert!(message.contains("strongroom init") && message.contains("vault_id"), "{message}");
}

#[test]
fn listen_and_node_are_what_they_should_be() {
    assert_eq!(with("listen = \"[::]:0\"", "").expect("valid").listen.port(), 0);
    for bad in ["localhost:7443", "127.0.0.1", ":7443", "127.0.0.1:65536", "239.0.0.1:7443"] {
        assert_refused(with(&format!("listen = \"{bad}\""), ""), "listen", &[]);
    }
    assert_eq!(with(&format!("node = \"{}\"", "n".repeat(64)), "").expect("valid").node.len(), 64);
    for bad in [String::new(), "n".repeat(65), "a b".into(), "a/b".into(), "..".into(), "a\u{e9}".into()] {
        assert_refused(with(&format!("node = \"{bad}\""), ""), "node", &["1 to 64"]);
    }
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_program_that_was_built_without_traces_refuses_the_section_by_name() {
    for keys in ["", "endpoint = \"http://127.0.0.1:4317\"", "sample_ratio = 0"] {
        let outcome = with("", &format!("[traces]\n{keys}\n"));
        assert_refused(outcome, "traces", &["built without traces", "--features otlp", "leave the section out"]);
    }
}

#[cfg(feature = "otlp")]
fn traces(keys: &str) -> Result<Config, ConfigError> {
    with("", &format!("[traces]\n{keys}\n"))
}

#[cfg(feature = "otlp")]
#[test]
fn traces_stay_on_the_host_unless_somebody_says_so() {
    let to = |endpoint: &str, more: &str| traces(&format!("endpoint = \"{endpoint}\"\n{more}"));
    assert_eq!(traces("sample_ratio = 1").expect("valid").traces, None);
    for own in ["http://127.0.0.1:4317", "http://127.9.9.9:1/", "http://[::1]:4317"] {
        let found = to(own, "").expect("valid").traces.expect("on");
        assert_eq!((found.endpoint, found.sample_ratio), (own.parse().expect("an address"), 0.01));
    }
    let others = ["10.0.0.1", "[2001:db8::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "collector.internal", "localhost", "127.0.0.1.example"];
    for other in others.map(|host| format!("http://{host}:4317")) {
        for more in ["", "allow_remote = false"] {
            assert_refused(to(&other, more), "traces.endpoint", &["plain text", "127.0.0.1:4317", "allow_remote = true"]);
        }
        assert!(to(&other, "allow_remote = true").expect("somebody said so").traces.is_some(), "{other}");
    }
    for host in ["", "http://", "127.0.0.1:4317", "http://127.0.0.1", "http://127.0.0.1:4317/v1", "http://127.0.0.1:4317?a", "no uri"] {
        assert_refused(to(host, "allow_remote = true"), "traces.endpoint", &["http://127.0.0.1:4317", "without TLS"]);
    }
    for bad in ["https://127.0.0.1:4317", "grpc://127.0.0.1:4317", "http://user:word@127.0.0.1:4317"] {
        let message = to(bad, "").expect_err("must be refused").to_string();
        assert!(message.contains("traces.endpoint") && message.contains("without TLS") && !message.contains("word@"), "{message}");
    }
}

#[cfg(feature = "otlp")]
#[test]
fn the_ratio_of_traces_is_accepted_at_its_edges_and_refused_beyond() {
    for (typed, meant) in [("0", 0.0), ("0.0", 0.0), ("0.25", 0.25), ("1", 1.0), ("1.0", 1.0)] {
        let found = traces(&format!("endpoint = \"http://127.0.0.1:4317\"\nsample_ratio = {typed}"));
        assert_eq!(found.expect("valid").traces.expect("on").sample_ratio, meant);
    }
    for beyond in ["-0.000001", "1.000001", "2", "-1", "nan", "inf"] {
        assert_refused(traces(&format!("sample_ratio = {beyond}")), "traces.sample_ratio", &["from 0", "to 1", "leave it out for 0.01"]);
    }
}

/// The example has the section in a comment, since not every program takes it.
#[cfg(feature = "otlp")]
#[test]
fn the_example_of_traces_shows_the_defaults() {
    let (_, section) = EXAMPLE.split_once("# [traces]\n").expect("the section");
    let keys = section.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains(" = "));
    let shown = traces(&keys.collect::<Vec<_>>().join("\n")).expect("valid");
    assert_eq!(shown, traces("endpoint = \"http://127.0.0.1:4317\"").expect("valid"));
}

#[test]
fn how_revocation_is_known_is_said_in_exactly_one_way() {
    let way = |text: &str| but("max_leaf_lifetime_h = 24", text);
    let found = |text: &str| way(text).expect("valid").tls.trust.remove(0).revocation;
    assert_eq!(found("max_leaf_lifetime_h = 1"), Revocation::ShortLived { max_leaf_lifetime: Duration::from_secs(3_600) });
    assert_eq!(found("crls = [\"a.crl\"]"), Revocation::Lists(vec![PathBuf::from("/etc/strongroom/a.crl")]));
    assert_eq!(found("revocation = \"none\""), Revocation::None);

    for text in [
        "",
        "crls = [\"a\"]\nrevocation = \"none\"",
        "crls = [\"a\"]\nmax_leaf_lifetime_h = 1",
        "max_leaf_lifetime_h = 1\nrevocation = \"none\"",
    ] {
        assert_refused(way(text), "tls.trust[0]", &["exactly one way", "crls = [files]", "max_leaf_lifetime_h", "revocation = \"none\""]);
    }
    for hours in ["0", "25"] {
        assert_refused(way(&format!("max_leaf_lifetime_h = {hours}")), "tls.trust[0].max_leaf_lifetime_h", &[hours, "from 1 to 24"]);
    }
    assert_refused(way("crls = []"), "tls.trust[0].crls", &["at least one"]);
    assert_refused(way("revocation = \"off\""), "tls.trust[0].revocation", &["\"none\""]);
}

#[test]
fn a_domain_stands_once_and_a_root_serves_one_domain() {
    assert_refused(but("\"people.example\"\nclass", "\"shop.example\"\nclass"), "tls.trust[1].domain", &["twice"]);
    assert_refused(but("tls/people-ca.pem", "./x/../tls/workloads-ca.pem"), "tls.trust[1].roots", &["one domain only"]);
    assert_refused(but("roots = [\"tls/people-ca.pem\"]", "roots = []"), "tls.trust[1].roots", &["at least one"]);
    assert_refused(but("roots = [\"tls/people-ca.pem\"]", ""), "tls.trust[1].roots", &["missing"]);
    assert_refused(but("class = \"operator\"", "class = \"Operator\""), "tls.trust[1].class", &["\"workload\"", "\"operator\""]);
    assert_refused(but("certificate = \"tls/server.pem\"", ""), "tls.certificate", &["missing", "PEM"]);
    assert_refused(but("key = \"tls/server.key\"", "key = \"\""), "tls.key", &["missing", "PEM"]);
    assert_refused(parse(HEAD), "tls.certificate", &["missing"]);
    assert_refused(parse(&format!("{HEAD}[tls]\ncertificate = \"a\"\nkey = \"b\"\n")), "tls.trust", &["[[tls.trust]]"]);
}

#[test]
fn custodians_are_people() {
    assert_refused(but("spiffe://people.example/bob", "spiffe://shop.example/bob"), "custodians[1]", &["only people unseal"]);
    assert_refused(but("spiffe://people.example/bob", "spiffe://elsewhere.example/bob"), "custodians[1]", &["only people unseal"]);
    assert_refused(but("spiffe://people.example/bob", "spiffe://people.example/alice"), "custodians[1]", &["twice"]);
    assert_refused(but("spiffe://people.example/bob", "bob"), "custodians[1]", &["spiffe://"]);
    for none in [String::new(), "custodians = []\n".to_owned()] {
        assert_refused(parse(&format!("{none}{REST}")), "custodians", &["at least one"]);
    }
}

#[test]
fn lists_are_bounded() {
    let list = |count: usize| (0..count).map(|index| format!("\"spiffe://people.example/{index}\"")).collect::<Vec<_>>().join(", ");
    assert_eq!(parse(&format!("custodians = [{}]\n{REST}", list(64))).expect("valid").custodians.len(), 64);
    assert_refused(parse(&format!("custodians = [{}]\n{REST}", list(65))), "custodians", &["65", "from 1 to 64"]);
    let domain =
        |index| format!("[[tls.trust]]\ndomain = \"d{index}\"\nclass = \"workload\"\nroots = [\"{index}\"]\nrevocation = \"none\"\n");
    let domains = |count: usize| (2..count).map(domain).collect::<String>();
    assert_eq!(with("", &domains(64)).expect("valid").tls.trust.len(), 64);
    assert_refused(with("", &domains(65)), "tls.trust", &["65", "from 1 to 64"]);
    let files = |count: usize| (0..count).map(|index| format!("\"{index}.pem\"")).collect::<Vec<_>>().join(", ");
    let roots = |count: usize| but("roots = [\"tls/people-ca.pem\"]", &format!("roots = [{}]", files(count)));
    let crls = |count: usize| but("crls = [\"tls/people.crl\"]", &format!("crls = [{}]", files(count)));
    assert_eq!(roots(64).expect("valid").tls.trust[1].roots.len(), 64);
    assert_refused(roots(65), "tls.trust[1].roots", &["65", "from 1 to 64"]);
    assert!(matches!(&crls(64).expect("valid").tls.trust[1].revocation, Revocation::Lists(files) if files.len() == 64));
    assert_refused(crls(65), "tls.trust[1].crls", &["65", "from 1 to 64"]);
}

const HSM: &str = "[[hsm]]\nname = \"main\"\nmodule = \"/lib/p11.so\"\ntoken = \"strongroom\"\nkey = \"root\"\npin_file = \"pin\"\n";

#[test]
fn an_hsm_has_a_name_a_key_and_a_pin_in_a_file() {
    let found = with("", HSM).expect("valid").hsms.remove(0);
    assert_eq!((found.name.to_string().as_str(), found.unseal_at_start, found.token.timeout.as_secs()), ("main", false, 10));
    assert_eq!((found.token.module, found.token.pin_file), (PathBuf::from("/lib/p11.so"), PathBuf::from("/etc/strongroom/pin")));
    assert_eq!((found.token.labels.token.as_str(), found.token.labels.key.as_str()), ("strongroom", "root"));
    for (key, bad) in [
        ("name", &["\"\"", "\"Main\"", "\"a b\""][..]),
        ("module", &["\"\""]),
        ("token", &["\"\"", "\" a\"", "\"a\\n\"", "\"\u{e9}\""]),
        ("key", &["\"\"", "\"a \""]),
        ("pin_file", &["\"\""]),
    ] {
        let line = HSM.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("a line");
        assert_refused(with("", &HSM.replace(line, "")), &format!("hsm[0].{key}"), &["is missing"]);
        for bad in bad {
            assert_refused(with("", &HSM.replace(line, &format!("{key} = {bad}"))), &format!("hsm[0].{key}"), &[]);
        }
    }
    for (key, at) in [("name", 63), ("token", 32), ("key", 64)] {
        let line = HSM.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("a line");
        let long = |length: usize| with("", &HSM.replace(line, &format!("{key} = \"{}\"", "x".repeat(length))));
        assert!(long(at).is_ok());
        assert_refused(long(at + 1), &format!("hsm[0].{key}"), &[]);
    }
    for seconds in [1, 120] {
        assert_eq!(with("", &format!("{HSM}timeout_s = {seconds}\n")).expect("valid").hsms[0].token.timeout.as_secs(), seconds);
    }
    for seconds in ["0", "121"] {
        assert_refused(with("", &format!("{HSM}timeout_s = {seconds}\n")), "hsm[0].timeout_s", &[seconds, "from 1 to 120"]);
    }
    let named = |name: &str| with("", HSM).expect("valid").hsm(&name.parse().expect("valid")).is_some();
    assert!(named("main") && !named("other"));
}

#[test]
fn each_hsm_and_each_key_stands_once_and_there_are_eight_at_most() {
    let another = |index: usize| HSM.replace("\"main\"", &format!("\"h{index}\"")).replace("\"root\"", &format!("\"k{index}\""));
    let many = |count| (0..count).map(another).collect::<String>();
    assert_eq!(with("", &many(8)).expect("valid").hsms.len(), 8);
    assert_refused(with("", &many(9)), "hsm", &["9", "at most 8"]);
    assert_refused(with("", &format!("{HSM}{}", another(1).replace("h1", "main"))), "hsm[1].name", &["twice"]);
    assert_refused(with("", &format!("{HSM}{}", another(1).replace("k1", "root"))), "hsm[1].key", &["another HSM's"]);
}

/// The example has the section in a comment, since few have an HSM.
#[test]
fn the_example_of_an_hsm_shows_the_defaults() {
    let (_, section) = EXAMPLE.split_once("# [[hsm]]\n").expect("the section");
    let section = section.split_once("\n\n").expect("it ends").0;
    let keys: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.contains(" = ")).collect();
    let shown = with("", &format!("[[hsm]]\n{}\n", keys.join("\n"))).expect("valid").hsms.remove(0);
    assert_eq!((shown.unseal_at_start, shown.token.timeout.as_secs(), keys.len()), (false, 10, 7));
}

#[test]
fn a_file_that_strangers_may_write_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("strongroom.toml");
    let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own");
    std::fs::write(&file, EXAMPLE).expect("writes");
    let problem = || Config::load(&file).expect_err("must be refused").to_string();

    allow(&file, 0o644);
    assert_eq!(Config::load(&file).expect("valid").tls.key, folder.path().canonicalize().expect("exists").join("tls/server.key"));
    allow(&file, 0o602);
    assert!(problem().contains("chmod o-w"));
    allow(&file, 0o600);
    allow(folder.path(), 0o777);
    assert!(problem().contains("folder where everybody"));
    allow(folder.path(), 0o1777);
    assert!(Config::load(&file).is_ok());

    let padding = (1 << 20) - EXAMPLE.len() - 1;
    std::fs::write(&file, format!("{EXAMPLE}#{}", "x".repeat(padding))).expect("writes");
    assert!(Config::load(&file).is_ok(), "1 MiB to the byte");
    std::fs::write(&file, format!("{EXAMPLE}#{}", "x".repeat(padding + 1))).expect("writes");
    assert!(problem().contains("1 MiB"));
    assert!(Config::load(folder.path()).expect_err("a folder").to_string().contains("no regular file"));
    assert!(matches!(Config::load(&folder.path().join("absent")), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn the_documentation_has_every_key_with_its_default_and_bounds() {
    let rows: Vec<_> = DOCUMENTATION.lines().filter(|line| line.starts_with("| `")).collect();
    let documented: Vec<_> = rows.iter().map(|row| row.split('`').nth(1).expect("a key").to_owned()).collect();
    let tables = ["tls", "limits", "store", "audit", "operations", "log", "traces"];
    let expected: Vec<_> = keys().into_iter().filter(|key| !tables.contains(&key.as_str())).collect();
    assert_eq!(documented.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect());
    for table in tables {
        assert!(DOCUMENTATION.contains(&format!("\n## `[{table}]`\n")), "{table}");
    }
    for bound in Config::bounds() {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{}` |", bound.key))).expect("documented");
        assert!(row.contains(&format!("| {} to {}", bound.least, bound.most)), "{row}");
        assert!(bound.default.is_none_or(|default| row.contains(&format!("| {default} |"))), "{row}");
    }
}

/// Every key that the first step knows, found by asking it for one that it does not know.
fn keys() -> Vec<String> {
    let mut found = Vec::new();
    collect("", &mut found);
    assert!(found.contains(&"tls.trust[].crls".to_owned()) && found.contains(&"log.level".to_owned()), "{found:?}");
    found
}

fn collect(table: &str, found: &mut Vec<String>) {
    let header = match table {
        "" => String::new(),
        list if list.ends_with("[]") => format!("[[{}]]\n", list.trim_end_matches("[]")),
        table => format!("[{table}]\n"),
    };
    let Err(error) = toml::from_str::<raw::RawConfig>(&format!("{header}no_such_key = 1\n")) else { panic!("{table} takes anything") };
    let Some((_, known)) = error.message().split_once("expected ") else { return };
    for name in known.split('`').skip(1).step_by(2) {
        let key = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
        let unknown = |text: String| toml::from_str::<raw::RawConfig>(&text).is_err_and(|error| error.message().contains("no_such_key"));
        found.push(key.clone());
        if unknown(format!("[[{key}]]\nno_such_key = 1\n")) {
            collect(&format!("{key}[]"), found);
        } else if unknown(format!("[{key}]\nno_such_key = 1\n")) {
            collect(&key, found);
        }
    }
}
