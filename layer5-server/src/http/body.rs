//! Bodies as they were meant: gzip and zstd undone, with a cap on what comes out.
//! In: the bytes of a request and its `Content-Encoding`. Out: the decoded bytes or a problem.
//! Invariants: never more than `decoded_bytes_max` bytes and one step are produced, so a bomb costs its sender, not us;
//! what is produced counts against the memory for bodies while it grows.

use std::{borrow::Cow, io::Read};

use axum::http::{HeaderMap, StatusCode, header};

use super::{gate::Held, problem::Problem};

/// Decoded bytes are counted in steps of this many.
const STEP_BYTES: u64 = 256 << 10;

/// Undoes the `Content-Encoding` of `body`.
pub(crate) fn decoded<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    decoded_bytes_max: usize,
    held: &mut Held,
) -> Result<Cow<'a, [u8]>, Problem> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|v| v.to_str().unwrap_or("?").trim());
    match encoding {
        None | Some("" | "identity") => Ok(Cow::Borrowed(body)),
        Some("gzip" | "x-gzip") => capped(
            flate2::read::MultiGzDecoder::new(body),
            decoded_bytes_max,
            held,
        ),
        Some("zstd") => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(body)
                .map_err(|e| Problem::bad_request(format!("not a zstd body: {e}")))?;
            capped(decoder, decoded_bytes_max, held)
        }
        Some(other) => {
            let detail = format!("Content-Encoding `{other}` is not known, use gzip or zstd");
            Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unknown encoding",
                detail,
            ))
        }
    }
}

/// Undoes snappy's block format, with which Prometheus compresses.
pub(crate) fn snappy(
    body: &[u8],
    decoded_bytes_max: usize,
    held: &mut Held,
) -> Result<Vec<u8>, Problem> {
    let broken = |error| Problem::bad_request(format!("not a snappy body: {error}"));
    let claimed = snap::raw::decompress_len(body).map_err(broken)?;
    if claimed > decoded_bytes_max {
        return Err(Problem::too_large("the decoded body", decoded_bytes_max));
    }
    // No element of the format makes more than 64 bytes of 3: what claims more lies, and gets no memory.
    if claimed / 22 > body.len() {
        let detail = format!(
            "a snappy body of {} bytes cannot hold the {claimed} that it claims",
            body.len()
        );
        return Err(Problem::bad_request(detail));
    }
    held.grow(claimed)?;
    snap::raw::Decoder::new()
        .decompress_vec(body)
        .map_err(broken)
}

fn capped(
    mut reader: impl Read,
    bytes_max: usize,
    held: &mut Held,
) -> Result<Cow<'static, [u8]>, Problem> {
    let mut out = Vec::new();
    loop {
        let step = reader
            .by_ref()
            .take(STEP_BYTES)
            .read_to_end(&mut out)
            .map_err(|e| Problem::bad_request(format!("broken compressed body: {e}")))?;
        if out.len() > bytes_max {
            return Err(Problem::too_large("the decoded body", bytes_max));
        }
        if step == 0 {
            return Ok(Cow::Owned(out));
        }
        held.grow(step)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    fn headers(encoding: &'static str) -> HeaderMap {
        [(header::CONTENT_ENCODING, encoding.parse().expect("ascii"))]
            .into_iter()
            .collect()
    }

    fn decoded<'a>(
        headers: &HeaderMap,
        body: &'a [u8],
        bytes_max: usize,
    ) -> Result<Cow<'a, [u8]>, Problem> {
        super::decoded(headers, body, bytes_max, &mut Held::of(64 << 20))
    }

    #[test]
    fn memory_for_bodies_is_counted_while_a_body_grows() {
        let large = gzip(&vec![b' '; 3 << 20]);
        let mut held = Held::of(1 << 20);
        let problem = super::decoded(&headers("gzip"), &large, 4 << 20, &mut held);
        assert_eq!(
            problem.expect_err("3 MiB > 1 MiB").status,
            StatusCode::TOO_MANY_REQUESTS
        );
    }

    #[test]
    fn gzip_and_zstd_are_undone() {
        let text = b"{\"a\":1}".repeat(100);
        assert_eq!(
            *decoded(&headers("gzip"), &gzip(&text), 1000).expect("fits"),
            text[..]
        );
        let zstd = ruzstd::encoding::compress_to_vec(
            &text[..],
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        assert_eq!(
            *decoded(&headers("zstd"), &zstd, 1000).expect("fits"),
            text[..]
        );
    }

    #[test]
    fn a_bomb_is_cut_at_the_cap() {
        let bomb = gzip(&vec![b' '; 10 << 20]);
        let problem = decoded(&headers("gzip"), &bomb, 1 << 20).expect_err("10 MiB > 1 MiB");
        assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn snappy_is_undone_and_a_length_that_lies_gets_no_memory() {
        let text = b"{\"a\":1}".repeat(1000);
        let sent = snap::raw::Encoder::new()
            .compress_vec(&text)
            .expect("short");
        let snappy = |sent: &[u8], limit| snappy(sent, limit, &mut Held::of(64 << 20));
        assert_eq!(snappy(&sent, 10_000).expect("fits"), text);
        let status = |sent: &[u8], limit| snappy(sent, limit).expect_err("refused").status;
        assert_eq!(status(&sent, 1000), StatusCode::PAYLOAD_TOO_LARGE);
        let four_gib = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &sent].concat();
        assert_eq!(status(&four_gib, 64 << 20), StatusCode::PAYLOAD_TOO_LARGE);
        let ten_mib = [&[0x80, 0x80, 0x80, 0x05][..], &sent[2..]].concat();
        assert_eq!(status(&ten_mib, 64 << 20), StatusCode::BAD_REQUEST);
        assert_eq!(status(b"", 1000), StatusCode::BAD_REQUEST);
        assert_eq!(status(b"{}", 1000), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn what_is_not_compressed_is_said_so() {
        for encoding in ["gzip", "zstd"] {
            let problem = decoded(&headers(encoding), b"{}", 100).expect_err("not compressed");
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        }
        let problem = decoded(&headers("br"), b"{}", 100).expect_err("unknown");
        assert_eq!(problem.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    proptest! {
        // `check.sh fuzz` runs it two million times.
        #[test]
        fn any_bytes_of_a_compressed_body_are_undone_or_refused(
            text in prop::collection::vec(prop::sample::select(b"{}\"a1".to_vec()), 0..200),
            damages in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..4),
            encoding in prop::sample::select(&["gzip", "zstd", "snappy"][..]),
        ) {
            const CAP: usize = 150;
            let mut sent = match encoding {
                "gzip" => gzip(&text),
                "zstd" => ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest),
                _ => snap::raw::Encoder::new().compress_vec(&text).expect("short"),
            };
            let whole = damages.is_empty();
            for (at, how, byte) in damages {
                let at = at.index(sent.len().max(1));
                match how {
                    0 if at < sent.len() => sent[at] = byte,
                    1 => sent.insert(at.min(sent.len()), byte),
                    _ => sent.truncate(at),
                }
            }
            let undone = match encoding {
                "snappy" => snappy(&sent, CAP, &mut Held::of(1 << 20)).ok(),
                _ => decoded(&headers(encoding), &sent, CAP).ok().map(Cow::into_owned),
            };
            prop_assert!(undone.as_ref().is_none_or(|undone| undone.len() <= CAP));
            if whole {
                prop_assert_eq!(undone, (text.len() <= CAP).then_some(text));
            }
        }
    }
}
