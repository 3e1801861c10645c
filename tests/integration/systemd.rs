//! What systemd does for a service, done by the test: a socket that is passed, and a place to report to.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{PROGRAM, Running, Site, person};

/// The server with what `stdin` is as descriptor 3 and on, `count` times, and told so as systemd tells it.
fn passing(site: &Site, stdin: impl Into<Stdio>, count: usize) -> Command {
    let descriptors: String = (3..3 + count).map(|number| format!("{number}<&0 ")).collect();
    let script = format!("exec {descriptors} </dev/null; export LISTEN_PID=$$ LISTEN_FDS={count}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, PROGRAM, "server", "--config"]).arg(site.path("strongroom.toml")).stdin(stdin);
    command
}

fn listening(on: &str) -> TcpListener {
    TcpListener::bind(on).expect("an address of this host")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_takes_the_socket_that_systemd_passes() {
    let site = Site::with_vault("");
    let listener = listening("127.0.0.1:0");
    let address = listener.local_addr().expect("bound");
    let running = Running::of(passing(&site, OwnedFd::from(listener), 1)).expect("it started");
    assert_eq!(running.address(), address);
    site.unseal(&running).await;
    site.client(&running, &person("ana")).await.list_roles(strongroom::client::Page::default()).await.expect("served");
    assert!(running.stop(), "it ends cleanly");
}

#[test]
fn a_socket_elsewhere_than_configured_is_refused() {
    let site = Site::with_vault("");
    // The configuration says 127.0.0.1, and any port.
    let listener = listening("127.0.0.2:0");
    let address = listener.local_addr().expect("bound");
    let why = Running::of(passing(&site, OwnedFd::from(listener), 1)).err().expect("it is another address");
    assert!(why.contains(&address.to_string()) && why.contains("127.0.0.1:0") && why.contains("ListenStream="), "{why}");
    // With a port in the configuration: that port alone.
    let (one, other) = (listening("127.0.0.1:0"), listening("127.0.0.1:0"));
    let (is, configured) = (one.local_addr().expect("bound"), other.local_addr().expect("bound"));
    let text = std::fs::read_to_string(site.path("strongroom.toml")).expect("text");
    let text = text.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{configured}\""), 1);
    std::fs::write(site.path("strongroom.toml"), text).expect("written");
    let why = Running::of(passing(&site, OwnedFd::from(one), 1)).err().expect("it is another port");
    assert!(why.contains(&is.to_string()) && why.contains(&configured.to_string()), "{why}");
    let running = Running::of(passing(&site, OwnedFd::from(other), 1)).expect("this is the one");
    assert_eq!(running.address(), configured);
}

#[test]
fn what_is_not_one_tcp_socket_is_refused() {
    let site = Site::with_vault("");
    let two = Running::of(passing(&site, OwnedFd::from(listening("127.0.0.1:0")), 2)).err().expect("there are two");
    assert!(two.contains("2 sockets were passed"), "{two}");
    let file = std::fs::File::open(site.path("strongroom.toml")).expect("a file");
    let none = Running::of(passing(&site, file, 1)).err().expect("it is a file");
    assert!(none.contains("not a socket"), "{none}");
}

/// The next message that says what `about` does, with the signs of life before it.
fn hear(socket: &UnixDatagram, about: &str) -> (String, usize) {
    let mut signs = 0;
    loop {
        let mut message = [0; 1024];
        let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("nothing about {about}: {error}"));
        let message = String::from_utf8_lossy(&message[..length]).into_owned();
        if message.contains(about) {
            return (message, signs);
        }
        assert_eq!(message, "WATCHDOG=1\n", "while waiting for {about}");
        signs += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_readiness_state_life_and_end() {
    let site = Site::with_vault("");
    let socket = UnixDatagram::bind(site.path("notify")).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut command = site.command("server");
    command.env("NOTIFY_SOCKET", site.path("notify")).env("WATCHDOG_USEC", "40000");
    let running = Running::of(command).expect("it started");
    let (ready, _) = hear(&socket, "READY=1");
    assert!(ready.contains("STATUS=sealed"), "{ready}");
    site.unseal(&running).await;
    hear(&socket, "STATUS=open");
    for _ in 0..3 {
        hear(&socket, "WATCHDOG=1");
    }
    site.client(&running, &person("cleo")).await.seal("a test").await.expect("sealed");
    hear(&socket, "STATUS=sealed");
    assert!(running.stop(), "it ends cleanly");
    hear(&socket, "STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_watched_gives_no_sign_of_life() {
    let site = Site::with_vault("");
    let socket = UnixDatagram::bind(site.path("notify")).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let mut command = site.command("server");
    // Somebody else is watched.
    command.env("NOTIFY_SOCKET", site.path("notify")).env("WATCHDOG_USEC", "40000").env("WATCHDOG_PID", "1");
    let running = Running::of(command).expect("it started");
    hear(&socket, "READY=1");
    site.unseal(&running).await;
    assert!(running.stop(), "it ends cleanly");
    assert_eq!(hear(&socket, "STATUS=open").1 + hear(&socket, "STOPPING=1").1, 0);
}
