//! What is fuzzed: a decoder, inputs that it reads, and what must hold of any input.
//! A new decoder is one row here and a function that compares it with a reference, or with nothing when there is none
//! (then it only must not panic).

use layer5_ingest::{BodyError, BodyFormat};

use crate::{
    labelled,
    mutate::Grammar,
    reference::{self, Answer},
    seeds,
};

/// A decoder under test.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) grammar: Grammar,
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Whether the input was sound, or what is wrong with the decoder's answer.
    pub(crate) check: fn(&[u8]) -> Result<bool, String>,
}

/// Every decoder.
pub(crate) const TARGETS: [Target; 7] = [
    Target {
        name: "object",
        grammar: Grammar::Json,
        seeds: seeds::objects,
        check: json,
    },
    Target {
        name: "array",
        grammar: Grammar::Json,
        seeds: seeds::arrays,
        check: json,
    },
    Target {
        name: "ndjson",
        grammar: Grammar::Json,
        seeds: seeds::lines,
        check: ndjson,
    },
    Target {
        name: "bincode",
        grammar: Grammar::Envelopes,
        seeds: seeds::envelopes,
        check: bincode,
    },
    Target {
        name: "remote_write",
        grammar: Grammar::Protobuf,
        seeds: seeds::write_requests,
        check: labelled::remote_write,
    },
    Target {
        name: "otlp",
        grammar: Grammar::Protobuf,
        seeds: seeds::metrics_requests,
        check: labelled::otlp,
    },
    Target {
        name: "otlp_json",
        grammar: Grammar::Json,
        seeds: seeds::metrics_requests_in_json,
        check: labelled::otlp_json,
    },
];

fn json(body: &[u8]) -> Result<bool, String> {
    compare(body, BodyFormat::Json, reference::reference_json)
}

fn ndjson(body: &[u8]) -> Result<bool, String> {
    compare(body, BodyFormat::Ndjson, |body| {
        let answers = reference::reference_ndjson(body);
        (!answers.is_empty()).then_some(answers)
    })
}

fn bincode(body: &[u8]) -> Result<bool, String> {
    compare(body, BodyFormat::Bincode, reference::reference_bincode)
}

/// Compares the decoder with a reading that is `None` for a body that can't be read as a whole.
fn compare(
    body: &[u8],
    format: BodyFormat,
    reading: impl Fn(&[u8]) -> Option<Vec<Answer>>,
) -> Result<bool, String> {
    let answers = reference::decoded(body, format);
    if matches!(answers, Err(BodyError::TooDeep { .. })) || depth(body) > reference::DEPTH_SURE {
        // How deep is deep differs between the two, and only there.
        return Ok(false);
    }
    let expected = reading(body);
    if answers.as_ref().ok() == expected.as_ref() {
        return Ok(answers.is_ok_and(|all| all.iter().any(Result::is_ok)));
    }
    Err(format!("read as {answers:?}, expected {expected:?}"))
}

/// Brackets that are opened, at most, before one is closed; strings are not told apart, so it may be too many.
fn depth(body: &[u8]) -> u32 {
    let (mut now, mut max) = (0_u32, 0);
    for &b in body {
        match b {
            b'{' | b'[' => now += 1,
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
        max = max.max(now);
    }
    max
}
