//! Starts a worker for one request, and ends it at the deadline. Whoever drops the future has ended it, too.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::WORKER;
use super::wire::ANSWER_BYTES;
use crate::seal::TokenError;

/// This program, also after its file was replaced by a newer one.
const PROGRAM: &str = "/proc/self/exe";
/// How long a worker may take to end, once it has answered.
const LEAVE: Duration = Duration::from_secs(1);

/// What a worker answers: up to as many bytes as an answer has, and one more if there are more.
pub(super) async fn talk(request: &[u8], deadline: Duration) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let mut worker = start().map_err(|_| TokenError::NoProcess)?;
    let answer = timeout(deadline, exchange(&mut worker, request)).await.map_err(|_| TokenError::TimedOut)?;
    // What has answered may tidy up; dropping it kills it.
    let _ = timeout(LEAVE, worker.wait()).await;
    answer.map_err(|_| TokenError::Crashed)
}

fn start() -> io::Result<Child> {
    let (input, output, errors) = (Stdio::piped(), Stdio::piped(), Stdio::null());
    Command::new(PROGRAM)
        .arg0("strongroom")
        .arg(WORKER)
        .current_dir("/")
        .stdin(input)
        .stdout(output)
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
}

async fn exchange(worker: &mut Child, request: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let (mut input, mut output) = (worker.stdin.take().expect("piped"), worker.stdout.take().expect("piped"));
    input.write_all(request).await?;
    drop(input);
    let mut answer = Zeroizing::new(vec![0; ANSWER_BYTES + 1]);
    let mut length = 0;
    while length < answer.len() {
        match output.read(&mut answer[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    answer.truncate(length);
    Ok(answer)
}
