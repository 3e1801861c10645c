//! Health and metrics over plain HTTP: what machines that watch machines see.

use std::time::{Duration, Instant};

use strongroom::client::Reveal;
use strongroom::model::Environment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Running, Site, person, workload};
use crate::revocation::{site_with_list, write_numbered_list};
use crate::stage::{named, opaque};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a request as bytes, and reads the status and the rest of the answer.
async fn ask(running: &Running, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(running.operations()).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("text");
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (status, answer)
}

/// For how long the server gives everybody the same figures.
const FIGURES_AGE: Duration = Duration::from_secs(1);

/// Status and answer, headers included, of a path. Figures are none from before the call.
pub(crate) async fn get(running: &Running, path: &str) -> (u16, String) {
    if path == "/metrics" {
        tokio::time::sleep(FIGURES_AGE).await;
    }
    get_at_once(running, path).await
}

/// The same, with figures that may be a second old.
pub(crate) async fn get_at_once(running: &Running, path: &str) -> (u16, String) {
    ask(running, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
}

/// What a metric, labels included, is at; zero if it is not shown yet.
pub(crate) async fn figure(running: &Running, name: &str) -> u64 {
    let metrics = get(running, "/metrics").await.1;
    let shown = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    shown.map_or(0, |figure| figure.parse::<f64>().expect("a number") as u64)
}

/// Waits until it lies there.
pub(crate) async fn comes_to(running: &Running, name: &str, wanted: impl std::ops::RangeBounds<u64> + std::fmt::Debug) {
    let begin = Instant::now();
    loop {
        let found = figure(running, name).await;
        if wanted.contains(&found) {
            return;
        }
        assert!(begin.elapsed() < 2 * PATIENCE, "{name} is {found}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_vault_is_alive_and_not_ready_and_an_open_one_is_both() {
    let site = Site::with_vault("");
    let running = site.start();
    assert_eq!(get(&running, "/livez").await.0, 200);
    let (status, told) = get(&running, "/readyz").await;
    assert!(
        status == 503 && told.contains("not ready") && told.contains("NOT vault: sealed") && told.contains("strongroom unseal"),
        "{told}"
    );
    assert!(get(&running, "/metrics").await.1.contains("strongroom_sealed 1"));
    site.unseal(&running).await;
    let (status, told) = get(&running, "/readyz").await;
    assert!(status == 200 && told.contains("\nready\n") && !told.contains("NOT"), "{told}");
    assert!(get(&running, "/metrics").await.1.contains("strongroom_sealed 0"));
    site.client(&running, &person("cleo")).await.seal("a test").await.expect("sealed");
    assert_eq!(get(&running, "/readyz").await.0, 503);
}

// immune: row-5
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_ends_and_files_that_cannot_be_used_are_told_of() {
    let site = site_with_list();
    let now = strongroom::model::Clock::now(&strongroom::model::SystemClock);
    let soon = now.plus(Duration::from_secs(4));
    let list = site.workloads().crl(&[], 1, now, soon).expect("signed");
    strongroom::pki::write_private(&site.path(crate::revocation::LIST), &list).expect("written");
    let running = site.start_open().await;
    assert_eq!(get(&running, "/readyz").await.0, 200);
    let end = format!("strongroom_crl_expiry_timestamp_seconds{{domain=\"apps.test\",issuer=\"workloads\"}} {}.0", soon.unix_ms() / 1_000);
    let metrics = get(&running, "/metrics").await.1;
    assert!(metrics.contains(&end), "{end} is not in {metrics}");
    let begin = Instant::now();
    let told = loop {
        let (status, told) = get(&running, "/readyz").await;
        if status == 503 {
            break told;
        }
        assert!(begin.elapsed() < PATIENCE, "the list has ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(told.contains("NOT revocation lists: that of workloads in apps.test ended"), "{told}");

    write_numbered_list(&site, 2, &[]);
    running.hang_up();
    running.says("were read again and are in force");
    assert_eq!(get(&running, "/readyz").await.0, 200);
    std::fs::write(site.path("pki/server.pem"), "no certificate").expect("written");
    running.hang_up();
    running.says("cannot be used");
    let (status, told) = get(&running, "/readyz").await;
    assert!(
        status == 200 && told.contains("BUT reload: the files as they are now are NOT in force") && told.contains("server.pem"),
        "{told}"
    );
    let metrics = get(&running, "/metrics").await.1;
    for line in ["strongroom_tls_reload_refused 1.0", "strongroom_tls_reloads_total{outcome=\"refused\"} 1.0"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

/// Prometheus' conventions: a help text and a type for each, base units, `_total` for counters and for nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_calls_and_name_no_secret() {
    let site = Site::with_vault("");
    let running = site.start_open().await;
    site.make_namespace(&running, "shop-of-canaries", Environment::Stage).await;
    site.bind(&running, "backend", &workload("backend"), Some("shop-of-canaries")).await;
    let client = site.client(&running, &workload("backend")).await;
    let name = named("shop-of-canaries/merchants/canary");
    client.create_secret(opaque(&name, "value")).await.expect("stored");
    for _ in 0..3 {
        client.reveal_secret(Reveal::latest(&name)).await.expect("revealed");
    }
    client.reveal_secret(Reveal::latest(&named("shop-of-canaries/no/canary"))).await.expect_err("it is not there");
    let stranger = TcpStream::connect(running.address()).await.expect("connected");
    drop(stranger);
    let begin = Instant::now();
    let metrics = loop {
        let (status, metrics) = get(&running, "/metrics").await;
        assert_eq!(status, 200);
        if metrics.contains("strongroom_connections_refused_total{") {
            break metrics;
        }
        assert!(begin.elapsed() < PATIENCE, "the stranger is not counted: {metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for line in [
        "strongroom_grpc_calls_total{method=\"RevealSecret\",code=\"OK\"} 3",
        "strongroom_grpc_calls_total{method=\"RevealSecret\",code=\"NOT_FOUND\"} 1",
        "strongroom_grpc_calls_total{method=\"CreateSecret\",code=\"OK\"} 1",
        "strongroom_grpc_call_duration_seconds_count{method=\"RevealSecret\"} 4",
        "strongroom_audit_writable 1.0",
        "strongroom_store_writable 1.0",
        "strongroom_memory_protected",
        "strongroom_connections_refused_total{reason=\"the handshake failed\"} 1",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|shown| shown == line || shown.split(' ').next() == Some(line)), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("content-type: application/openmetrics-text"));
    assert!(!metrics.contains("canar") && !metrics.contains("merchants") && !metrics.contains("spiffe:"), "{metrics}");
    let body = metrics.split("\r\n\r\n").nth(1).expect("a body");
    let kinds: std::collections::BTreeMap<_, _> =
        body.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split_once(' ')).collect();
    assert!(kinds.len() > 25, "{kinds:?}");
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let bare = ["_total", "_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name));
        let kind = kinds.get(bare).unwrap_or_else(|| panic!("{name} has no type"));
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        assert!(body.contains(&format!("# HELP {bare} ")), "{name} has no help");
        assert!(name.starts_with("strongroom_") || name.starts_with("process_"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_gets_a_clear_answer_or_a_clean_end() {
    let site = Site::with_vault("");
    let running = site.start();
    assert_eq!(get(&running, "/").await.0, 404);
    assert_eq!(get(&running, "/metrics/../../etc/passwd").await.0, 404);
    assert_eq!(ask(&running, "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.0, 405);
    assert_eq!(ask(&running, "garbage\r\n\r\n").await.0, 400);
    let long = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(running.operations()).await.expect("connected");
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end in time");
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
}

/// As many as there are places, and some more.
const IDLE: usize = 40;
/// A probe of Kubernetes waits for so long if nobody says otherwise.
const PROBE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_connections_open_keeps_nobody_from_an_answer() {
    let site = Site::with_vault("");
    let running = site.start();
    for said in ["", "GET /livez HTTP/1.1\r\nHost: a\r\n", "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"] {
        let mut held = Vec::new();
        for _ in 0..IDLE {
            let mut stream = TcpStream::connect(running.operations()).await.expect("connected");
            // It may have had to give way already.
            let _ = stream.write_all(said.as_bytes()).await;
            held.push(stream);
        }
        for path in ["/livez", "/readyz", "/metrics"].iter().cycle().take(12) {
            let asked = tokio::time::timeout(PROBE, get_at_once(&running, path)).await;
            assert!(asked.is_ok_and(|(status, _)| [200, 503].contains(&status)), "{path} is not answered beside {said:?}");
        }
        drop(held);
    }
}

/// They all come while the server does not turn, so that it finds them waiting, the probes among them.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_in_a_crowd_is_heard_before_it_must_give_way() {
    let site = Site::with_vault("");
    let running = site.start();
    let process = i32::try_from(running.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    let signal = |signal| rustix::process::kill_process(process, signal).expect("signalled");
    signal(rustix::process::Signal::STOP);
    let (mut silent, mut probes) = (Vec::new(), Vec::new());
    for number in 0..3 * IDLE {
        let mut stream = TcpStream::connect(running.operations()).await.expect("connected");
        if number % 10 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            probes.push(stream);
        } else {
            silent.push(stream);
        }
    }
    signal(rustix::process::Signal::CONT);
    for (number, mut probe) in probes.into_iter().enumerate() {
        let mut answer = String::new();
        let read = tokio::time::timeout(PATIENCE, probe.read_to_string(&mut answer)).await.expect("in time");
        assert!(read.is_ok() && answer.starts_with("HTTP/1.1 200 "), "probe {number}: {read:?} {answer:?}");
    }
    let mut there = 0;
    for mut silent in silent {
        there += usize::from(tokio::time::timeout(Duration::from_millis(5), silent.read_u8()).await.is_err());
    }
    assert!(there <= 32, "{there} connections at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_good_for_one_request_and_a_few_seconds() {
    let site = Site::with_vault("");
    let running = site.start();
    let request = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let (status, answer) = ask(&running, &request.repeat(2)).await;
    assert!(status == 200 && answer.contains("connection: close") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    // A header that never ends, though there is always some more of it.
    let mut stream = TcpStream::connect(running.operations()).await.expect("connected");
    let begin = Instant::now();
    stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").await.expect("sent");
    let mut answer = [0; 1];
    loop {
        let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut answer)).await;
        if read.is_ok_and(|read| read.is_err() || read.is_ok_and(|count| count == 0)) || stream.write_all(b"x").await.is_err() {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "it lives as long as something comes");
    }
    assert!(begin.elapsed() > Duration::from_secs(3), "a slow network has a few seconds");
}

/// Each of them would list the folder of the log and ask both disks.
#[tokio::test(flavor = "multi_thread")]
async fn figures_are_gathered_once_for_all_who_ask_within_a_second() {
    let site = Site::with_vault("");
    let running = site.start();
    let begin = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        // Something that is counted, so that no two gatherings find the same.
        let mut stranger = TcpStream::connect(running.address()).await.expect("connected");
        stranger.write_all(b"no TLS at all").await.expect("sent");
        let mut end = Vec::new();
        let _ = stranger.read_to_end(&mut end).await;
        let (status, answer) = get_at_once(&running, "/metrics").await;
        assert_eq!(status, 200);
        let counted = answer.lines().find(|line| line.starts_with("strongroom_connections_refused_total{"));
        seen.insert(counted.unwrap_or_default().to_owned());
    }
    let most = 2 + usize::try_from(begin.elapsed().as_secs()).expect("few");
    assert!(seen.len() <= most, "gathered {} times in {:?}: {seen:?}", seen.len(), begin.elapsed());
    let last = get(&running, "/metrics").await.1;
    assert!(!seen.iter().any(|counted| !counted.is_empty() && last.contains(&format!("{counted}\n"))), "they are gathered anew: {seen:?}");
}

#[test]
fn it_can_be_left_out_and_does_not_leave_the_host_by_itself() {
    let without = Site::with_vault("[operations]\nlisten = \"none\"\n").start().stop_and_read();
    assert!(!without.contains("health and metrics"), "{without}");
    let site = Site::with_vault("");
    let text = std::fs::read_to_string(site.path("strongroom.toml")).expect("read");
    let open = text.replace("[operations]\nlisten = \"127.0.0.1:0\"", "[operations]\nlisten = \"0.0.0.0:0\"");
    std::fs::write(site.path("strongroom.toml"), open).expect("written");
    let told = crate::revocation::complaint(&site);
    assert!(told.contains("operations.listen") && told.contains("allow_remote"), "{told}");
}

/// Elsewhere (`traces`) they are sent.
#[cfg(not(feature = "otlp"))]
#[test]
fn a_program_that_was_built_without_traces_says_so_and_does_not_start() {
    let site = Site::new("[traces]\nendpoint = \"http://127.0.0.1:4317\"\n");
    let told = crate::revocation::complaint(&site);
    assert!(told.contains("traces: this program was built without traces") && told.contains("--features otlp"), "{told}");
}

pub(crate) const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");
pub(crate) const DASHBOARD: &str = include_str!("../../deploy/grafana/strongroom.json");

/// Words of a text that begin like one of our metrics, without what Prometheus adds to a name.
fn metric_names(text: &str) -> std::collections::BTreeSet<&str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("strongroom_") || word.starts_with("process_"))
        .map(|word| ["_total", "_bucket"].iter().fold(word, |word, end| word.strip_suffix(end).unwrap_or(word)))
        .collect()
}

/// The expressions of the dashboard's panels.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

/// What a server tells to which everything has happened that is shown only then.
pub(crate) async fn all_metrics() -> String {
    let site = site_with_list();
    write_numbered_list(&site, 1, &[]);
    let running = site.start_open().await;
    // One of each kind that is only shown once it has happened.
    site.client(&running, &person("ana")).await.reveal_secret(Reveal::latest(&named("no/such"))).await.expect_err("not there");
    drop(TcpStream::connect(running.address()).await.expect("connected"));
    let begin = Instant::now();
    loop {
        let metrics = get(&running, "/metrics").await.1;
        if metrics.contains("strongroom_connections_refused_total{") && metrics.contains("strongroom_calls_refused_total{") {
            return metrics;
        }
        assert!(begin.elapsed() < PATIENCE, "{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_speak_of_metrics_that_exist() {
    let metrics = all_metrics().await;
    let there: std::collections::BTreeSet<_> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split(' ').next()).collect();
    let expressions = dashboard_expressions().join("\n");
    let (alerts, dashboard) = (metric_names(ALERTS), metric_names(&expressions));
    assert!(alerts.len() > 12 && dashboard.len() > 15, "{alerts:?} {dashboard:?}");
    for name in alerts.union(&dashboard) {
        assert!(there.contains(name), "{name} is no metric of the server");
    }
    // Who watches must not miss one: whatever the server tells stands on the dashboard or in an alert.
    let unseen: Vec<_> = there.iter().filter(|name| !alerts.contains(*name) && !dashboard.contains(*name)).collect();
    let of_little_use = [
        "strongroom_ending",
        "strongroom_policy_generation",
        "strongroom_audit_segments",
        "strongroom_tls_reloads",
        "strongroom_grpc_call_duration_seconds",
    ];
    assert!(unseen.iter().all(|name| of_little_use.contains(name)), "{unseen:?}");
}

/// A reason in an expression that no code gives would never be seen.
#[test]
fn alerts_and_dashboard_ask_for_reasons_and_codes_that_exist() {
    let source: String = ["gate/refusal.rs", "rpc/front.rs", "rpc/status.rs", "identity/refusal.rs", "metrics.rs"]
        .iter()
        .map(|file| std::fs::read_to_string(format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"))).expect("read"))
        .collect();
    let expressions = format!("{ALERTS}\n{}", dashboard_expressions().join("\n"));
    let mut asked = 0;
    for label in ["reason=", "reason=~", "code=~", "code!="] {
        for part in expressions.split(&format!("{label}\"")).skip(1) {
            for word in part.split('"').next().expect("a value").split('|') {
                assert!(source.contains(&format!("\"{word}\"")), "no code gives {word:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 8, "{asked}");
}

/// Prometheus' own tool reads the rules, and tries out when they fire.
#[test]
fn prometheus_takes_the_alerts() {
    for (verb, file) in [("check", "deploy/prometheus/alerts.yaml"), ("test", "tests/vectors/alerts.yaml")] {
        let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        match std::process::Command::new("promtool").args([verb, "rules", &file]).output() {
            Ok(output) => {
                let told = [output.stdout, output.stderr].concat();
                assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&told));
            }
            Err(_) => return crate::required::leave_out("the check of the alert rules", "promtool"),
        }
    }
}
