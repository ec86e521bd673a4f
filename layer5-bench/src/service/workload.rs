//! The same samples for everybody: a seeded fleet whose reports can be written as Layer5's NDJSON, as Prometheus remote
//! write, as VictoriaMetrics' JSON lines or as Influx lines.
//! In: seed, agents, metrics, reports in a body. Out: bodies by their index; the same index gives the same bytes.
//! Invariants: the k-th report of an agent is recorded k ms after the first, so no two samples of a series share a time;
//! every task id occurs once in a workload.

use layer5_core::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Fewest and most metrics of a report: the four that shape A must have, and what one line may hold.
pub const METRICS: std::ops::RangeInclusive<usize> = 4..=64;

/// Names of the metrics that shape A has as fields, and their level and spread, in ten-thousandths.
const FIELDS: [(&str, u32, u32); 5] = [
    ("latency_ms", 1_500_000, 400_000),
    ("accuracy", 9_000, 250),
    ("cpu_usage", 4_500, 900),
    ("memory_mb", 30_000_000, 800_000),
    ("network_bytes", 500_000_000, 90_000_000),
];
/// Level and spread of every custom metric, ten-thousandths.
const CUSTOM: (u32, u32) = (500_000, 80_000);

/// What a fleet sends.
#[derive(Clone, Debug)]
pub struct Workload {
    seed: u64,
    /// Distinguishes the tasks of this workload from those of others with the same seed.
    run: u32,
    agents: Vec<String>,
    metrics: Vec<String>,
    reports_per_body: usize,
    from: Timestamp,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Layer5, `POST /kpi`, shape A.
    Reports,
    /// VictoriaMetrics, `POST /api/v1/import`.
    VictoriaJson,
    /// Influx lines, `POST /write`.
    Influx,
    /// Prometheus remote write 1.0, `POST /api/v1/write`.
    RemoteWrite,
}

impl Form {
    /// Where it is posted to.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Reports => "/kpi",
            Self::VictoriaJson => "/api/v1/import",
            Self::Influx => "/write",
            Self::RemoteWrite => "/api/v1/write",
        }
    }

    /// The `Content-Type` of its bodies.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Reports => "application/x-ndjson",
            Self::VictoriaJson => "application/json",
            Self::Influx => "text/plain",
            Self::RemoteWrite => "application/x-protobuf",
        }
    }

    /// What else its requests say, whole lines.
    #[must_use]
    pub fn more_headers(self) -> &'static str {
        match self {
            Self::RemoteWrite => {
                "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
            }
            Self::Reports | Self::VictoriaJson | Self::Influx => "",
        }
    }
}

impl Workload {
    /// A fleet of `n_agents`; the first report of each is recorded at `from`.
    ///
    /// # Panics
    /// When `n_metrics` is outside [`METRICS`], or there is nobody to report or nothing to send.
    #[must_use]
    pub fn new(
        seed: u64,
        n_agents: usize,
        n_metrics: usize,
        reports_per_body: usize,
        from: Timestamp,
    ) -> Self {
        assert!(METRICS.contains(&n_metrics) && n_agents > 0 && reports_per_body > 0);
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let fields = FIELDS.iter().map(|(name, ..)| (*name).to_owned());
        let custom = (FIELDS.len()..METRICS.end() + 1).map(|i| format!("custom_{i}"));
        Self {
            seed,
            run: (from.nanos() / 1_000_000) as u32,
            agents: (0..n_agents).map(|_| uuid(rng.random())).collect(),
            metrics: fields.chain(custom).take(n_metrics).collect(),
            reports_per_body,
            from: Timestamp::from_millis(from.millis()),
        }
    }

    /// Reports in each body.
    #[must_use]
    pub fn reports_per_body(&self) -> usize {
        self.reports_per_body
    }

    /// Samples in each body.
    #[must_use]
    pub fn samples_per_body(&self) -> usize {
        self.reports_per_body * self.metrics.len()
    }

    /// Series in all.
    #[must_use]
    pub fn n_series(&self) -> usize {
        self.agents.len() * self.metrics.len()
    }

    /// Writes body `index` over what `out` holds.
    ///
    /// # Panics
    /// Never: a body is far from the 4 GiB that snappy can hold.
    pub fn write(&self, index: u64, form: Form, out: &mut Vec<u8>) {
        out.clear();
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed ^ (index << 20));
        let n_metrics = self.metrics.len();
        let mut values = vec![0_u32; self.samples_per_body()];
        for (i, value) in values.iter_mut().enumerate() {
            *value = draw(i % n_metrics, rng.random());
        }
        let first = index * self.reports_per_body as u64;
        let n_agents = self.agents.len();
        let of = |i: usize| {
            let report = first + i as u64;
            let nth = report / n_agents as u64;
            let at = Timestamp::from_nanos(self.from.nanos() + nth as i64 * 1_000_000);
            (
                report,
                self.agents[(report % n_agents as u64) as usize].as_str(),
                at,
            )
        };
        match form {
            Form::Reports => {
                // Reports of one round share their time; it is written once.
                let mut written = (Timestamp::MIN, Vec::new());
                for (i, values) in values.chunks_exact(n_metrics).enumerate() {
                    let (report, agent, at) = of(i);
                    if written.0 != at {
                        written = (at, at.to_string().into_bytes());
                    }
                    self.report(report, agent, &written.1, values, out);
                }
            }
            Form::VictoriaJson => {
                for i in 0..self.reports_per_body.min(n_agents) {
                    let rounds = (i..self.reports_per_body).step_by(n_agents);
                    let rows: Vec<(Timestamp, &[u32])> = rounds
                        .map(|i| (of(i).2, &values[i * n_metrics..(i + 1) * n_metrics]))
                        .collect();
                    self.victoria(of(i).1, &rows, out);
                }
            }
            Form::RemoteWrite => {
                let mut request = Vec::with_capacity(values.len() * 64);
                for (i, values) in values.chunks_exact(n_metrics).enumerate() {
                    let (_, agent, at) = of(i);
                    self.remote_write(agent, at, values, &mut request);
                }
                let mut snappy = snap::raw::Encoder::new();
                out.resize(snap::raw::max_compress_len(request.len()), 0);
                let n_bytes = snappy.compress(&request, out);
                out.truncate(n_bytes.expect("a body is far from 4 GiB"));
            }
            Form::Influx => {
                for (i, values) in values.chunks_exact(n_metrics).enumerate() {
                    let (_, agent, at) = of(i);
                    self.influx(agent, at, values, out);
                }
            }
        }
    }

    fn report(&self, report: u64, agent: &str, at: &[u8], values: &[u32], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"task_id\":\"");
        push_task(u64::from(self.run), report, out);
        out.extend_from_slice(b"\",\"agent_id\":\"");
        out.extend_from_slice(agent.as_bytes());
        out.push(b'"');
        for (name, &value) in self.metrics.iter().zip(values).take(4) {
            push_field(name, value, out);
        }
        let mut rest = self.metrics.iter().zip(values).skip(4);
        if let Some((name, &value)) = rest.next() {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            push_integer(value / 10_000, out);
            let mut before: &[u8] = b",\"custom_metrics\":{";
            for (name, &value) in rest {
                out.extend_from_slice(before);
                push_pair(name, value, out);
                before = b",";
            }
            if before == b"," {
                out.push(b'}');
            }
        }
        out.extend_from_slice(b",\"recorded_at\":\"");
        out.extend_from_slice(at);
        out.extend_from_slice(
            b"\",\"execution_context\":{\"hostname\":\"node-1\",\"available_cores\":8,\
              \"available_memory_mb\":16384,\"gpu_info\":null,\"network_interfaces\":[\"eth0\"]}}\n",
        );
    }

    /// A line for each series, with all that the body has of it.
    fn victoria(&self, agent: &str, rows: &[(Timestamp, &[u32])], out: &mut Vec<u8>) {
        for (idx, name) in self.metrics.iter().enumerate() {
            out.extend_from_slice(b"{\"metric\":{\"__name__\":\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\",\"agent_id\":\"");
            out.extend_from_slice(agent.as_bytes());
            out.extend_from_slice(b"\"},\"values\":");
            let mut before = b'[';
            for (_, values) in rows {
                out.push(before);
                push_value(idx, values[idx], out);
                before = b',';
            }
            out.extend_from_slice(b"],\"timestamps\":");
            before = b'[';
            for (at, _) in rows {
                out.push(before);
                push_digits(at.millis().unsigned_abs(), 13, out);
                before = b',';
            }
            out.extend_from_slice(b"]}\n");
        }
    }

    /// A series for each sample: labels 1 (name 1, value 2), samples 2 (value 1, milliseconds 2).
    fn remote_write(&self, agent: &str, at: Timestamp, values: &[u32], out: &mut Vec<u8>) {
        let label = |name: &str, value: &str, out: &mut Vec<u8>| {
            out.extend([0x0a, (4 + name.len() + value.len()) as u8]);
            for (tag, text) in [(0x0a, name), (0x12, value)] {
                out.extend([tag, text.len() as u8]);
                out.extend_from_slice(text.as_bytes());
            }
        };
        let mut series = Vec::with_capacity(128);
        for (idx, (name, &value)) in self.metrics.iter().zip(values).enumerate() {
            series.clear();
            label("__name__", name, &mut series);
            label("agent_id", agent, &mut series);
            let value = match idx {
                4 => f64::from(value / 10_000),
                _ => f64::from(value) / 1e4,
            };
            series.extend([0x12, 16, 0x09]);
            series.extend_from_slice(&value.to_le_bytes());
            series.push(0x10);
            let mut millis = at.millis().unsigned_abs();
            while millis >= 0x80 {
                series.push(millis as u8 | 0x80);
                millis >>= 7;
            }
            series.push(millis as u8);
            // All lengths are below 128: names, an agent's uuid, one sample.
            out.extend([0x0a, series.len() as u8]);
            out.extend_from_slice(&series);
        }
    }

    fn influx(&self, agent: &str, at: Timestamp, values: &[u32], out: &mut Vec<u8>) {
        out.extend_from_slice(b"kpi,agent_id=");
        out.extend_from_slice(agent.as_bytes());
        let mut before = b' ';
        for (idx, (name, &value)) in self.metrics.iter().zip(values).enumerate() {
            out.push(before);
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            push_value(idx, value, out);
            before = b',';
        }
        out.push(b' ');
        push_digits(at.nanos().unsigned_abs(), 19, out);
        out.push(b'\n');
    }
}

/// A value of metric `idx`: its level and a sum of four uniform draws, which is bell-shaped and cheap.
fn draw(idx: usize, random: u64) -> u32 {
    let (level, spread) = FIELDS.get(idx).map_or(CUSTOM, |&(_, l, s)| (l, s));
    let sum =
        (random & 0xffff) + (random >> 16 & 0xffff) + (random >> 32 & 0xffff) + (random >> 48);
    // The sum's mean is 2 * 65535 and its standard deviation 65535 / sqrt(3).
    let deviation = (sum as i64 - 131_070) * i64::from(spread) / 37_837;
    (i64::from(level) + deviation) as u32
}

fn uuid(x: u128) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}",
        x as u32,
        (x >> 32) as u16,
        (x >> 48) & 0xfff,
        (x >> 60) & 0xfff,
        x >> 80
    )
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A task id that looks like a UUID: run and number, spread over all digits.
fn push_task(run: u64, report: u64, out: &mut Vec<u8>) {
    let mixed = (report.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = [run << 32 | mixed >> 32, report ^ mixed << 32];
    for nibble in 0..32 {
        if matches!(nibble, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        let word = words[nibble / 16];
        out.push(HEX[(word >> (60 - 4 * (nibble % 16)) & 15) as usize]);
    }
}

fn push_field(name: &str, value: u32, out: &mut Vec<u8>) {
    out.push(b',');
    push_pair(name, value, out);
}

fn push_pair(name: &str, value: u32, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_decimal(value, out);
}

/// As the reports have it: `network_bytes` is an integer.
fn push_value(idx: usize, value: u32, out: &mut Vec<u8>) {
    match idx {
        4 => push_integer(value / 10_000, out),
        _ => push_decimal(value, out),
    }
}

fn push_decimal(value: u32, out: &mut Vec<u8>) {
    push_integer(value / 10_000, out);
    out.push(b'.');
    push_digits(u64::from(value % 10_000), 4, out);
}

fn push_integer(value: u32, out: &mut Vec<u8>) {
    let n_digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    push_digits(u64::from(value), n_digits, out);
}

fn push_digits(mut value: u64, n_digits: usize, out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + n_digits, b'0');
    for digit in out[from..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use layer5_core::{ReportLimits, validate};
    use layer5_ingest::{BodyFormat, DecodeLimits, decode_remote_write, decode_reports};
    use serde_json::Value;

    use super::*;

    const FROM: Timestamp = Timestamp::from_millis(1_795_436_298_000);

    fn body(workload: &Workload, index: u64, form: Form) -> String {
        let mut out = Vec::new();
        workload.write(index, form, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_report_is_taken_and_no_task_comes_twice() {
        for n_metrics in [4, 5, 6, 7, 64] {
            let workload = Workload::new(1, 100, n_metrics, 250, FROM);
            let mut tasks = std::collections::HashSet::new();
            for index in 0..4 {
                let text = body(&workload, index, Form::Reports);
                let mut n_values = 0;
                let limits = DecodeLimits::default();
                let read = decode_reports(
                    text.as_bytes(),
                    BodyFormat::Ndjson,
                    &limits,
                    &mut |_, report, _| {
                        let report = report.expect("a sound report");
                        validate(report, &ReportLimits::default(), FROM).expect("in range");
                        assert!(tasks.insert(report.task_id.to_string()));
                        n_values += report.values.len();
                    },
                );
                assert_eq!((read, n_values), (Ok(250), workload.samples_per_body()));
            }
        }
    }

    #[test]
    fn every_value_that_can_be_drawn_is_in_range() {
        for random in [0, u64::MAX] {
            let values: Vec<f64> = (0..6).map(|i| f64::from(draw(i, random)) / 1e4).collect();
            assert!((1.0..300_000.0).contains(&values[0]), "{values:?}");
            assert!((0.0..=1.0).contains(&values[1]) && (0.0..=1.0).contains(&values[2]));
            assert!((1.0..1e6).contains(&values[3]) && values[4] >= 0.0);
        }
    }

    #[test]
    fn a_series_that_comes_twice_in_a_body_is_one_line() {
        let text = body(&Workload::new(7, 100, 4, 250, FROM), 0, Form::VictoriaJson);
        assert_eq!(text.lines().count(), 400);
        let counts = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let len = |field: &str| line[field].as_array().map_or(0, Vec::len);
            assert_eq!(len("values"), len("timestamps"));
            len("values")
        });
        assert_eq!(counts.sum::<usize>(), 1000);
    }

    #[test]
    fn all_forms_hold_the_same_samples() {
        let workload = Workload::new(7, 100, 7, 3, FROM);
        let reports: Vec<Value> = body(&workload, 2, Form::Reports)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let victoria: Vec<Value> = body(&workload, 2, Form::VictoriaJson)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let influx = body(&workload, 2, Form::Influx);
        let influx: Vec<&str> = influx.lines().collect();
        assert_eq!((reports.len(), victoria.len(), influx.len()), (3, 21, 3));
        for (i, line) in victoria.iter().enumerate() {
            let report = &reports[i / 7];
            let name = line["metric"]["__name__"].as_str().expect("a name");
            let value = report.get(name).unwrap_or(&report["custom_metrics"][name]);
            assert_eq!(&line["values"][0], value, "{name}");
            assert_eq!(line["metric"]["agent_id"], report["agent_id"]);
            assert!(influx[i / 7].contains(&format!("{name}={value}")) || value.is_f64());
        }
    }

    #[test]
    fn remote_write_holds_the_same_samples() {
        let workload = Workload::new(7, 100, 7, 3, FROM);
        let mut sent = Vec::new();
        workload.write(2, Form::RemoteWrite, &mut sent);
        let sent = snap::raw::Decoder::new().decompress_vec(&sent);
        let (sent, mut samples) = (sent.expect("snappy"), Vec::new());
        let limits = DecodeLimits::default();
        let read = decode_remote_write(&sent, "agent_id", &limits, &mut |_, report, _| {
            let report = report.expect("a sound series");
            for value in &report.values {
                samples.push((
                    report.agent_id.to_string(),
                    value.metric.as_str().to_owned(),
                    value.value,
                    report.recorded_at,
                ));
            }
        });
        assert!(read.is_ok() && samples.len() == 21);
        let reports = body(&workload, 2, Form::Reports);
        for (line, of_report) in reports.lines().zip(samples.chunks(7)) {
            let report: Value = serde_json::from_str(line).expect("JSON");
            for (agent, metric, value, at) in of_report {
                let known = report
                    .get(metric)
                    .unwrap_or(&report["custom_metrics"][metric]);
                assert_eq!(known.as_f64(), Some(*value), "{metric}");
                assert_eq!(report["agent_id"], *agent);
                assert_eq!(report["recorded_at"], at.to_string());
            }
        }
    }

    #[test]
    fn the_same_index_gives_the_same_bytes() {
        let workload = Workload::new(3, 10, 5, 20, FROM);
        let text = body(&workload, 5, Form::Reports);
        assert_eq!(text, body(&workload, 5, Form::Reports));
        assert_ne!(text, body(&workload, 6, Form::Reports));
    }
}
