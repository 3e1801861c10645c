//! The OpenSSL commands of `docs/tls.md`, run as they stand there: what the page tells people to issue is what the door
//! accepts. Those of `strongroom pki` need the program, and are run by `tests/integration/pki.rs`.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::client::tls::{ClientFiles, ClientTls};

const PAGE: &str = include_str!("../../../docs/tls.md");

/// The section's blocks of shell commands, in their order.
fn blocks() -> Vec<&'static str> {
    let (_, section) = PAGE.split_once("\n## Another CA: OpenSSL\n").expect("the page has the section");
    section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("split yields one at least")).collect()
}

fn with(word: &str) -> String {
    blocks().into_iter().find(|block| block.contains(word)).expect("the page has such a block").to_owned()
}

fn run(folder: &Path, script: &str, address: &str) -> String {
    let output = Command::new("sh").args(["-e", "-c", script]).current_dir(folder).env("ADDRESS", address).output().expect("sh runs");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "is openssl installed? {told}");
    told
}

fn server(folder: &Path) -> ServerTls {
    let load = |domain: &str, name: &str, class| {
        let roots = load_certificates(&folder.join(name).join("ca.pem")).expect("loaded");
        let lists = load_crls(&folder.join(name).join("crl.pem")).expect("loaded");
        TrustAnchor::new(domain.parse().expect("valid"), class, roots, Revocation::Crls(lists), now()).expect("good")
    };
    let anchors = vec![load("shop.example", "workloads", Class::Workload), load("people.example", "people", Class::Operator)];
    let chain = load_certificates(&folder.join("workloads/strongroom.pem")).expect("loaded");
    let key = load_private_key(&folder.join("workloads/strongroom.key")).expect("loaded");
    ServerTls::new(chain, key, anchors, Arc::new(SystemClock)).expect("built")
}

fn client(folder: &Path, certificate: &str, key: &str) -> ClientTls {
    let files = ClientFiles { roots: folder.join("workloads/ca.pem"), certificate: folder.join(certificate), key: folder.join(key) };
    ClientTls::from_files(&files, id("spiffe://shop.example/strongroom")).expect("loaded")
}

#[tokio::test]
async fn what_the_page_issues_is_accepted_and_what_it_revokes_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (handshake, revoke) = (with("s_client"), with("-revoke"));
    let issue: Vec<&str> = blocks().into_iter().filter(|&block| block != handshake && block != revoke).collect();
    let told = run(folder, &issue.join("\n"), "");
    assert!(told.contains("URI:spiffe://shop.example/backend") && told.contains("backend.pem: OK"), "{told}");

    let mut door = Door::open(server(folder)).await;
    let backend = client(folder, "workloads/backend.pem", "workloads/backend.key");
    let (connection, _client) = door.knock(backend.config()).await.expect("let in");
    assert_eq!((&connection.peer().principal.id, connection.peer().principal.class), (&id(BACKEND), Class::Workload));
    let printed = run(folder, "openssl x509 -in workloads/backend.pem -noout -serial", "").to_lowercase();
    assert_eq!(printed.trim().trim_start_matches("serial=").trim_start_matches('0'), connection.peer().serial.trim_start_matches('0'));
    let (connection, _client) = door.knock(client(folder, "people/alice.pem", "people/alice.key").config()).await.expect("let in");
    assert_eq!(
        (&connection.peer().principal.id, connection.peer().principal.class),
        (&id("spiffe://people.example/alice"), Class::Operator)
    );

    // Another TLS library, and one of a version that may lack the post-quantum group.
    let (at, address) = (folder.to_owned(), door.address.to_string());
    let openssl = tokio::task::spawn_blocking(move || run(&at, &handshake, &address));
    // Held until openssl has left: it would call a server that leaves first an error.
    let connection = door.answer().await.expect("let in");
    let peer = connection.peer();
    assert_eq!((&peer.principal.id, peer.post_quantum), (&id(BACKEND), peer.tls_group == "X25519MLKEM768"));
    assert!(openssl.await.expect("no panic").contains("TLSv1.3"));

    run(folder, &revoke, "");
    door.live.replace(server(folder)).expect("in force");
    assert_eq!(door.knock(backend.config()).await.err(), Some(Refusal::Revoked.why()));
}
