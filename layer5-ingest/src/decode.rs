//! Bytes of a body in, [`Report`]s out: NDJSON, JSON arrays, single objects and framed bincode, in one pass, borrowed
//! from the body, without an allocation per report as long as no string has an escape.
//! In: a whole body, already decompressed and bounded in bytes by the transport. Out: one call of the sink per report.
//! Called from: `server/http/reports` and every other source. Next: [`layer5_core::validate()`], [`crate::intern`].
//! Parts: `scan` reads JSON tokens, `number` turns decimals into doubles, `keys` guesses what comes next, `report_json`
//! knows the two report shapes (with `field`, `metric_map`, `time_forms` and `reject`), [`wire`] the framed bincode;
//! `remote_write` and `otlp` read the messages of Prometheus and OpenTelemetry by way of `protobuf` and `labelled`.
//! Invariants: no input panics, recurses, or allocates more than the body's size; what the grammar of RFC 8259 refuses
//! is refused, what it accepts is accepted, up to [`DecodeLimits`].
//!
//! What is decided here, because senders differ:
//! - **Shape.** A report that has `metrics` is of shape B, and so is one that has `timestamp` but neither `recorded_at`
//!   nor a metric of shape A; any other is of shape A. The fields of the other shape are unknown fields then.
//! - **Unknown fields** are skipped, whatever they hold.
//! - **Duplicate keys**: the last one wins, also inside maps, where it takes the place of the first. A metric of the
//!   report itself goes before one of the same name in `custom_metrics`.
//! - **`null`** in a field of the report means that the field is absent; in a map of metrics it is a wrong type.
//! - **Numbers** are rounded to the nearest double, bit for bit as [`str::parse`] does.
//! - **Order of checks**: syntax first, then `agent_id`, `task_id`, the time, the metrics in the catalogue's order,
//!   then the maps and the host name. The first that fails is the rejection.

mod field;
mod keys;
mod labelled;
mod metric_map;
mod number;
mod otlp;
mod protobuf;
mod reject;
mod remote_write;
mod report_json;
mod scan;
mod time_forms;
pub mod wire;

use layer5_core::{Reason, Rejection, Report};

pub use otlp::{decode_otlp, decode_otlp_json};
pub use remote_write::decode_remote_write;
use report_json::Draft;
use scan::{Broken, Fault, Scanner};

/// What a decoder gives its reports to: the index, the report or why there is none, its raw bytes.
pub type ReportSink<'s, 'a> = dyn FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]) + 's;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// One JSON object or an array of them; the first byte decides.
    Json,
    /// One JSON object a line (`application/x-ndjson`); blank lines are passed over.
    Ndjson,
    /// Length-prefixed envelopes of [`wire::WireReport`]s (`application/vnd.layer5.bincode`).
    Bincode,
}

/// What a body may hold. The transport bounds its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Deepest nesting of a report, the report itself being 1; at most 64. Ours: 32, where a full shape A needs 3.
    pub depth_max: u32,
    /// Most reports in one body. Ours: 100 000, about 44 MB of full reports.
    pub reports_max: usize,
    /// Most entries in one map of metrics. Ours: 256, as [`layer5_core::ReportLimits`].
    pub values_max: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            depth_max: 32,
            reports_max: 100_000,
            values_max: 256,
        }
    }
}

/// Why a body could not be read as a whole (HTTP 400). Nothing that the sink was given before may be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Nothing but white space.
    #[error("empty body")]
    Empty,
    /// A byte that is not UTF-8. NDJSON rejects the line instead.
    #[error("not UTF-8 at byte {offset}, line {line}")]
    NotUtf8 {
        /// Where, bytes from the start of the body.
        offset: usize,
        /// Where, lines from 1.
        line: usize,
    },
    /// Broken JSON.
    #[error("expected {expected} at byte {offset}, line {line}")]
    Syntax {
        /// What had to stand there.
        expected: &'static str,
        /// Where, bytes from the start of the body.
        offset: usize,
        /// Where, lines from 1.
        line: usize,
    },
    /// Nested deeper than [`DecodeLimits::depth_max`]. NDJSON rejects the line instead.
    #[error("nested deeper than {limit} at byte {offset}, line {line}")]
    TooDeep {
        /// The limit.
        limit: u32,
        /// Where, bytes from the start of the body.
        offset: usize,
        /// Where, lines from 1.
        line: usize,
    },
    /// More reports than [`DecodeLimits::reports_max`].
    #[error("more than {limit} reports in one body")]
    TooManyReports {
        /// The limit.
        limit: usize,
    },
    /// Broken protobuf.
    #[error("expected {expected} at byte {offset}")]
    Protobuf {
        /// What had to stand there.
        expected: &'static str,
        /// Where, bytes from the start of the body.
        offset: usize,
    },
    /// Broken JSON, or not of the message's form.
    #[error("{detail}")]
    Json {
        /// What had to stand where.
        detail: String,
    },
    /// A frame of a bincode body that is longer than the rest of the body.
    #[error("frame of {bytes} bytes at byte {offset}, {left} bytes are left")]
    CutFrame {
        /// Where the frame starts, bytes from the start of the body.
        offset: usize,
        /// The length that the frame claims.
        bytes: usize,
        /// The bytes that are there.
        left: usize,
    },
}

/// Reads every report of `body` and gives it to `sink`: its index in the body from 0, the report or why there is none,
/// and its raw bytes for the dead-letter log. The report is reused for the next one.
///
/// Returns how many reports the body holds, rejected ones included; 0 only for `[]`.
///
/// # Errors
/// When the body can't be read as a whole; reports before the broken place have been given to `sink` by then, and the
/// caller drops what it made of them. In NDJSON a broken line is a [`Rejection`] of its index
/// ([`Reason::Malformed`]) and the other lines are read; in an array that holds for an element that is sound JSON but
/// not a report, and in bincode for a damaged frame.
///
/// # Cost
/// One pass, O(body). Two allocations per body; none per report unless a string has an escape or a map of metrics has
/// more than 16 entries.
///
/// # Example
/// ```
/// use layer5_ingest::{BodyFormat, DecodeLimits, decode_reports};
///
/// let body = br#"{"agent_id":"a","task_id":"t","timestamp":1795436298,"metrics":{"queue_depth":3}}
/// {"agent_id":7}
/// "#;
/// let mut fields = Vec::new();
/// let n = decode_reports(body, BodyFormat::Ndjson, &DecodeLimits::default(), &mut |_, report, _| {
///     fields.push(match report {
///         Ok(report) => report.agent_id.to_string(),
///         Err(rejection) => rejection.to_string(),
///     });
/// });
/// assert_eq!(n, Ok(2));
/// assert_eq!(fields, ["a", "wrong_type: agent_id: expected a string, found a number"]);
/// ```
pub fn decode_reports<'a>(
    body: &'a [u8],
    format: BodyFormat,
    limits: &DecodeLimits,
    sink: &mut impl FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]),
) -> Result<usize, BodyError> {
    match format {
        BodyFormat::Json => json(body, limits, sink),
        BodyFormat::Ndjson => ndjson(body, limits, sink),
        BodyFormat::Bincode => bincode(body, limits, sink),
    }
}

fn json<'a>(
    body: &'a [u8],
    limits: &DecodeLimits,
    sink: &mut impl FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]),
) -> Result<usize, BodyError> {
    let text = std::str::from_utf8(body).map_err(|e| BodyError::NotUtf8 {
        offset: e.valid_up_to(),
        line: line_of(body, e.valid_up_to()),
    })?;
    let mut scanner = Scanner::new(text);
    let mut draft = Draft::new(limits);
    json_reports(&mut scanner, &mut draft, limits, sink).map_err(|e| match e {
        Stop::Broken => body_error(body, scanner.fault(), limits),
        Stop::Body(e) => e,
    })
}

/// Why reading a body ends early.
enum Stop {
    Broken,
    Body(BodyError),
}

impl From<Broken> for Stop {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

fn json_reports<'a>(
    scanner: &mut Scanner<'a>,
    draft: &mut Draft<'a>,
    limits: &DecodeLimits,
    sink: &mut impl FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]),
) -> Result<usize, Stop> {
    scanner.skip_space();
    if scanner.at_end() {
        return Err(Stop::Body(BodyError::Empty));
    }
    let mut n = 0;
    match scanner.peek() {
        b'{' => {
            let start = scanner.offset();
            let sound = draft.read(scanner, limits)?;
            sink(0, draft.outcome(sound), scanner.since(start).as_bytes());
            n = 1;
        }
        b'[' => {
            scanner.advance(1);
            scanner.skip_space();
            if !scanner.take(b']') {
                loop {
                    if n == limits.reports_max {
                        return Err(Stop::Body(BodyError::TooManyReports { limit: n }));
                    }
                    let start = scanner.offset();
                    let sound = draft.read(scanner, limits)?;
                    let raw = scanner.since(start).as_bytes();
                    sink(n, draft.outcome(sound), raw);
                    n += 1;
                    scanner.skip_space();
                    if scanner.take(b',') {
                        scanner.skip_space();
                        continue;
                    }
                    scanner.expect(b']', "',' or ']'")?;
                    break;
                }
            }
        }
        _ => {
            let what = "an object or an array of objects (NDJSON is application/x-ndjson)";
            return Err(scanner.broken(what).into());
        }
    }
    scanner.skip_space();
    if !scanner.at_end() {
        let what = "the end of the body (NDJSON is application/x-ndjson)";
        return Err(scanner.broken(what).into());
    }
    Ok(n)
}

fn ndjson<'a>(
    body: &'a [u8],
    limits: &DecodeLimits,
    sink: &mut impl FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]),
) -> Result<usize, BodyError> {
    let mut draft = Draft::new(limits);
    let mut place = Place { n: 0, line: 0 };
    match std::str::from_utf8(body) {
        Ok(text) => lines(text, &mut draft, limits, &mut place, sink)?,
        // Some line is guilty: one by one.
        Err(_) => {
            for (i, raw) in body.split(|&b| b == b'\n').enumerate() {
                place.line = i;
                match std::str::from_utf8(raw) {
                    Ok(text) => lines(text, &mut draft, limits, &mut place, sink)?,
                    Err(e) => {
                        let detail = format!("line {}, byte {}: not UTF-8", i + 1, e.valid_up_to());
                        let rejection = Rejection::new(Reason::Malformed, "", detail);
                        place.admit(limits)?;
                        sink(place.n, Err(rejection), raw.trim_ascii());
                        place.n += 1;
                    }
                }
            }
        }
    }
    if place.n == 0 {
        return Err(BodyError::Empty);
    }
    Ok(place.n)
}

/// How many reports and lines have been read.
struct Place {
    n: usize,
    line: usize,
}

impl Place {
    /// Makes sure that one more report may come.
    fn admit(&self, limits: &DecodeLimits) -> Result<(), BodyError> {
        if self.n < limits.reports_max {
            return Ok(());
        }
        Err(BodyError::TooManyReports {
            limit: limits.reports_max,
        })
    }
}

/// Reads every line of `text`. A line's end is found by reading the report, and searched for only when that fails.
fn lines<'a>(
    text: &'a str,
    draft: &mut Draft<'a>,
    limits: &DecodeLimits,
    place: &mut Place,
    sink: &mut impl FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]),
) -> Result<(), BodyError> {
    let mut scanner = Scanner::within_lines(text);
    while !scanner.at_end() {
        place.line += 1;
        let line_start = scanner.offset();
        scanner.skip_space();
        if scanner.take(b'\n') || scanner.at_end() {
            continue;
        }
        place.admit(limits)?;
        let start = scanner.offset();
        match line(&mut scanner, draft, limits) {
            Ok((sound, end)) => {
                let raw = &text.as_bytes()[start..end];
                sink(place.n, draft.outcome(sound), raw);
            }
            Err(Broken) => {
                let mut fault = scanner.fault();
                fault.offset -= line_start;
                let rest = &text.as_bytes()[scanner.offset()..];
                let left = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                scanner.advance(left);
                let raw = scanner.since(start).trim_ascii().as_bytes();
                sink(place.n, Err(line_rejection(fault, place.line, limits)), raw);
                scanner.take(b'\n');
            }
        }
        place.n += 1;
    }
    Ok(())
}

/// Reads one report that fills its line, and the line feed; returns whether it is sound and where it ended.
#[inline]
fn line<'a>(
    scanner: &mut Scanner<'a>,
    draft: &mut Draft<'a>,
    limits: &DecodeLimits,
) -> Result<(bool, usize), Broken> {
    let sound = draft.read(scanner, limits)?;
    let end = scanner.offset();
    scanner.skip_space();
    if scanner.take(b'\n') || scanner.at_end() {
        Ok((sound, end))
    } else {
        Err(scanner.broken("the end of the line"))
    }
}

fn bincode<'a>(
    body: &'a [u8],
    limits: &DecodeLimits,
    sink: &mut impl FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]),
) -> Result<usize, BodyError> {
    if body.is_empty() {
        return Err(BodyError::Empty);
    }
    let (mut n, mut offset) = (0, 0);
    while offset < body.len() {
        if n == limits.reports_max {
            return Err(BodyError::TooManyReports { limit: n });
        }
        let frame = wire::frame_at(body, offset)?;
        match wire::report(frame) {
            Ok(report) => sink(n, Ok(&report), frame),
            Err(e) => {
                let rejection = Rejection::new(Reason::Malformed, "", e.to_string());
                sink(n, Err(rejection), frame);
            }
        }
        n += 1;
        offset += wire::LENGTH_BYTES + frame.len();
    }
    Ok(n)
}

fn body_error(body: &[u8], fault: Fault, limits: &DecodeLimits) -> BodyError {
    let (offset, line) = (fault.offset, line_of(body, fault.offset));
    match fault.expected {
        Some(expected) => BodyError::Syntax {
            expected,
            offset,
            line,
        },
        None => BodyError::TooDeep {
            limit: limits.depth_max,
            offset,
            line,
        },
    }
}

fn line_rejection(fault: Fault, line: usize, limits: &DecodeLimits) -> Rejection {
    let place = format!("line {line}, byte {}", fault.offset);
    let detail = match fault.expected {
        Some(expected) => format!("{place}: expected {expected}"),
        None => format!("{place}: nested deeper than {}", limits.depth_max),
    };
    Rejection::new(Reason::Malformed, "", detail)
}

/// The number, from 1, of the line that `offset` is on.
fn line_of(body: &[u8], offset: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &body[..offset.min(body.len())]).count()
}
