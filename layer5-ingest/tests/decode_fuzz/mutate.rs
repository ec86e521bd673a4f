//! One damage to an input, of the kinds that decoders get wrong: in bytes, in tokens, in lengths.
//! In: an input, another one to take from, what it is written in. Out: the input, damaged.

use crate::{protobuf, rng::Rng};

/// What an input is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// JSON, in lines or not.
    Json,
    /// Frames of a length (u32 LE) and an envelope of `layer5_core::codec`.
    Envelopes,
    /// Messages of Protocol Buffers.
    Protobuf,
}

/// Bytes on some border: of tokens, of control characters, of UTF-8 sequences, of varints.
const BORDER_BYTES: &[u8] = b"{}[]\",:\\0-.eE1nutf \t\n\r\x00\x1f\x7f\x80\xbf\xc3\xa9\xe2\xed\xa0\xf0\xf4\xfb\xfc\xfd\xfe\xff";

/// Pieces of JSON, right and wrong.
const TOKENS: &[&str] = &[
    "null",
    "true",
    "false",
    "nul",
    "0",
    "-0",
    "-0.0",
    "-",
    "01",
    "1.",
    ".5",
    "1e",
    "1e+",
    "1e999",
    "-1e999",
    "1e-999",
    "9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.1e1",
    "1E5",
    "NaN",
    "Infinity",
    "4.9e-324",
    "2.4703282292062328e-324",
    "1795436298",
    "-9223372037",
    "9223372036854775808",
    "\"\"",
    "\"a\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ude00\\ud83d\"",
    "\"\\u00e9\"",
    "\"é😀\"",
    "\"\\x\"",
    "\"\\",
    "\"2026-11-23T12:18:18Z\"",
    "\"2026-02-30T12:18:18Z\"",
    "\"2262-04-12T00:00:00Z\"",
    "\"2026-11-23T12:18:18.1+23:59\"",
    "{\"secs_since_epoch\":1,\"nanos_since_epoch\":1000000000}",
    "{\"secs_since_epoch\":1,\"secs_since_epoch\":2}",
    "[]",
    "{}",
    "[[[[]]]]",
    "{\"a\":{\"b\":[1,2]}}",
    "\"agent_id\":",
    "\"task_id\":",
    "\"timestamp\":",
    "\"recorded_at\":",
    "\"latency_ms\":",
    "\"metrics\":",
    "\"custom_metrics\":",
    "\"execution_context\":",
    "\"hostname\":\"h\",",
    "\"metadata\":{",
    "\"accur\\u0061cy\":",
    ",",
    ":",
    ",,",
    "}{",
    "\n",
    "\r\n",
    " ",
    "\t",
    "\u{feff}",
    "/**/",
    "'a'",
];

/// Damages `body` in one place; `other` is another input to take from.
pub(crate) fn damage(body: &mut Vec<u8>, other: &[u8], grammar: Grammar, rng: &mut Rng) {
    let structured = rng.below(3) != 0;
    match grammar {
        Grammar::Json if structured => json(body, other, rng),
        Grammar::Envelopes if structured => envelopes(body, rng),
        // Rather more of these: bytes that know nothing break a length nearly always.
        Grammar::Protobuf if structured || rng.below(4) != 0 => protobuf::damage(body, rng),
        _ => bytes(body, other, rng),
    }
}

/// Damages that know nothing of the format.
pub(crate) fn bytes(body: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let at = rng.below(body.len() + 1);
    let n = (1 + rng.below(4)).min(body.len() - at);
    match rng.below(8) {
        0 if at < body.len() => body[at] ^= 1 << rng.below(8),
        1 if at < body.len() => body[at] = *rng.of(BORDER_BYTES),
        2 => body.insert(at, *rng.of(BORDER_BYTES)),
        3 => body.insert(at, rng.byte()),
        4 => drop(body.drain(at..at + n)),
        5 => body.truncate(at),
        6 => {
            let from = rng.below(other.len() + 1);
            body.truncate(at);
            body.extend_from_slice(&other[from..]);
        }
        _ => {
            let piece = body[at..at + n].to_vec();
            let to = rng.below(body.len() + 1);
            drop(body.splice(to..to, piece));
        }
    }
}

/// Damages that leave most of the tokens whole.
fn json(body: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let here = token(body, rng);
    match rng.below(10) {
        0 | 1 => drop(body.splice(here, rng.of(TOKENS).bytes())),
        2 => drop(body.splice(here.start..here.start, rng.of(TOKENS).bytes())),
        3 => drop(body.drain(here)),
        4 => {
            let copy = body[here.clone()].to_vec();
            drop(body.splice(here.start..here.start, copy));
        }
        5 => {
            let taken = token(other, rng);
            drop(body.splice(here, other[taken].iter().copied()));
        }
        6 => digits(body, here, rng),
        7 => {
            // A member with its comma, to another place: another order, or a key twice.
            let end = (here.end..body.len())
                .find(|&i| body[i] == b',')
                .map_or(body.len(), |i| i + 1);
            let piece = body[here.start..end].to_vec();
            let to = token(body, rng).start;
            drop(body.splice(to..to, piece));
        }
        8 => {
            let depth = 1 + rng.below(40);
            let (open, close) = *rng.of(&[("[", "]"), ("{\"a\":", "}")]);
            let closing = body.splice(here.end..here.end, close.repeat(depth).into_bytes());
            drop(closing);
            drop(body.splice(here.start..here.start, open.repeat(depth).into_bytes()));
        }
        _ => {
            let long = [b'"', b'a', b'0', b' ', 0xc3];
            let piece = vec![*rng.of(&long); rng.below(70)];
            let at = here.start + rng.below(here.len() + 1);
            drop(body.splice(at..at, piece));
        }
    }
}

/// The span of some token: a string, a run of number or word characters, or a single byte.
fn token(body: &[u8], rng: &mut Rng) -> std::ops::Range<usize> {
    let at = rng.below(body.len());
    let word = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    let Some(b) = body.get(at) else {
        return 0..0;
    };
    if word(b) {
        let start = body[..at]
            .iter()
            .rposition(|b| !word(b))
            .map_or(0, |i| i + 1);
        let end = body[at..].iter().position(|b| !word(b));
        let end = end.map_or(body.len(), |n| at + n);
        // In the middle of a text it is as good as the text; else the quotes come with it.
        if start > 0 && body[start - 1] == b'"' && body.get(end) == Some(&b'"') {
            return start - 1..end + 1;
        }
        return start..end;
    }
    at..at + 1
}

/// Changes a number's digits without making it no number.
fn digits(body: &mut Vec<u8>, here: std::ops::Range<usize>, rng: &mut Rng) {
    let Some(at) = here.clone().find(|&i| body[i].is_ascii_digit()) else {
        return;
    };
    match rng.below(4) {
        0 => body[at] = b'0' + rng.below(10) as u8,
        1 => {
            let more = (0..1 + rng.below(24)).map(|_| b'0' + rng.below(10) as u8);
            let more: Vec<u8> = more.collect();
            drop(body.splice(at + 1..at + 1, more));
        }
        2 => {
            let exponent = format!("e{}", rng.below(700) as i64 - 350);
            drop(body.splice(here.end..here.end, exponent.into_bytes()));
        }
        _ => {
            let fraction = format!(".{}", rng.next());
            drop(body.splice(here.end..here.end, fraction.into_bytes()));
        }
    }
}

/// The bytes of an envelope's header, behind the four of its frame's length.
const HEADER_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;

/// Damages to lengths and header fields; `mend_envelopes` afterwards makes what lies behind them reachable.
fn envelopes(body: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.below(body.len() + 1);
    // Varints of bincode: below 251 as they are, then two, four, eight or sixteen bytes behind a mark.
    let varints: [&[u8]; 8] = [
        &[0],
        &[250],
        &[251, 0xff, 0xff],
        &[251, 1, 0],
        &[252, 0xff, 0xff, 0xff, 0x7f],
        &[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[254],
        &[255],
    ];
    match rng.below(4) {
        0 => {
            let end = (at + 1).min(body.len());
            drop(body.splice(at..end, rng.of(&varints).iter().copied()));
        }
        1 => drop(body.splice(at..at, rng.of(&varints).iter().copied())),
        2 if body.len() > LENGTH_BYTES + HEADER_BYTES => {
            let i = rng.below(LENGTH_BYTES + HEADER_BYTES);
            body[i] = *rng.of(BORDER_BYTES);
        }
        _ => {
            let n = (1 + rng.below(9)).min(body.len() - at);
            body[at..at + n].iter_mut().for_each(|b| *b = rng.byte());
        }
    }
}

/// Makes one frame of all of `body`, with the right length and the right checksum, so that a damage inside is not
/// refused at the door.
pub(crate) fn mend_envelopes(body: &mut [u8]) {
    let Some((length, envelope)) = body.split_first_chunk_mut::<LENGTH_BYTES>() else {
        return;
    };
    *length = (envelope.len() as u32).to_le_bytes();
    let Some((header, payload)) = envelope.split_first_chunk_mut::<HEADER_BYTES>() else {
        return;
    };
    header[..4].copy_from_slice(b"L5R\x01");
    header[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
}
