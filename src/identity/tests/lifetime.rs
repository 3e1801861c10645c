//! When a connection ends: with its certificate, with age, idle, or when its proof no longer holds.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::server::Connected as _;

use super::*;

/// Sends everything back until the connection ends.
fn echo(connection: Connection) {
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(connection);
        drop(tokio::io::copy(&mut from, &mut to).await);
        drop(to.shutdown().await);
    });
}

/// Whether a byte comes back; `false` once the connection has ended.
async fn answers(client: &mut TlsStream<TcpStream>) -> bool {
    let exchange = async {
        client.write_all(b"x").await?;
        client.read_u8().await
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer or an end in time").is_ok()
}

/// Waits until the server ends the connection by itself.
async fn end(client: &mut TlsStream<TcpStream>) {
    let read = tokio::time::timeout(PATIENCE, client.read_u8()).await.expect("an end in time");
    assert!(read.is_err(), "nothing was asked, so nothing comes");
}

/// The vault's clock stands still shortly before the certificate's end, so that it does not pass during the handshake. Age
/// and idleness would take far longer than anybody waits here.
#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let world = World::new();
    let leaf = world.workloads.issue_client(&id(BACKEND), now(), HOUR / 2).expect("issued");
    let clock = Hands::at(now().plus(HOUR / 2 - Duration::from_secs(4)));
    let mut door = Door::open(world.tls_by(world.anchors(&[]), clock.clone())).await;
    let start = Instant::now();
    let (connection, mut client) = door.knock(world.client(&leaf).config()).await.expect("let in");
    let remaining = connection.peer().not_after.since(clock.now());
    assert!(remaining > Duration::from_secs(2) && remaining < Duration::from_secs(5), "{remaining:?}");
    echo(connection);
    assert!(answers(&mut client).await);
    end(&mut client).await;
    assert!(start.elapsed() >= remaining, "{:?} of {remaining:?}", start.elapsed());
}

#[tokio::test]
async fn traffic_does_not_prolong_a_connections_age() {
    let world = World::new();
    let limits = AcceptLimits { age: Duration::from_secs(2), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let start = Instant::now();
    let (connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    echo(connection);
    assert!(answers(&mut client).await, "it is young");
    while answers(&mut client).await {
        assert!(start.elapsed() < PATIENCE, "still served after {:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(start.elapsed() >= limits.age, "{:?}", start.elapsed());
}

#[tokio::test]
async fn bytes_that_came_before_the_end_are_not_read_after_it() {
    let world = World::new();
    let limits = AcceptLimits { age: Duration::from_secs(2), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let (mut connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    client.write_all(b"in time, in time").await.expect("sent");
    client.flush().await.expect("sent");
    assert_eq!(connection.read_u8().await.expect("still good"), b'i');
    tokio::time::sleep(limits.age).await;
    assert_eq!(connection.read(&mut [0; 8]).await.expect("an end, no error"), 0);
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_used_one_does_not() {
    let world = World::new();
    let limits = AcceptLimits { idle: Duration::from_secs(2), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let (connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    echo(connection);
    let first_use = Instant::now();
    let mut last_use = first_use;
    while first_use.elapsed() < limits.idle + limits.idle / 4 {
        tokio::time::sleep(limits.idle / 10).await;
        last_use = Instant::now();
        assert!(answers(&mut client).await, "use is no idleness");
    }
    end(&mut client).await;
    assert!(last_use.elapsed() >= limits.idle, "{:?}", last_use.elapsed());
}

#[tokio::test]
async fn whoever_is_revoked_is_cut_off_before_the_next_byte_and_nobody_else() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let (bad, good) = (world.backend(), world.backend());
    let (connection, mut bad_client) = door.knock(world.client(&bad).config()).await.expect("let in");
    echo(connection);
    let (connection, mut good_client) = door.knock(world.client(&good).config()).await.expect("let in");
    echo(connection);
    assert!(answers(&mut bad_client).await && answers(&mut good_client).await);

    door.live.replace(world.tls(world.anchors(&[&bad.serial()]))).expect("in force");
    assert!(!answers(&mut bad_client).await);
    assert!(answers(&mut good_client).await && answers(&mut good_client).await);
    assert_eq!(door.refusal(&world, &bad).await, Refusal::Revoked.why());
}

#[tokio::test]
async fn whoever_changes_class_is_cut_off() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let (connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    echo(connection);
    assert!(answers(&mut client).await);
    door.live.replace(world.tls(vec![anchor(&world.workloads, Class::Operator, lists(&world.workloads, &[]))])).expect("in force");
    assert!(!answers(&mut client).await);
}

/// Whoever waits for the server, or does not read what it sends, is cut off as well, without a byte on the way.
#[tokio::test]
async fn whoever_is_revoked_is_cut_off_though_nothing_moves() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let (silent, deaf, good) = (world.backend(), world.backend(), world.backend());
    let (connection, mut silent_client) = door.knock(world.client(&silent).config()).await.expect("let in");
    echo(connection);
    let (mut connection, deaf_client) = door.knock(world.client(&deaf).config()).await.expect("let in");
    let talker = tokio::spawn(async move { while connection.write_all(&[0; 65_536]).await.is_ok() {} });
    let (connection, mut good_client) = door.knock(world.client(&good).config()).await.expect("let in");
    echo(connection);
    assert!(answers(&mut silent_client).await && answers(&mut good_client).await);
    // Until the socket takes no more, as far as can be told.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!talker.is_finished());

    door.live.replace(world.tls(world.anchors(&[&silent.serial(), &deaf.serial()]))).expect("in force");
    end(&mut silent_client).await;
    tokio::time::timeout(PATIENCE, talker).await.expect("an end in time").expect("no panic");
    assert!(answers(&mut good_client).await);
    drop(deaf_client);
}

/// Whoever reads nothing keeps no place beyond the time that a connection may be idle.
#[tokio::test]
async fn a_connection_on_which_nothing_can_be_sent_ends_as_an_idle_one() {
    let world = World::new();
    let limits = AcceptLimits { idle: Duration::from_secs(1), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let (mut connection, client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    let talker = tokio::spawn(async move { while connection.write_all(&[0; 65_536]).await.is_ok() {} });
    tokio::time::timeout(PATIENCE, talker).await.expect("an end in time").expect("no panic");
    drop(client);
}

// immune: row-65
#[tokio::test]
async fn an_older_list_leaves_the_newer_one_in_force() {
    let world = World::new();
    let bad = world.backend();
    let numbered = |number, revoked: &[&str]| {
        let pem = world.workloads.crl(revoked, number, now(), now().plus(HOUR)).expect("signed");
        let list = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        world.tls(vec![anchor(&world.workloads, Class::Workload, Revocation::Crls(vec![list]))])
    };
    let mut door = Door::open(numbered(7, &[])).await;
    door.live.replace(numbered(8, &[&bad.serial()])).expect("newer");
    let error = door.live.replace(numbered(7, &[])).expect_err("older");
    assert!(matches!(error, IdentityError::OlderList { .. }), "{error}");
    assert_eq!(door.refusal(&world, &bad).await, Refusal::Revoked.why());
    // Nor does it come back with a restart, if what was seen is kept.
    let kept = HighestLists::parse(&door.live.highest_lists().to_string()).expect("kept");
    assert!(LiveTls::new(numbered(7, &[]), kept.clone()).is_err());
    assert!(LiveTls::new(numbered(8, &[]), kept).is_ok());
}

/// A reply that is on its way is held back as well.
#[tokio::test]
async fn writes_fail_after_a_revocation() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let leaf = world.backend();
    let (mut connection, _client) = door.knock(world.client(&leaf).config()).await.expect("let in");
    connection.write_all(b"reply").await.expect("still good");
    door.live.replace(world.tls(world.anchors(&[&leaf.serial()]))).expect("in force");
    let error = connection.write_all(b"secret").await.expect_err("ended");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    let vectored = connection.write_vectored(&[io::IoSlice::new(b"secret")]).await;
    assert_eq!(vectored.expect_err("ended").kind(), io::ErrorKind::ConnectionAborted);
}

/// A resumed session would carry an identity over without looking at the revocation list.
#[tokio::test]
async fn every_handshake_is_a_full_one() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let mut config = (*world.client(&world.backend()).config()).clone();
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..2 {
        let (connection, mut client) = door.knock(Arc::clone(&config)).await.expect("let in");
        echo(connection);
        assert!(answers(&mut client).await);
        let tls = client.get_ref().1;
        assert_eq!(tls.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(tls.tls13_tickets_received(), 0);
        assert!(!tls.is_early_data_accepted());
    }
}

/// What comes out of TLS is little: the frame of one call, byte by byte.
#[tokio::test]
async fn what_tls_adds_to_many_small_records_is_accounted_for() {
    const RECORDS: usize = 6_500;
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let (mut connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    let _call = connection.connect_info().credit.earn();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
    client.write_all(&[0, 0xff, 0xff, 0, 0, 0, 0, 0, 1]).await.expect("sent");
    let sending = tokio::spawn(async move {
        for _ in 0..RECORDS {
            client.write_all(b"x").await.expect("sent");
            client.flush().await.expect("sent");
        }
        client
    });
    let mut bytes = vec![0; 24 + 9 + RECORDS];
    tokio::time::timeout(PATIENCE, connection.read_exact(&mut bytes)).await.expect("in time").expect("read");
    let mut client = sending.await.expect("no panic");
    // 22 bytes a record and more, of which a new connection has 96 KiB; the rest is paid at 8 KiB a second, over five seconds.
    let start = Instant::now();
    client.write_all(b"x").await.expect("sent");
    tokio::time::timeout(PATIENCE, connection.read_exact(&mut bytes[..1])).await.expect("in time").expect("read");
    assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
}

/// It earns what its own frames need. Else a call that goes on for ever would pay for a flood.
#[tokio::test]
async fn a_call_under_way_pays_for_no_pings() {
    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7];
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let (mut connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    let _call = connection.connect_info().credit.earn();
    // 83 KiB, of which a new connection has 64; the rest is paid at 8 KiB a second.
    let said = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &PING.repeat(5_000)].concat();
    let mut bytes = vec![0; said.len()];
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        client.write_all(&said).await.expect("sent");
        client
    });
    tokio::time::timeout(PATIENCE, connection.read_exact(&mut bytes)).await.expect("in time").expect("read");
    let mut client = sending.await.expect("no panic");
    client.write_all(&PING).await.expect("sent");
    tokio::time::timeout(PATIENCE, connection.read_exact(&mut bytes[..PING.len()])).await.expect("in time").expect("read");
    assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
}
