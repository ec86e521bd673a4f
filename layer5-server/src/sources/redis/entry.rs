//! The entries of a stream as lines of NDJSON, the form that the border takes: one line an entry, whatever it holds.
//! In: the fields of an entry. Out: its line, and what is needed to acknowledge it. Called from: [`super::session`].
//! Both forms are read: the whole report as JSON in `data`, or its fields one by one.
//! Invariants: line `i` of a batch is entry `i`; an entry that is no report becomes a line that the border refuses.

use super::resp::{self, ReplyError, Value, Walk};

/// The field that holds a whole report.
const DATA: &[u8] = b"data";
/// Fields whose text is JSON already.
const JSON_FIELDS: [&[u8]; 4] = [
    b"metrics",
    b"metadata",
    b"custom_metrics",
    b"execution_context",
];

/// Entries on their way to the border.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The reports, one a line.
    pub(super) lines: Vec<u8>,
    entries: Vec<Entry>,
    /// Of each stream: the ids of its entries as arguments of a command, and their number.
    pub(super) acks: Vec<(Vec<u8>, usize)>,
    /// Entries that were trimmed before we had read them.
    pub(super) trimmed: usize,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
struct Entry {
    stream: u32,
    line_end: usize,
    id_start: usize,
    id_end: usize,
}

impl Batch {
    pub(super) fn new(n_streams: usize) -> Self {
        Self {
            acks: vec![(Vec::new(), 0); n_streams],
            ..Self::default()
        }
    }

    /// Entries that have a line.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to do: no report, and nothing to acknowledge.
    pub(super) fn is_empty(&self) -> bool {
        self.acks.iter().all(|(_, n)| *n == 0)
    }

    /// The lines of the entries `from..to`.
    pub(super) fn lines(&self, from: usize, to: usize) -> &[u8] {
        &self.lines[self.line_start(from)..self.line_start(to)]
    }

    /// The stream, the id and the line of an entry.
    pub(super) fn entry(&self, i: usize) -> (usize, &[u8], &[u8]) {
        let entry = self.entries[i];
        let stream = entry.stream as usize;
        let id = &self.acks[stream].0[entry.id_start..entry.id_end];
        let line = &self.lines[self.line_start(i)..entry.line_end];
        (stream, id, line.strip_suffix(b"\n").unwrap_or(line))
    }

    fn line_start(&self, i: usize) -> usize {
        i.checked_sub(1)
            .map_or(0, |before| self.entries[before].line_end)
    }

    /// Reads the `n` entries of `stream` that come next; returns the last id.
    pub(super) fn read<'a>(
        &mut self,
        stream: usize,
        n: usize,
        reply: &mut Walk<'a>,
    ) -> Result<&'a [u8], ReplyError> {
        let mut last: &[u8] = b"";
        for _ in 0..n {
            // Redis before 7 answers XAUTOCLAIM with nil for an entry that is gone.
            if reply.array("an entry")?.is_none() {
                self.trimmed += 1;
                continue;
            }
            last = reply.text("the id of an entry")?;
            let id = self.acknowledge(stream, last);
            match reply.array("the fields of an entry")? {
                None => self.trimmed += 1,
                Some(n) => {
                    self.line(n / 2, reply)?;
                    self.entries.push(Entry {
                        stream: stream as u32,
                        line_end: self.lines.len(),
                        id_start: id.0,
                        id_end: id.1,
                    });
                }
            }
        }
        Ok(last)
    }

    /// Notes that the entry `id` is to be acknowledged; returns where its id is.
    pub(super) fn acknowledge(&mut self, stream: usize, id: &[u8]) -> (usize, usize) {
        let (ids, n) = &mut self.acks[stream];
        resp::argument(ids, id);
        *n += 1;
        let end = ids.len() - 2;
        (end - id.len(), end)
    }

    fn line(&mut self, n_fields: usize, reply: &mut Walk<'_>) -> Result<(), ReplyError> {
        let start = self.lines.len();
        self.lines.push(b'{');
        let mut whole = false;
        for _ in 0..n_fields {
            let name = reply.text("the name of a field")?;
            let value = match reply.next()? {
                Value::Text(value) => value,
                _ => return Err(ReplyError::Unexpected("the value of a field")),
            };
            if whole {
                continue;
            }
            if name == DATA {
                whole = true;
                self.lines.truncate(start);
                self.lines.extend_from_slice(value);
            } else {
                field(&mut self.lines, name, value);
            }
        }
        if !whole {
            if self.lines.last() == Some(&b',') {
                self.lines.pop();
            }
            self.lines.push(b'}');
        }
        on_one_line(&mut self.lines, start);
        if self.lines[start..].iter().all(u8::is_ascii_whitespace) {
            self.lines.truncate(start);
            self.lines.extend_from_slice(b"{}");
        }
        self.lines.push(b'\n');
        Ok(())
    }
}

/// Appends `"name":value,`: numbers as numbers, JSON as it is, all else as text.
fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let trimmed = value.trim_ascii();
    let is_json = JSON_FIELDS.contains(&name);
    if is_json && trimmed.is_empty() {
        return;
    }
    text(out, name);
    out.push(b':');
    let is_id = name == b"agent_id" || name == b"task_id";
    let is_time = name == b"timestamp" || name == b"recorded_at";
    if is_json || (is_time && trimmed.starts_with(b"{")) || (!is_id && is_number(trimmed)) {
        out.extend_from_slice(trimmed);
    } else {
        text(out, value);
    }
    out.push(b',');
}

/// Whether `text` is a number of JSON.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let n = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = &fraction[n..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) {
        let exponent = exponent
            .strip_prefix(b"+")
            .or(exponent.strip_prefix(b"-"))
            .unwrap_or(exponent);
        let n = digits(exponent);
        return n > 0 && n == exponent.len();
    }
    rest.is_empty()
}

/// Appends `text` as a string of JSON. What is not UTF-8 stays so, and is refused at the border.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Replaces line feeds between the tokens of `out[start..]` by spaces, and those inside strings, where JSON has none,
/// by another control character, so that they are refused for what they are.
fn on_one_line(out: &mut [u8], start: usize) {
    let line = &mut out[start..];
    if !line.contains(&b'\n') {
        return;
    }
    let (mut in_string, mut escaped) = (false, false);
    for byte in line {
        match *byte {
            b'\n' => *byte = if in_string { 0x01 } else { b' ' },
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && *byte == b'\\' && !escaped;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::resp::Frame;
    use super::*;

    /// The line that an entry of these fields becomes.
    #[track_caller]
    fn line(fields: &[(&str, &str)]) -> String {
        let mut reply = Vec::new();
        resp::begin(&mut reply, 2);
        resp::argument(&mut reply, b"1-1");
        resp::begin(&mut reply, fields.len() * 2);
        for (name, value) in fields {
            resp::argument(&mut reply, name.as_bytes());
            resp::argument(&mut reply, value.as_bytes());
        }
        let mut batch = Batch::new(1);
        let last = batch.read(0, 1, &mut Walk::new(&reply));
        assert_eq!(last, Ok(&b"1-1"[..]));
        let (stream, id, line) = batch.entry(0);
        assert_eq!((stream, id, batch.len()), (0, &b"1-1"[..], 1));
        assert_eq!(batch.acks, [(b"$3\r\n1-1\r\n".to_vec(), 1)]);
        assert_eq!(batch.lines(0, 1).split_last(), Some((&b'\n', line)));
        String::from_utf8(line.to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_whole_report_is_taken_as_it_is_on_one_line() {
        assert_eq!(line(&[("data", "{\"a\":1}")]), "{\"a\":1}");
        assert_eq!(line(&[("v", "2"), ("data", "{}"), ("w", "x")]), "{}");
        assert_eq!(
            line(&[("data", "{\n\"a\"\n:\"b\\\"\n\"}")]),
            "{ \"a\" :\"b\\\"\u{1}\"}"
        );
    }

    #[test]
    fn fields_become_an_object() {
        let fields = [
            ("agent_id", "17"),
            ("latency_ms", " 4.5e1 "),
            ("timestamp", "1795435200.25"),
            ("metrics", "{\"q\":\n3}"),
            ("metadata", ""),
            ("note", "a\"b\n"),
        ];
        let expected = r#"{"agent_id":"17","latency_ms":4.5e1,"timestamp":1795435200.25,"metrics":{"q": 3},"note":"a\"b\u000a"}"#;
        assert_eq!(line(&fields), expected);
    }

    #[test]
    fn an_entry_without_a_report_is_a_line_too() {
        assert_eq!(line(&[]), "{}");
        assert_eq!(line(&[("data", " \n ")]), "{}");
        assert_eq!(line(&[("metrics", "")]), "{}");
    }

    #[test]
    fn what_is_trimmed_is_counted_and_acknowledged() {
        let mut batch = Batch::new(1);
        let mut reply = Walk::new(b"*2\r\n$3\r\n1-1\r\n*-1\r\n*-1\r\n");
        batch.read(0, 2, &mut reply).expect("two entries");
        assert_eq!((batch.trimmed, batch.len(), batch.acks[0].1), (2, 0, 1));
        assert!(!batch.is_empty());
    }

    #[test]
    fn numbers_are_those_of_json() {
        for number in ["0", "-0", "1e999", "10.50", "1E-3", "9e+9"] {
            assert!(is_number(number.as_bytes()), "{number}");
        }
        for text in [
            "", "-", "01", "1.", ".5", "+1", "1e", "NaN", "inf", "0x1", "1 2",
        ] {
            assert!(!is_number(text.as_bytes()), "{text}");
        }
    }

    /// Names and values.
    type Fields = Vec<(Vec<u8>, Vec<u8>)>;

    /// Entries, ids and fields, as XREADGROUP gives those of one stream.
    fn reply(entries: &[(Vec<u8>, Fields)]) -> Vec<u8> {
        let mut reply = Vec::new();
        resp::begin(&mut reply, entries.len());
        for (id, fields) in entries {
            resp::begin(&mut reply, 2);
            resp::argument(&mut reply, id);
            resp::begin(&mut reply, fields.len() * 2);
            for (name, value) in fields {
                resp::argument(&mut reply, name);
                resp::argument(&mut reply, value);
            }
        }
        reply
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        const KNOWN: [&str; 6] = ["data", "agent_id", "timestamp", "metrics", "latency_ms", ""];
        prop_oneof![
            4 => prop::sample::select(&KNOWN[..]).prop_map(|name| name.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ]
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::sample::select(b"{}[]\":,\\\n\r -1.e\xc3\xff\0a".to_vec());
        prop::collection::vec(bytes, 0..12)
    }

    proptest! {
        // `check.sh fuzz` runs it two million times.
        #[test]
        fn any_bytes_of_a_reply_are_lines_or_refused(
            entries in prop::collection::vec((value(), prop::collection::vec((name(), value()), 0..4)), 0..4),
            damages in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, prop::sample::select(b"*$+-:0129\r\n".to_vec())), 0..3),
        ) {
            let whole = damages.is_empty();
            let mut bytes = reply(&entries);
            for (at, how, byte) in damages {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => bytes.truncate(at + 1),
                }
            }
            let mut frame = Frame::new();
            let framed = frame.is_whole(&bytes, 4096);
            if framed != Ok(true) {
                prop_assert!(!whole, "{:?}", framed);
                return Ok(());
            }
            let mut walk = Walk::new(&bytes[..frame.len()]);
            let mut batch = Batch::new(1);
            let read = walk.array("entries").and_then(|n| batch.read(0, n.unwrap_or(0), &mut walk));
            prop_assert!(read.is_ok() || !whole);
            if whole {
                prop_assert_eq!(batch.len(), entries.len());
            }
            for i in 0..batch.len() {
                let (_, _, line) = batch.entry(i);
                prop_assert!(!line.contains(&b'\n') && !line.trim_ascii().is_empty());
            }
            if read.is_ok() {
                prop_assert_eq!(batch.lines(0, batch.len()), &batch.lines[..]);
            }
        }
    }
}
