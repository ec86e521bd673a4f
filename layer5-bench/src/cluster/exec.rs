//! `kubectl exec`: a WebSocket on which the command's output goes out and its exit code last.
//! In: an upgraded connection, the command. Out: frames of `v5.channel.k8s.io`. Called from: [`super::api`].
//! Reference: RFC 6455; the channels of Kubernetes' remote command (1 output, 2 errors, 3 status).

use std::{future::poll_fn, io, pin::Pin, time::Duration};

use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Trouble;

/// How long a command takes at least. kubectl makes its streams once the connection is upgraded and throws away what comes
/// before; starting a process in a container takes longer than that, so a cluster never meets it.
const COMMAND_TAKES: Duration = Duration::from_millis(100);

/// What a command did.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: u8,
    pub(super) output: String,
    pub(super) errors: String,
}

/// Answers for `layer5` in a pod: `role` and image say which pod it is.
pub(super) fn run(command: &[String], role: &str, is_new: bool, trouble: Trouble) -> Ran {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let fails = |errors: &str| Ran {
        code: 1,
        output: String::new(),
        errors: format!("layer5: {errors}\n"),
    };
    let says = |output: &str| Ran {
        code: 0,
        output: format!("{output}\n"),
        errors: String::new(),
    };
    match words.get(1..).unwrap_or_default() {
        ["probe", ..] => says("ok"),
        ["bluegreen", "smoke", ..] if trouble == Trouble::NoSmoke => {
            fails("a report went in and did not come out")
        }
        ["bluegreen", "smoke", ..] => says("a report went in and came out in 12 ms"),
        ["bluegreen", "compare", ..] if trouble == Trouble::Differs => {
            fails("the candidate differs: findings: 3 the same; 9 only the live one")
        }
        ["bluegreen", "compare", ..] => says("{\"same\": true}"),
        ["bluegreen", "figures", ..] => {
            says("{\"received\":500,\"error_ratio\":0.001,\"accuracy\":0.97}")
        }
        ["bluegreen", "watch", ..] if trouble == Trouble::Worse && is_new && role == "active" => {
            fails("worse than before: accuracy: 0.912, 0.970 before")
        }
        ["bluegreen", "watch", ..] => {
            says("{\"received\":900,\"error_ratio\":0.001,\"accuracy\":0.97}")
        }
        other => fails(&format!("unrecognized subcommand {other:?}")),
    }
}

/// The answer to a WebSocket key.
pub(super) fn accept_of(key: &str) -> String {
    const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest = sha1_smol::Sha1::from(format!("{key}{MAGIC}"))
        .digest()
        .bytes();
    base64(&digest)
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut triple = [0; 3];
        triple[..chunk.len()].copy_from_slice(chunk);
        let n = u32::from_be_bytes([0, triple[0], triple[1], triple[2]]);
        for i in 0..4 {
            let digit = ALPHABET[(n >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

/// Sends what `ran` did, waits for the other side to close.
pub(super) async fn send(upgrade: hyper::upgrade::OnUpgrade, ran: Ran) {
    let Ok(connection) = upgrade.await else {
        return;
    };
    let mut connection = TokioIo::new(connection);
    tokio::time::sleep(COMMAND_TAKES).await;
    let mut out = Vec::new();
    frame(&mut out, 2, 1, ran.output.as_bytes());
    frame(&mut out, 2, 2, ran.errors.as_bytes());
    frame(&mut out, 2, 3, ended(ran.code).to_string().as_bytes());
    // Closed, normally (1000).
    out.extend([0x88, 2, 0x03, 0xe8]);
    if write_all(&mut connection, &out).await.is_err() {
        return;
    }
    let read = read_to_end(&mut connection);
    // A client that does not close is left.
    let _left = tokio::time::timeout(Duration::from_secs(5), read).await;
}

async fn write_all(to: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|context| Pin::new(&mut *to).poll_write(context, bytes)).await?;
        bytes = &bytes[n..];
    }
    poll_fn(|context| Pin::new(&mut *to).poll_flush(context)).await
}

async fn read_to_end(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut forgotten = [0; 512];
    loop {
        let mut buffer = ReadBuf::new(&mut forgotten);
        poll_fn(|context| Pin::new(&mut *from).poll_read(context, &mut buffer)).await?;
        if buffer.filled().is_empty() {
            return Ok(());
        }
    }
}

fn ended(code: u8) -> Value {
    match code {
        0 => json!({"metadata": {}, "status": "Success"}),
        code => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
    }
}

/// One unmasked frame with the channel's number first.
fn frame(out: &mut Vec<u8>, opcode: u8, channel: u8, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    out.push(0x80 | opcode);
    let n = bytes.len() + 1;
    match n {
        0..=125 => out.push(n as u8),
        _ => {
            out.push(126);
            out.extend(u16::try_from(n).expect("answers are short").to_be_bytes());
        }
    }
    out.push(channel);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_has_the_answer_of_the_standard() {
        assert_eq!(
            accept_of("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
