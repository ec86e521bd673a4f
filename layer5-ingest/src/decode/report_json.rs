//! One JSON object to one report: which keys there are, which shape they make, and what is wrong with them.
//! In: a scanner at the start of a value. Out: the report, or a rejection that names the field. Called from: `decode`.
//! A [`Draft`] holds what was read of either shape, because the keys may come in any order and a later one replaces an
//! earlier one; only at the closing bracket it is known which fields count. Drafts are reused, their lists keep their
//! memory.
//! Reference: Project Chimera's contracts, section 2.

use std::borrow::Cow;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use layer5_core::{Kpi, MetricName, Reason, Rejection, Report, Shape, Timestamp, Value};
use std::hash::BuildHasher;

use super::DecodeLimits;
use super::keys::Keys;
use super::scan::{Broken, Kind, Scanner};

/// Up to so many entries a map is searched from front to back; beyond it gets a hash table.
const LINEAR_MAX: usize = 16;

/// Longest stretch of a sender's text that a rejection repeats, characters.
const ECHO_CHARS_MAX: usize = 40;

/// The fields that mean something. A number below 32, so that sets of them are words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Field {
    LatencyMs,
    Accuracy,
    CpuUsage,
    MemoryMb,
    NetworkBytes,
    AgentId,
    TaskId,
    RecordedAt,
    Timestamp,
    CustomMetrics,
    Metrics,
    ExecutionContext,
    Metadata,
    /// Any other key.
    Unknown,
    /// `execution_context.hostname`.
    ContextHost,
    /// `metadata.hostname`.
    MetadataHost,
}

const N_FIELDS: usize = 16;

/// The fields that are keys of a report, in the order of their numbers; the first are the catalogue's.
const KEYS: [&str; 13] = [
    "latency_ms",
    "accuracy",
    "cpu_usage",
    "memory_mb",
    "network_bytes",
    "agent_id",
    "task_id",
    "recorded_at",
    "timestamp",
    "custom_metrics",
    "metrics",
    "execution_context",
    "metadata",
];

const FIELDS: [Field; 13] = [
    Field::LatencyMs,
    Field::Accuracy,
    Field::CpuUsage,
    Field::MemoryMb,
    Field::NetworkBytes,
    Field::AgentId,
    Field::TaskId,
    Field::RecordedAt,
    Field::Timestamp,
    Field::CustomMetrics,
    Field::Metrics,
    Field::ExecutionContext,
    Field::Metadata,
];

impl Field {
    fn of_key(key: &str) -> Self {
        KEYS.iter()
            .position(|&known| known == key)
            .map_or(Self::Unknown, |i| FIELDS[i])
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// What a report of shape A must have.
const TASK_NEEDS: u32 = Field::LatencyMs.bit()
    | Field::Accuracy.bit()
    | Field::CpuUsage.bit()
    | Field::MemoryMb.bit()
    | Field::AgentId.bit()
    | Field::TaskId.bit()
    | Field::RecordedAt.bit();

/// What only a report of shape A has and must have.
const TASK_SIGNS: u32 = Field::LatencyMs.bit()
    | Field::Accuracy.bit()
    | Field::CpuUsage.bit()
    | Field::MemoryMb.bit()
    | Field::NetworkBytes.bit()
    | Field::RecordedAt.bit();

/// The fields of a report of shape A that can be at fault.
const TASK_FIELDS: u32 = TASK_NEEDS
    | Field::NetworkBytes.bit()
    | Field::CustomMetrics.bit()
    | Field::ExecutionContext.bit()
    | Field::ContextHost.bit();

/// Which shape's host name, time and map: an index into the pairs of a [`Draft`].
const OF_TASK: usize = 0;
const OF_BATCH: usize = 1;

/// A map of metrics: `custom_metrics` of shape A or `metrics` of shape B.
#[derive(Debug, Default)]
struct Metrics<'a> {
    /// Each name once; the value of an entry of a wrong type is NaN.
    values: Vec<Value<'a>>,
    /// The entries of a wrong type.
    wrong: Vec<(usize, Kind)>,
    /// `values` by name, once there are more than `LINEAR_MAX`; behind by as many entries as it is shorter.
    index: HashTable<usize>,
    too_many: bool,
    /// A value was not finite, or of a wrong type.
    suspect: bool,
    /// A metric has the name of one of the catalogue.
    catalogued: bool,
    keys: Keys<MetricName<'a>>,
}

/// One report while it is read.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    /// Holds the ids as soon as they are read.
    report: Report<'a>,
    /// The fields that were read and hold the right type.
    seen: u32,
    /// The fields that hold a wrong type; `found` says which.
    wrong: u32,
    found: [Kind; N_FIELDS],
    /// Of the fields seen: the values.
    kpis: [f64; Kpi::ALL.len()],
    times: [Timestamp; 2],
    /// The text of a time that is in none of the three forms; its field is in `seen`.
    invalid_times: [Option<Cow<'a, str>>; 2],
    hosts: [Cow<'a, str>; 2],
    maps: [Metrics<'a>; 2],
    keys: Keys<Field>,
    /// Of the objects with the host names: whether the key is the host name's.
    host_keys: [Keys<bool>; 2],
    time_keys: Keys<TimePart>,
    values_max: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(limits: &DecodeLimits) -> Self {
        Self {
            report: Report {
                agent_id: Cow::Borrowed(""),
                task_id: Cow::Borrowed(""),
                recorded_at: Timestamp::EPOCH,
                shape: Shape::Task,
                hostname: None,
                values: Vec::with_capacity(8),
            },
            seen: 0,
            wrong: 0,
            found: [Kind::Null; N_FIELDS],
            kpis: [0.0; Kpi::ALL.len()],
            times: [Timestamp::EPOCH; 2],
            invalid_times: [None, None],
            hosts: [Cow::Borrowed(""), Cow::Borrowed("")],
            maps: Default::default(),
            keys: Keys::default(),
            host_keys: Default::default(),
            time_keys: Keys::default(),
            values_max: limits.values_max,
        }
    }

    /// Reads the value at the scanner; a value that is sound JSON but not a report is a rejection.
    #[inline]
    pub(super) fn read(
        &mut self,
        scanner: &mut Scanner<'a>,
        limits: &DecodeLimits,
    ) -> Result<Result<&Report<'a>, Rejection>, Broken> {
        let depth_max = limits.depth_max.clamp(1, u64::BITS);
        if scanner.peek() != b'{' {
            let found = scanner.kind()?;
            scanner.skip_value(depth_max)?;
            return Ok(Err(wrong_type("", "an object", found)));
        }
        self.report.values.clear();
        (self.seen, self.wrong) = (0, 0);
        self.fields(scanner, depth_max - 1)?;
        Ok(match self.finish() {
            Ok(()) => Ok(&self.report),
            Err(rejection) => Err(rejection),
        })
    }

    /// Reads the members of the report, its opening bracket being next.
    fn fields(&mut self, scanner: &mut Scanner<'a>, depth: u32) -> Result<(), Broken> {
        let mut keys = std::mem::take(&mut self.keys);
        let result = keys.each_member(
            scanner,
            |key| Field::of_key(&key),
            |field, scanner, _| self.field(field, scanner, depth),
        );
        self.keys = keys;
        result.map(|_| ())
    }

    #[inline(always)]
    fn field(&mut self, field: Field, scanner: &mut Scanner<'a>, depth: u32) -> Result<(), Broken> {
        match field {
            Field::AgentId if scanner.peek() == b'"' => {
                self.report.agent_id = scanner.string()?;
                self.saw(field);
            }
            Field::TaskId if scanner.peek() == b'"' => {
                self.report.task_id = scanner.string()?;
                self.saw(field);
            }
            Field::LatencyMs
            | Field::Accuracy
            | Field::CpuUsage
            | Field::MemoryMb
            | Field::NetworkBytes
                if matches!(scanner.peek(), b'-' | b'0'..=b'9') =>
            {
                self.kpis[field as usize] = scanner.number()?;
                self.saw(field);
            }
            Field::RecordedAt => self.time(field, OF_TASK, scanner, depth)?,
            Field::Timestamp => self.time(field, OF_BATCH, scanner, depth)?,
            Field::CustomMetrics if scanner.peek() == b'{' => {
                self.maps[OF_TASK].read(scanner, depth, self.values_max)?;
                self.saw(field);
            }
            Field::Metrics if scanner.peek() == b'{' => {
                self.maps[OF_BATCH].read(scanner, depth, self.values_max)?;
                self.saw(field);
            }
            Field::ExecutionContext => self.host_object(field, OF_TASK, scanner, depth)?,
            Field::Metadata => self.host_object(field, OF_BATCH, scanner, depth)?,
            Field::Unknown => scanner.skip_value(depth)?,
            _ => self.skip_wrong(field, scanner, depth)?,
        }
        Ok(())
    }

    #[inline(always)]
    fn saw(&mut self, field: Field) {
        self.seen |= field.bit();
        self.wrong &= !field.bit();
    }

    /// Steps over a value of a type that the field can't have; `null` makes it absent.
    #[cold]
    fn skip_wrong(
        &mut self,
        field: Field,
        scanner: &mut Scanner<'a>,
        depth: u32,
    ) -> Result<(), Broken> {
        let kind = scanner.kind()?;
        scanner.skip_value(depth)?;
        self.seen &= !field.bit();
        self.wrong &= !field.bit();
        if kind != Kind::Null {
            self.wrong |= field.bit();
            self.found[field as usize] = kind;
        }
        Ok(())
    }

    /// Reads one of the three forms of a time.
    fn time(
        &mut self,
        field: Field,
        of: usize,
        scanner: &mut Scanner<'a>,
        depth: u32,
    ) -> Result<(), Broken> {
        let (at, text) = match scanner.peek() {
            b'"' => {
                let text = scanner.string()?;
                (Timestamp::parse_rfc3339(&text), text)
            }
            b'-' | b'0'..=b'9' => {
                let start = scanner.offset();
                let seconds = scanner.number()?;
                let text = scanner.since(start);
                (seconds_to_time(text, seconds), Cow::Borrowed(text))
            }
            b'{' => {
                let start = scanner.offset();
                let at = system_time(scanner, depth, &mut self.time_keys)?;
                (at, Cow::Borrowed(scanner.since(start)))
            }
            _ => return self.skip_wrong(field, scanner, depth),
        };
        self.saw(field);
        match at {
            Some(at) => {
                self.times[of] = at;
                self.invalid_times[of] = None;
            }
            None => self.invalid_times[of] = Some(text),
        }
        Ok(())
    }

    /// Reads an object for its `hostname`.
    fn host_object(
        &mut self,
        field: Field,
        of: usize,
        scanner: &mut Scanner<'a>,
        depth: u32,
    ) -> Result<(), Broken> {
        let host = [Field::ContextHost, Field::MetadataHost][of];
        self.seen &= !host.bit();
        self.wrong &= !host.bit();
        if scanner.peek() != b'{' {
            return self.skip_wrong(field, scanner, depth);
        }
        self.saw(field);
        let depth = deeper(scanner, depth)?;
        let mut keys = std::mem::take(&mut self.host_keys[of]);
        let result = keys.each_member(
            scanner,
            |key| key == "hostname",
            |is_host, scanner, _| {
                if !is_host {
                    return scanner.skip_value(depth);
                }
                if scanner.peek() != b'"' {
                    return self.skip_wrong(host, scanner, depth);
                }
                self.hosts[of] = scanner.string()?;
                self.saw(host);
                Ok(())
            },
        );
        self.host_keys[of] = keys;
        result.map(|_| ())
    }

    fn has(&self, field: Field) -> bool {
        self.seen & field.bit() != 0
    }

    fn shape(&self) -> Shape {
        let present = self.seen | self.wrong;
        let batch = present & Field::Metrics.bit() != 0
            || (present & Field::Timestamp.bit() != 0 && present & TASK_SIGNS == 0);
        if batch { Shape::Batch } else { Shape::Task }
    }

    /// Makes the report of what was read.
    fn finish(&mut self) -> Result<(), Rejection> {
        self.report.shape = self.shape();
        match self.report.shape {
            Shape::Task => self.finish_task(),
            Shape::Batch => self.finish_batch(),
        }
    }

    fn finish_task(&mut self) -> Result<(), Rejection> {
        if self.seen & TASK_NEEDS != TASK_NEEDS || self.wrong & TASK_FIELDS != 0 {
            self.first_fault_of_task()?;
        }
        self.report.recorded_at = self.moment(Field::RecordedAt, OF_TASK)?;
        let values = &mut self.report.values;
        for kpi in Kpi::ALL {
            if self.seen & 1 << kpi as u32 != 0 {
                let value = self.kpis[kpi as usize];
                finite(kpi.name(), value)?;
                values.push(Value {
                    metric: MetricName::Known(kpi),
                    value,
                });
            }
        }
        if self.has(Field::CustomMetrics) {
            let custom = &mut self.maps[OF_TASK];
            custom.check("custom_metrics", self.values_max)?;
            if custom.catalogued {
                let seen = self.seen;
                custom.values.retain(|value| match value.metric {
                    MetricName::Known(kpi) => seen & 1 << kpi as u32 == 0,
                    MetricName::Custom(_) => true,
                });
            }
            self.report.values.append(&mut custom.values);
        }
        // The host may be wrong where all else is right, and comes last.
        self.right_or_absent(Field::ExecutionContext, "execution_context", "an object")?;
        self.right_or_absent(Field::ContextHost, "execution_context.hostname", "a string")?;
        self.report.hostname = self.take_host(Field::ContextHost, OF_TASK);
        Ok(())
    }

    /// The first fault among ids, time and values, if there is one.
    #[cold]
    fn first_fault_of_task(&self) -> Result<(), Rejection> {
        self.right(Field::AgentId, "agent_id", "a string")?;
        self.right(Field::TaskId, "task_id", "a string")?;
        self.right(Field::RecordedAt, "recorded_at", "a time")?;
        self.moment(Field::RecordedAt, OF_TASK)?;
        for kpi in Kpi::ALL {
            let field = FIELDS[kpi as usize];
            if kpi.required() {
                self.right(field, kpi.name(), "a number")?;
            } else {
                self.right_or_absent(field, kpi.name(), "a number")?;
            }
            if self.has(field) {
                finite(kpi.name(), self.kpis[kpi as usize])?;
            }
        }
        self.right_or_absent(Field::CustomMetrics, "custom_metrics", "an object")
    }

    fn finish_batch(&mut self) -> Result<(), Rejection> {
        self.right(Field::AgentId, "agent_id", "a string")?;
        self.right(Field::TaskId, "task_id", "a string")?;
        self.right(Field::Timestamp, "timestamp", "a time")?;
        self.report.recorded_at = self.moment(Field::Timestamp, OF_BATCH)?;
        self.right(Field::Metrics, "metrics", "an object")?;
        let metrics = &mut self.maps[OF_BATCH];
        metrics.check("metrics", self.values_max)?;
        std::mem::swap(&mut self.report.values, &mut metrics.values);
        self.right_or_absent(Field::Metadata, "metadata", "an object")?;
        self.right_or_absent(Field::MetadataHost, "metadata.hostname", "a string")?;
        self.report.hostname = self.take_host(Field::MetadataHost, OF_BATCH);
        Ok(())
    }

    fn right(&self, field: Field, name: &str, expected: &str) -> Result<(), Rejection> {
        if self.has(field) {
            return Ok(());
        }
        self.right_or_absent(field, name, expected)?;
        Err(missing(name))
    }

    fn right_or_absent(&self, field: Field, name: &str, expected: &str) -> Result<(), Rejection> {
        if self.wrong & field.bit() == 0 {
            return Ok(());
        }
        Err(wrong_type(name, expected, self.found[field as usize]))
    }

    fn moment(&self, field: Field, of: usize) -> Result<Timestamp, Rejection> {
        match &self.invalid_times[of] {
            None => Ok(self.times[of]),
            Some(text) => Err(invalid_time(KEYS[field as usize], text)),
        }
    }

    fn take_host(&mut self, field: Field, of: usize) -> Option<Cow<'a, str>> {
        self.has(field).then(|| std::mem::take(&mut self.hosts[of]))
    }
}

impl<'a> Metrics<'a> {
    /// Reads the map, its opening bracket being next.
    fn read(
        &mut self,
        scanner: &mut Scanner<'a>,
        depth: u32,
        values_max: usize,
    ) -> Result<(), Broken> {
        self.values.clear();
        self.wrong.clear();
        self.index.clear();
        (self.too_many, self.suspect, self.catalogued) = (false, false, false);
        let depth = deeper(scanner, depth)?;
        let mut keys = std::mem::take(&mut self.keys);
        let result = keys.each_member(scanner, MetricName::from, |metric, scanner, distinct| {
            self.catalogued |= matches!(metric, MetricName::Known(_));
            let (mut value, mut wrong) = (f64::NAN, None);
            if matches!(scanner.peek(), b'-' | b'0'..=b'9') {
                value = scanner.number()?;
            } else {
                wrong = Some(scanner.kind()?);
                scanner.skip_value(depth)?;
            }
            self.suspect |= !value.is_finite();
            if distinct && !self.suspect && self.values.len() < values_max {
                self.values.push(Value { metric, value });
            } else {
                self.put(metric, value, wrong, values_max);
            }
            Ok(())
        });
        if result == Ok(self.values.len()) {
            keys.are_distinct(self.values.len());
        }
        self.keys = keys;
        result.map(|_| ())
    }

    /// Notes what an entry holds, in the place of the one with the same name if there is one.
    fn put(&mut self, metric: MetricName<'a>, value: f64, wrong: Option<Kind>, values_max: usize) {
        let Some(i) = self.slot(metric, values_max) else {
            self.too_many = true;
            return;
        };
        self.values[i].value = value;
        if self.suspect {
            self.wrong.retain(|&(j, _)| j != i);
            self.wrong.extend(wrong.map(|kind| (i, kind)));
        }
    }

    /// The place of a metric in `values`: where it was before, or a new one at the end.
    fn slot(&mut self, metric: MetricName<'a>, values_max: usize) -> Option<usize> {
        let values = &mut self.values;
        let found = if values.len() <= LINEAR_MAX {
            values.iter().position(|value| value.metric == metric)
        } else {
            let hash = |metric: &MetricName<'_>| FixedState::default().hash_one(metric.as_str());
            for i in self.index.len()..values.len() {
                let key = hash(&values[i].metric);
                self.index
                    .insert_unique(key, i, |&j| hash(&values[j].metric));
            }
            let same = |&i: &usize| values[i].metric == metric;
            self.index.find(hash(&metric), same).copied()
        };
        if found.is_some() {
            return found;
        }
        if values.len() >= values_max {
            return None;
        }
        values.push(Value {
            metric,
            value: f64::NAN,
        });
        Some(values.len() - 1)
    }

    fn check(&self, field: &str, values_max: usize) -> Result<(), Rejection> {
        if self.too_many {
            let detail = format!("more than {values_max} metrics");
            return Err(Rejection::new(Reason::TooLarge, field, detail));
        }
        if !self.suspect {
            return Ok(());
        }
        if let Some(&(i, found)) = self.wrong.iter().min_by_key(|(i, _)| *i) {
            let name = entry_name(field, &self.values[i].metric);
            return Err(wrong_type(&name, "a number", found));
        }
        self.values
            .iter()
            .try_for_each(|value| finite(&entry_name(field, &value.metric), value.value))
    }
}

/// The depth left inside the bracket that is next.
fn deeper(scanner: &mut Scanner<'_>, depth: u32) -> Result<u32, Broken> {
    depth.checked_sub(1).ok_or_else(|| scanner.too_deep())
}

/// Whole seconds are exact; a fraction is as exact as its double, as everywhere a time is read from JSON.
fn seconds_to_time(text: &str, seconds: f64) -> Option<Timestamp> {
    if let Ok(whole) = text.parse::<u64>() {
        return Timestamp::from_parts(whole, 0);
    }
    if let Ok(whole) = text.parse::<i64>() {
        return whole
            .checked_mul(layer5_core::time::NANOS_PER_SECOND)
            .map(Timestamp::from_nanos);
    }
    Timestamp::from_seconds(seconds)
}

/// The members of a time in the form of a serde `SystemTime`.
#[derive(Clone, Copy, Debug)]
enum TimePart {
    Seconds,
    Nanos,
    Unknown,
}

/// Reads `{"secs_since_epoch": u64, "nanos_since_epoch": u32}`; without nanoseconds they are 0.
fn system_time(
    scanner: &mut Scanner<'_>,
    depth: u32,
    keys: &mut Keys<TimePart>,
) -> Result<Option<Timestamp>, Broken> {
    let depth = deeper(scanner, depth)?;
    let (mut secs, mut nanos, mut sound) = (None, Some(0), true);
    let meaning = |key: Cow<'_, str>| match &*key {
        "secs_since_epoch" => TimePart::Seconds,
        "nanos_since_epoch" => TimePart::Nanos,
        _ => TimePart::Unknown,
    };
    keys.each_member(scanner, meaning, |part, scanner, _| {
        match part {
            TimePart::Seconds => {
                secs = integer(scanner, depth)?;
                sound &= secs.is_some();
            }
            TimePart::Nanos => {
                nanos = integer(scanner, depth)?.and_then(|n| u32::try_from(n).ok());
                sound &= nanos.is_some();
            }
            TimePart::Unknown => scanner.skip_value(depth)?,
        }
        Ok(())
    })?;
    let parts = secs.zip(nanos).filter(|_| sound);
    Ok(parts.and_then(|(secs, nanos)| Timestamp::from_parts(secs, nanos)))
}

/// Reads a `u64` written without fraction and exponent; `None` for any other value.
fn integer(scanner: &mut Scanner<'_>, depth: u32) -> Result<Option<u64>, Broken> {
    let start = scanner.offset();
    scanner.skip_value(depth)?;
    Ok(scanner.since(start).parse().ok())
}

#[cold]
fn invalid_time(name: &str, text: &str) -> Rejection {
    let detail = format!(
        "{} is neither RFC 3339, seconds since 1970, nor {{secs_since_epoch, nanos_since_epoch}} of the years 1677 \
         to 2262",
        clipped(text)
    );
    Rejection::new(Reason::InvalidTime, name, detail)
}

fn finite(name: &str, value: f64) -> Result<(), Rejection> {
    if value.is_finite() {
        return Ok(());
    }
    let detail = "the number is too large for a double";
    Err(Rejection::new(Reason::NotFinite, name, detail))
}

#[cold]
fn missing(name: &str) -> Rejection {
    Rejection::new(Reason::MissingField, name, "is required")
}

#[cold]
fn wrong_type(name: &str, expected: &str, found: Kind) -> Rejection {
    let detail = format!("expected {expected}, found {}", found.with_article());
    Rejection::new(Reason::WrongType, name, detail)
}

fn entry_name(field: &str, metric: &MetricName<'_>) -> String {
    format!("{field}.{}", clipped(metric.as_str()))
}

fn clipped(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_numbers_of_their_keys_and_of_the_catalogue() {
        for (i, (field, key)) in FIELDS.into_iter().zip(KEYS).enumerate() {
            assert_eq!(field as usize, i);
            assert_eq!(Field::of_key(key), field);
        }
        for kpi in Kpi::ALL {
            assert_eq!(KEYS[kpi as usize], kpi.name());
        }
        assert_eq!(Field::of_key("latency"), Field::Unknown);
        assert!((Field::MetadataHost as usize) < N_FIELDS);
    }
}
