//! The beginning of a WebSocket: a request of HTTP, and an answer that shows that the other side speaks it too.
//! In: an address, sixteen random bytes. Out: the request's bytes, and whether the answer fits. Called from:
//! [`super::session`]. Reference: RFC 6455, section 4.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1_smol::Sha1;

/// What is joined to the key before it is hashed; fixed by the RFC.
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest head of an answer.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// Why the other side is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It answered with another status.
    #[error("answered with `{0}` instead of 101")]
    Status(String),
    /// It does not say that it changes the protocol.
    #[error("the answer does not say `Upgrade: websocket`")]
    Upgrade,
    /// Its proof is not that of our key.
    #[error("the answer's Sec-WebSocket-Accept does not fit the request's key")]
    Accept,
    /// Its head has no end.
    #[error("the head of the answer is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
}

/// The key of a request, from random bytes.
pub(super) fn key(random: [u8; 16]) -> String {
    BASE64_STANDARD.encode(random)
}

/// The request for `path` at `host`.
pub(super) fn request(host: &str, path: &str, key: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Looks for the end of the answer's head in `bytes`; its length when the answer fits `key`, `None` while it is not whole.
pub(super) fn accepted(bytes: &[u8], key: &str) -> Result<Option<usize>, HandshakeError> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return match bytes.len() > HEAD_BYTES_MAX {
            true => Err(HandshakeError::TooLong),
            false => Ok(None),
        };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        let shown = status.chars().filter(|c| !c.is_control()).take(100);
        return Err(HandshakeError::Status(shown.collect()));
    }
    let mut headers = lines.filter_map(|line| line.split_once(':'));
    let (mut upgrades, mut proof) = (false, None);
    for (name, value) in headers.by_ref() {
        let value = value.trim();
        if name.eq_ignore_ascii_case("upgrade") {
            upgrades = value.eq_ignore_ascii_case("websocket");
        } else if name.eq_ignore_ascii_case("sec-websocket-accept") {
            proof = Some(value);
        }
    }
    if !upgrades {
        return Err(HandshakeError::Upgrade);
    }
    if proof != Some(proof_of(key).as_str()) {
        return Err(HandshakeError::Accept);
    }
    Ok(Some(end + 4))
}

/// What a server answers to `key`.
fn proof_of(key: &str) -> String {
    let hash = Sha1::from(format!("{key}{SUFFIX}")).digest();
    BASE64_STANDARD.encode(hash.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key and proof of the RFC's section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn answer(status: &str, upgrade: &str, proof: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nUPGRADE: {upgrade}\r\nConnection: Upgrade\r\n\
             sec-websocket-accept:{proof}\r\n\r\nrest"
        )
    }

    #[test]
    fn the_answer_of_the_rfc_fits_and_others_do_not() {
        assert_eq!(key(*b"the sample nonce"), KEY);
        let good = answer("101 Switching Protocols", "WebSocket", PROOF);
        assert_eq!(
            accepted(good.as_bytes(), KEY),
            Ok(Some(good.len() - "rest".len()))
        );
        for len in 0..good.len() - "rest".len() {
            assert_eq!(accepted(&good.as_bytes()[..len], KEY), Ok(None));
        }
        let check = |answer: String, expected| {
            assert_eq!(accepted(answer.as_bytes(), KEY), Err(expected));
        };
        check(
            answer("404 Not Found", "websocket", PROOF),
            HandshakeError::Status("HTTP/1.1 404 Not Found".into()),
        );
        check(answer("101 x", "h2c", PROOF), HandshakeError::Upgrade);
        check(
            answer("101 x", "websocket", "c3Bvb2Y="),
            HandshakeError::Accept,
        );
        check("a".repeat(20_000), HandshakeError::TooLong);
    }
}
