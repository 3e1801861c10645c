//! When a connection ends: with its certificate, with age, idle, or when its proof no longer holds.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// How long until the server ends the connection by itself.
async fn end(client: &mut TlsStream<TcpStream>) -> Duration {
    let start = Instant::now();
    let read = tokio::time::timeout(PATIENCE, client.read_u8()).await.expect("an end in time");
    assert!(read.is_err(), "nothing was asked, so nothing comes");
    start.elapsed()
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let leaf = world.workloads.issue_client(&id(BACKEND), now(), Duration::from_secs(3)).expect("issued");
    let (connection, mut client) = door.knock(world.client(&leaf).config()).await.expect("let in");
    let remaining = connection.peer().not_after.since(now());
    echo(connection);
    assert!(answers(&mut client).await);
    let waited = end(&mut client).await;
    assert!(waited + Duration::from_millis(200) > remaining && waited < remaining + Duration::from_secs(1), "{waited:?} of {remaining:?}");
}

#[tokio::test]
async fn traffic_does_not_prolong_a_connections_age() {
    let world = World::new();
    let limits = AcceptLimits { age: Duration::from_millis(500), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let (connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    echo(connection);
    let start = Instant::now();
    while answers(&mut client).await {
        assert!(start.elapsed() < Duration::from_secs(3), "still served after {:?}", start.elapsed());
    }
    assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
}

#[tokio::test]
async fn bytes_that_came_before_the_end_are_not_read_after_it() {
    let world = World::new();
    let limits = AcceptLimits { age: Duration::from_millis(300), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let (mut connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    client.write_all(b"in time, in time").await.expect("sent");
    client.flush().await.expect("sent");
    assert_eq!(connection.read_u8().await.expect("still good"), b'i');
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(connection.read(&mut [0; 8]).await.expect("an end, no error"), 0);
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_used_one_does_not() {
    let world = World::new();
    let limits = AcceptLimits { idle: Duration::from_millis(400), ..AcceptLimits::default() };
    let mut door = Door::open_with(world.tls(world.anchors(&[])), limits).await;
    let (connection, mut client) = door.knock(world.client(&world.backend()).config()).await.expect("let in");
    echo(connection);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(answers(&mut client).await, "900 ms of use are no idleness");
    }
    let waited = end(&mut client).await;
    assert!(waited > Duration::from_millis(300) && waited < Duration::from_secs(2), "{waited:?}");
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

    door.live.replace(world.tls(world.anchors(&[&bad.serial()])));
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
    door.live.replace(world.tls(vec![anchor(&world.workloads, Class::Operator, lists(&world.workloads, &[]))]));
    assert!(!answers(&mut client).await);
}

/// A reply that is on its way is held back as well.
#[tokio::test]
async fn writes_fail_after_a_revocation() {
    let world = World::new();
    let mut door = Door::open(world.tls(world.anchors(&[]))).await;
    let leaf = world.backend();
    let (mut connection, _client) = door.knock(world.client(&leaf).config()).await.expect("let in");
    connection.write_all(b"reply").await.expect("still good");
    door.live.replace(world.tls(world.anchors(&[&leaf.serial()])));
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
