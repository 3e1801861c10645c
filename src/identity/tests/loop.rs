//! What strangers can do to the accept loop: nothing that others would notice.

use std::process::Command;
use std::time::Instant;

use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn door() -> (World, Door) {
    let world = World::new();
    let door = Door::open(world.tls(world.anchors(&[]))).await;
    (world, door)
}

async fn say(door: &Door, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(door.address).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    stream
}

async fn a_good_client_gets_in(world: &World, door: &mut Door) {
    let client = world.client(&world.backend()).config();
    let start = Instant::now();
    loop {
        match door.knock(Arc::clone(&client)).await {
            Ok(_) => return,
            // What was reported of strangers before.
            Err(_) => assert!(start.elapsed() < PATIENCE, "only strangers"),
        }
        // So that its own earlier handshakes end, of which one address may have so many.
        while door.strangers.try_recv().is_ok() {}
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn plain_text_is_turned_away() {
    let (world, mut door) = door().await;
    let _http = say(&door, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(door.answer().await.err(), Some(Refusal::Handshake.why()));
    a_good_client_gets_in(&world, &mut door).await;
}

/// A ClientHello of TLS 1.2 as RFC 5246 has it, without the extension that offers later versions.
fn hello_of_tls12() -> Vec<u8> {
    let extensions: [&[u8]; 3] = [
        &[0, 10, 0, 4, 0, 2, 0, 29],      // supported_groups: x25519
        &[0, 11, 0, 2, 1, 0],             // ec_point_formats: uncompressed
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4], // signature_algorithms
    ];
    let extensions = extensions.concat();
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]); // random
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]); // no session, one suite, no compression
    body.extend_from_slice(&u16::try_from(extensions.len()).expect("short").to_be_bytes());
    body.extend_from_slice(&extensions);
    let length = u8::try_from(body.len()).expect("short");
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend_from_slice(&body);
    record
}

#[tokio::test]
async fn tls_1_2_is_turned_away() {
    let (_world, mut door) = door().await;
    let mut stream = say(&door, &hello_of_tls12()).await;
    assert_eq!(door.answer().await.err(), Some(Refusal::NoTls13.why()));
    let mut alert = [0; 7];
    stream.read_exact(&mut alert).await.expect("an alert");
    assert_eq!(alert[5..], [2, 70], "fatal protocol_version");
}

#[tokio::test]
async fn a_silent_client_is_cut_off_and_holds_nobody_up() {
    let (world, mut door) = door().await;
    let start = Instant::now();
    let mut silent = TcpStream::connect(door.address).await.expect("connected");
    // Answers come in the order in which they are given: the good client has the first, the silent one the second.
    assert!(door.knock(world.client(&world.backend()).config()).await.is_ok(), "waited for the silent one");
    assert_eq!(door.answer().await.err(), Some(Refusal::TimedOut.why()));
    assert!(start.elapsed() >= AcceptLimits::default().handshake_timeout, "{:?}", start.elapsed());
    let end = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 8])).await.expect("an end in time");
    assert!(matches!(end, Ok(0) | Err(_)), "the socket is closed");
}

fn client_hello(world: &World) -> Vec<u8> {
    let config = world.client(&world.backend()).config();
    let mut client = ClientConnection::new(config, ServerName::try_from("localhost").expect("a name")).expect("built");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("written");
    assert_eq!(hello.len(), 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])), "one record");
    hello
}

/// An alert as a record of TLS.
const CLOSE_NOTIFY: &[u8] = &[0x15, 3, 3, 0, 2, 1, 0];

/// A record of TLS with a part of a handshake message.
fn handshake_record(part: &[u8]) -> Vec<u8> {
    let length = u16::try_from(part.len()).expect("short").to_be_bytes();
    [&[0x16, 3, 1], &length[..], part].concat()
}

// immune: row-9
#[tokio::test]
async fn one_byte_at_a_time_and_an_early_end_do_not_hang_it() {
    let (world, mut door) = door().await;
    let hello = client_hello(&world);
    // Each byte by itself, as TCP cuts it and as TLS does.
    for pieces in [hello.chunks(1).map(<[u8]>::to_vec).collect::<Vec<_>>(), hello[5..].chunks(1).map(handshake_record).collect()] {
        let mut stream = TcpStream::connect(door.address).await.expect("connected");
        stream.set_nodelay(true).expect("set");
        for piece in pieces {
            stream.write_all(&piece).await.expect("sent");
            tokio::task::yield_now().await;
        }
        assert_eq!(stream.read_u8().await.expect("an answer"), 0x16, "the server's half of the handshake");
        drop(stream);
        assert_eq!(door.answer().await.err(), Some(Refusal::Handshake.why()));
    }

    let half_a_record = &hello[..hello.len() / 2];
    let half_a_message = handshake_record(&hello[5..hello.len() / 2]);
    for beginning in [&[0_u8; 0][..], half_a_record, &half_a_message, CLOSE_NOTIFY, &[&half_a_message[..], CLOSE_NOTIFY].concat()] {
        drop(say(&door, beginning).await);
        assert_eq!(door.answer().await.err(), Some(Refusal::Handshake.why()));
    }
    a_good_client_gets_in(&world, &mut door).await;
}

// immune: row-9
/// A reader that waits for more from one who has done would spin for ever, and the door with it (RUSTSEC-2024-0336). rustls
/// takes no notice of a close_notify that nothing proves, so the deadline may be what ends it.
#[tokio::test]
async fn who_says_that_he_has_done_and_stays_holds_nobody_up() {
    let world = World::new();
    let limits = AcceptLimits { handshake_timeout: Duration::from_secs(2), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let hello = client_hello(&world);
    let half_a_message = handshake_record(&hello[5..hello.len() / 2]);
    for beginning in [&[0_u8; 0][..], &half_a_message, &hello] {
        let held = say(&door, &[beginning, CLOSE_NOTIFY].concat()).await;
        let why = door.answer().await.err().expect("refused");
        assert!([Refusal::Handshake.why(), Refusal::TimedOut.why()].contains(&why), "{why}");
        a_good_client_gets_in(&world, &mut door).await;
        drop(held);
    }
}

/// Each byte is a record of its own, so that TLS gets on as well as TCP.
#[tokio::test]
async fn a_byte_now_and_then_buys_no_time() {
    let world = World::new();
    let limits = AcceptLimits { handshake_timeout: Duration::from_secs(1), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let records: Vec<_> = client_hello(&world)[5..].chunks(1).map(handshake_record).collect();
    let start = Instant::now();
    let mut stream = TcpStream::connect(door.address).await.expect("connected");
    let trickle = tokio::spawn(async move {
        for record in records {
            if stream.write_all(&record).await.is_err() {
                return;
            }
            tokio::time::sleep(limits.handshake_timeout / 10).await;
        }
    });
    assert_eq!(door.answer().await.err(), Some(Refusal::TimedOut.why()));
    let taken = start.elapsed();
    assert!(taken >= limits.handshake_timeout && taken < 3 * limits.handshake_timeout, "{taken:?}");
    // All of them would take a hundred times as long.
    tokio::time::timeout(PATIENCE, trickle).await.expect("the socket is closed").expect("no panic");
    a_good_client_gets_in(&world, &mut door).await;
}

// immune: row-48
/// Linux hands out a socket that was reset before it was accepted as if it were a good one, so these fail in the handshake.
#[tokio::test]
async fn resets_before_and_after_the_accept_do_not_end_it() {
    let (world, mut door) = door().await;
    for round in 0..100 {
        let stream = std::net::TcpStream::connect(door.address).expect("connected");
        let stream = TcpStream::from_std({
            stream.set_nonblocking(true).expect("set");
            stream
        })
        .expect("registered");
        stream.set_zero_linger().expect("set");
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        drop(stream);
    }
    a_good_client_gets_in(&world, &mut door).await;
}

// immune: row-48
/// The limit of file descriptors belongs to the whole process, so the test runs once more in a process of its own.
#[test]
fn running_out_of_file_descriptors_does_not_end_it() {
    if std::env::var_os("STRONGROOM_TEST_DESCRIPTORS").is_some() {
        return run_out_of_descriptors();
    }
    let output = Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", "identity::tests::accept_loop::running_out_of_file_descriptors_does_not_end_it"])
        .env("STRONGROOM_TEST_DESCRIPTORS", "1")
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

fn run_out_of_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
    runtime.block_on(async {
        let (world, mut door) = door().await;
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).expect("set");
        // No await in between: the loop has accepted none of them when the last descriptor goes.
        let mut held = Vec::new();
        let refused = loop {
            match std::net::TcpStream::connect(door.address) {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(door.strangers.try_recv().is_err(), "accept must have failed by now, and nothing else");
        // Each of them is accepted after all, and found gone.
        for stream in held {
            drop(stream);
            assert!(door.answer().await.is_err());
        }
        a_good_client_gets_in(&world, &mut door).await;
    });
}

#[tokio::test]
async fn more_than_fit_are_turned_away_at_once() {
    let world = World::new();
    let limits = AcceptLimits { handshakes_per_address: 2, connections: 1, ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let client = world.client(&world.backend()).config();
    let inside = door.knock(Arc::clone(&client)).await.expect("let in");
    assert_eq!(door.knock(Arc::clone(&client)).await.err(), Some(Refusal::Crowded.why()), "one connection");
    drop(inside);
    assert!(door.knock(client).await.is_ok(), "its place is free again");

    let _knocking = [say(&door, b"").await, say(&door, b"").await, say(&door, b"").await];
    assert_eq!(door.answer().await.err(), Some(Refusal::Crowded.why()), "two handshakes of one address");
}

#[tokio::test]
async fn it_ends_when_told_and_when_nobody_listens() {
    let world = World::new();
    for told in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let live = Arc::new(LiveTls::new(world.tls(world.anchors(&[])), HighestLists::default()).expect("nothing was seen before"));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stop_future = async move { drop(stopped.await) };
        let mut connections = accept(listener, live, AcceptLimits::default(), drop, stop_future).expect("a thread");
        if told {
            drop(stop);
            assert!(connections.next().await.is_none());
        } else {
            drop(connections);
        }
        let start = Instant::now();
        while TcpStream::connect(address).await.is_ok() {
            assert!(start.elapsed() < PATIENCE, "the listener is still open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
