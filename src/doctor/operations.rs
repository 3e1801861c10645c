//! What the operations listener tells: whether calls would be served, and figures.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::finding::{Check, Finding, Unseen};
use super::reachable;
use super::server::Answers;

const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_BYTES: u64 = 4 << 20;
const SET_UP: &str = "set operations.listen = \"127.0.0.1:7444\", so that doctor and monitoring can ask the server";
const START: &str = "start the server; if it runs, see whether it was started with this configuration";

/// Its answers.
#[derive(Debug, Clone)]
pub(super) struct Operations {
    ready: String,
    metrics: String,
}

/// Asks it, if there is one.
pub(super) async fn ask(configured: Option<SocketAddr>) -> Result<Operations, Unseen> {
    let configured = configured.ok_or_else(|| Unseen::new("operations.listen is \"none\", so the server tells nothing", SET_UP))?;
    let address = reachable(configured, "operations.listen")?;
    let get = async |path| get(address, path).await.map_err(|error| Unseen::new(format!("http://{address}{path}: {error}"), START));
    let ready = get("/readyz").await?;
    let metrics = get("/metrics").await?;
    if !ready.starts_with("ready\n") && !ready.starts_with("not ready\n") {
        return Err(Unseen::new(format!("what answers at http://{address} is not a Strongroom server"), START));
    }
    Ok(Operations { ready, metrics })
}

/// The body of an answer, whatever its status.
async fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let answer = String::from_utf8(answer).map_err(|_| io::Error::other("the answer is no text"))?;
    let body = answer.split_once("\r\n\r\n").filter(|_| answer.starts_with("HTTP/1.1 "));
    body.map(|(_, body)| body.to_owned()).ok_or_else(|| io::Error::other("the answer is not HTTP"))
}

impl Operations {
    /// What `/readyz` says of a condition: whether calls are served as far as it goes, and how it is.
    fn condition(&self, name: &str) -> Option<(bool, &str)> {
        self.ready.lines().find_map(|line| {
            let (mark, rest) = line.split_at_checked(4)?;
            Some((mark == "ok  ", rest.strip_prefix(name)?.strip_prefix(": ")?))
        })
    }

    /// A figure without labels.
    pub(super) fn value(&self, name: &str) -> Result<f64, Unseen> {
        let found = self.metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        found.ok_or_else(|| older(name))
    }

    /// The label of a figure that is there for its label.
    pub(super) fn label(&self, name: &str, label: &str) -> Result<String, Unseen> {
        let found = self.metrics.lines().find_map(|line| {
            let labels = line.strip_prefix(name)?.strip_prefix('{')?;
            let (_, rest) = labels.split_once(&format!("{label}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        });
        found.ok_or_else(|| older(name))
    }
}

fn older(name: &str) -> Unseen {
    Unseen::new(format!("the server's metrics have no {name}"), "use the doctor of the server's own version")
}

/// Whether entries of the audit log can be written, as the server sees it: it alone writes there.
pub(super) fn check_audit(answers: &Answers, operations: &Result<Operations, Unseen>) -> Finding {
    let (writable, says) = match (&answers.status, operations) {
        (Ok(status), _) => (status.audit.healthy, status.audit.problem.as_str()),
        (Err(_), Ok(operations)) => match operations.condition("audit") {
            Some(condition) => condition,
            None => return Check::Audit.unknown(&older("condition `audit` under /readyz")),
        },
        (Err(_), Err(unseen)) => return Check::Audit.unknown(unseen),
    };
    if writable {
        return Check::Audit.pass("the server can write entries");
    }
    Check::Audit.fail(
        format!("the server cannot write entries, so nothing is served: {says}"),
        "make room, or mount the audit folder's disk for writing; the log goes on by itself",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn operations(ready: &str) -> Operations {
        let metrics = "# TYPE strongroom_memory_protected gauge\nstrongroom_memory_protected 1.0\nstrongroom_memory_protected_more 0.0\n\
                       strongroom_key_memory_info{kind=\"mlock\"} 1.0\n# EOF\n";
        Operations { ready: ready.to_owned(), metrics: metrics.to_owned() }
    }

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let told = operations("ready\n");
        assert_eq!(told.value("strongroom_memory_protected"), Ok(1.0));
        assert_eq!(told.label("strongroom_key_memory_info", "kind").as_deref(), Ok("mlock"));
        assert!(told.value("strongroom_memory").is_err() && told.value("strongroom_key_memory_info").is_err());
        assert!(told.label("strongroom_key_memory_info", "kin").is_err() && told.label("strongroom_key_memory", "kind").is_err());
    }

    #[test]
    fn only_a_log_that_is_said_to_be_writable_passes() {
        let none = Answers::none(&Unseen::new("", ""));
        let judged = |ready: &str| check_audit(&none, &Ok(operations(ready)));
        assert_eq!(judged("ready\nok  vault: open\nok  audit: can be written\n").verdict, Verdict::Pass);
        let failed = judged("not ready\nNOT audit: cannot be written, so nothing is served: no space\n");
        assert!(failed.verdict == Verdict::Fail && failed.found.contains("no space"), "{failed:?}");
        assert_eq!(judged("ready\nok  auditing: can be written\n").verdict, Verdict::Unknown);
        assert_eq!(judged("ready\n").verdict, Verdict::Unknown);
    }

    #[tokio::test]
    async fn a_listener_that_is_not_there_or_not_ours_is_not_believed() {
        assert!(ask(None).await.is_err() && ask(Some("127.0.0.1:0".parse().expect("an address"))).await.is_err());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.expect("a caller");
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok  audit: can be written\n").await;
            }
        });
        let unseen = ask(Some(address)).await.expect_err("another server");
        assert!(unseen.why.contains("not a Strongroom server"), "{unseen:?}");
        let unseen = ask(Some(address)).await.expect_err("nobody listens");
        assert!(unseen.why.contains("refused"), "{unseen:?}");
    }
}
