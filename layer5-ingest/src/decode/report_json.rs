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
use super::scan::{Fault, Kind, Scanner};

/// Up to so many entries a map is searched from front to back; beyond it gets a hash table.
const LINEAR_MAX: usize = 16;

/// Longest stretch of a sender's text that a rejection repeats, characters.
const ECHO_CHARS_MAX: usize = 40;

/// What was read of one field; the last one written counts.
#[derive(Clone, Debug, Default)]
enum Field<T> {
    /// Not there, or `null`.
    #[default]
    Absent,
    Is(T),
    /// Another type than it must be.
    Wrong(Kind),
}

/// A time, or the text or form that is none.
#[derive(Clone, Debug)]
enum Time<'a> {
    At(Timestamp),
    Invalid(Cow<'a, str>),
}

/// A map of metrics: `custom_metrics` of shape A or `metrics` of shape B.
#[derive(Debug, Default)]
struct Metrics<'a> {
    /// Each name once; the value of an entry of a wrong type is NaN.
    values: Vec<Value<'a>>,
    /// The entries of a wrong type.
    wrong: Vec<(usize, Kind)>,
    /// `values` by name, kept from `LINEAR_MAX` entries on.
    index: HashTable<usize>,
    state: Field<()>,
    too_many: bool,
}

/// One report while it is read.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    report: Report<'a>,
    agent_id: Field<Cow<'a, str>>,
    task_id: Field<Cow<'a, str>>,
    recorded_at: Field<Time<'a>>,
    timestamp: Field<Time<'a>>,
    kpis: [Field<f64>; Kpi::ALL.len()],
    custom_metrics: Metrics<'a>,
    metrics: Metrics<'a>,
    /// The object with the host name, and the host name in it.
    execution_context: (Field<()>, Field<Cow<'a, str>>),
    metadata: (Field<()>, Field<Cow<'a, str>>),
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
            agent_id: Field::Absent,
            task_id: Field::Absent,
            recorded_at: Field::Absent,
            timestamp: Field::Absent,
            kpis: Default::default(),
            custom_metrics: Metrics::default(),
            metrics: Metrics::default(),
            execution_context: Default::default(),
            metadata: Default::default(),
            values_max: limits.values_max,
        }
    }

    /// Reads the value at the scanner; a value that is sound JSON but not a report is a rejection.
    pub(super) fn read(
        &mut self,
        scanner: &mut Scanner<'a>,
        limits: &DecodeLimits,
    ) -> Result<Result<&Report<'a>, Rejection>, Fault> {
        let depth_max = limits.depth_max.clamp(1, u64::BITS);
        let kind = scanner.kind()?;
        if kind != Kind::Object {
            scanner.skip_value(depth_max)?;
            let detail = format!("expected an object, found {}", kind.with_article());
            return Ok(Err(Rejection::new(Reason::WrongType, "", detail)));
        }
        self.reset();
        each_member(scanner, |key, scanner| {
            self.field(key, scanner, depth_max - 1)
        })?;
        Ok(match self.finish() {
            Ok(()) => Ok(&self.report),
            Err(rejection) => Err(rejection),
        })
    }

    fn reset(&mut self) {
        self.agent_id = Field::Absent;
        self.task_id = Field::Absent;
        self.recorded_at = Field::Absent;
        self.timestamp = Field::Absent;
        self.kpis = Default::default();
        self.custom_metrics.clear();
        self.metrics.clear();
        self.execution_context = Default::default();
        self.metadata = Default::default();
        self.report.values.clear();
    }

    #[inline]
    fn field(&mut self, key: &str, scanner: &mut Scanner<'a>, depth: u32) -> Result<(), Fault> {
        match key {
            "agent_id" => self.agent_id = text(scanner, depth)?,
            "task_id" => self.task_id = text(scanner, depth)?,
            "recorded_at" => self.recorded_at = time(scanner, depth)?,
            "timestamp" => self.timestamp = time(scanner, depth)?,
            "latency_ms" => self.kpis[Kpi::LatencyMs as usize] = number(scanner, depth)?,
            "accuracy" => self.kpis[Kpi::Accuracy as usize] = number(scanner, depth)?,
            "cpu_usage" => self.kpis[Kpi::CpuUsage as usize] = number(scanner, depth)?,
            "memory_mb" => self.kpis[Kpi::MemoryMb as usize] = number(scanner, depth)?,
            "network_bytes" => self.kpis[Kpi::NetworkBytes as usize] = number(scanner, depth)?,
            "custom_metrics" => self.custom_metrics.read(scanner, depth, self.values_max)?,
            "metrics" => self.metrics.read(scanner, depth, self.values_max)?,
            "execution_context" => self.execution_context = host_object(scanner, depth)?,
            "metadata" => self.metadata = host_object(scanner, depth)?,
            _ => scanner.skip_value(depth)?,
        }
        Ok(())
    }

    fn shape(&self) -> Shape {
        let present = |absent: bool| !absent;
        let shape_a = present(matches!(self.recorded_at, Field::Absent))
            || self.kpis.iter().any(|kpi| !matches!(kpi, Field::Absent));
        let batch = present(matches!(self.metrics.state, Field::Absent))
            || (present(matches!(self.timestamp, Field::Absent)) && !shape_a);
        if batch { Shape::Batch } else { Shape::Task }
    }

    /// Makes the report of what was read.
    fn finish(&mut self) -> Result<(), Rejection> {
        let shape = self.shape();
        self.report.shape = shape;
        self.report.agent_id =
            required("agent_id", std::mem::take(&mut self.agent_id), "a string")?;
        self.report.task_id = required("task_id", std::mem::take(&mut self.task_id), "a string")?;
        match shape {
            Shape::Task => self.finish_task(),
            Shape::Batch => self.finish_batch(),
        }
    }

    fn finish_task(&mut self) -> Result<(), Rejection> {
        self.report.recorded_at = moment("recorded_at", std::mem::take(&mut self.recorded_at))?;
        for kpi in Kpi::ALL {
            let value = match self.kpis[kpi as usize] {
                Field::Is(value) => value,
                Field::Absent if !kpi.required() => continue,
                Field::Absent => return Err(missing(kpi.name())),
                Field::Wrong(found) => return Err(wrong_type(kpi.name(), "a number", found)),
            };
            finite(kpi.name(), value)?;
            self.report.values.push(Value {
                metric: MetricName::Known(kpi),
                value,
            });
        }
        self.custom_metrics
            .check("custom_metrics", self.values_max)?;
        let kpis = &self.kpis;
        let own = |metric: &MetricName<'_>| matches!(metric, MetricName::Known(kpi) if matches!(kpis[*kpi as usize], Field::Is(_)));
        let custom = self
            .custom_metrics
            .values
            .drain(..)
            .filter(|value| !own(&value.metric));
        self.report.values.extend(custom);
        self.report.hostname = hostname(
            "execution_context",
            "execution_context.hostname",
            std::mem::take(&mut self.execution_context),
        )?;
        Ok(())
    }

    fn finish_batch(&mut self) -> Result<(), Rejection> {
        self.report.recorded_at = moment("timestamp", std::mem::take(&mut self.timestamp))?;
        if matches!(self.metrics.state, Field::Absent) {
            return Err(missing("metrics"));
        }
        self.metrics.check("metrics", self.values_max)?;
        std::mem::swap(&mut self.report.values, &mut self.metrics.values);
        let metadata = std::mem::take(&mut self.metadata);
        self.report.hostname = hostname("metadata", "metadata.hostname", metadata)?;
        Ok(())
    }
}

impl<'a> Metrics<'a> {
    fn clear(&mut self) {
        self.values.clear();
        self.wrong.clear();
        self.index.clear();
        self.state = Field::Absent;
        self.too_many = false;
    }

    fn read(
        &mut self,
        scanner: &mut Scanner<'a>,
        depth: u32,
        values_max: usize,
    ) -> Result<(), Fault> {
        self.clear();
        let kind = scanner.kind()?;
        if kind != Kind::Object {
            self.state = of_kind(kind);
            return scanner.skip_value(depth);
        }
        self.state = Field::Is(());
        if depth == 0 {
            return Err(Fault::TooDeep {
                offset: scanner.offset(),
            });
        }
        each_member_owned(scanner, |key, scanner| {
            let kind = scanner.kind()?;
            let value = if kind == Kind::Number {
                scanner.number()?
            } else {
                scanner.skip_value(depth - 1)?;
                f64::NAN
            };
            let slot = self.slot(MetricName::from(key), values_max);
            match slot {
                Some(i) => {
                    self.values[i].value = value;
                    if !self.wrong.is_empty() {
                        self.wrong.retain(|&(j, _)| j != i);
                    }
                    if kind != Kind::Number {
                        self.wrong.push((i, kind));
                    }
                }
                None => self.too_many = true,
            }
            Ok(())
        })
    }

    /// The place of a metric in `values`: where it was before, or a new one at the end.
    fn slot(&mut self, metric: MetricName<'a>, values_max: usize) -> Option<usize> {
        let n = self.values.len();
        let values = &mut self.values;
        let hash = |metric: &MetricName<'_>| FixedState::default().hash_one(metric.as_str());
        let found = if n <= LINEAR_MAX {
            values.iter().position(|value| value.metric == metric)
        } else {
            let wanted = hash(&metric);
            self.index
                .find(wanted, |&i| values[i].metric == metric)
                .copied()
        };
        if found.is_some() {
            return found;
        }
        if n >= values_max {
            return None;
        }
        values.push(Value {
            metric,
            value: f64::NAN,
        });
        if n >= LINEAR_MAX {
            let first_not_indexed = if n == LINEAR_MAX { 0 } else { n };
            for i in first_not_indexed..=n {
                let key = hash(&values[i].metric);
                self.index
                    .insert_unique(key, i, |&j| hash(&values[j].metric));
            }
        }
        Some(n)
    }

    fn check(&self, field: &str, values_max: usize) -> Result<(), Rejection> {
        if let Field::Wrong(found) = self.state {
            return Err(wrong_type(field, "an object", found));
        }
        if self.too_many {
            let detail = format!("more than {values_max} metrics");
            return Err(Rejection::new(Reason::TooLarge, field, detail));
        }
        if let Some(&(i, found)) = self.wrong.iter().min_by_key(|(i, _)| *i) {
            let name = entry_name(field, &self.values[i].metric);
            return Err(wrong_type(&name, "a number", found));
        }
        for value in &self.values {
            if !value.value.is_finite() {
                return finite(&entry_name(field, &value.metric), value.value);
            }
        }
        Ok(())
    }
}

/// Reads the members of an object, the opening bracket being next; `member` reads the value of a key.
#[inline]
fn each_member<'a>(
    scanner: &mut Scanner<'a>,
    mut member: impl FnMut(&str, &mut Scanner<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    each_member_owned(scanner, |key, scanner| member(&key, scanner))
}

#[inline]
fn each_member_owned<'a>(
    scanner: &mut Scanner<'a>,
    mut member: impl FnMut(Cow<'a, str>, &mut Scanner<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    scanner.expect(b'{', "an object")?;
    scanner.skip_space();
    if scanner.take(b'}') {
        return Ok(());
    }
    loop {
        let key = scanner.string()?;
        scanner.skip_space();
        scanner.expect(b':', "':'")?;
        scanner.skip_space();
        member(key, scanner)?;
        scanner.skip_space();
        if scanner.take(b',') {
            scanner.skip_space();
            continue;
        }
        return scanner.expect(b'}', "',' or '}'");
    }
}

/// What a field of the wrong kind, or `null`, counts as.
fn of_kind<T>(kind: Kind) -> Field<T> {
    if kind == Kind::Null {
        Field::Absent
    } else {
        Field::Wrong(kind)
    }
}

#[inline]
fn text<'a>(scanner: &mut Scanner<'a>, depth: u32) -> Result<Field<Cow<'a, str>>, Fault> {
    if scanner.peek() == b'"' {
        return scanner.string().map(Field::Is);
    }
    skip_wrong(scanner, depth)
}

#[inline]
fn number(scanner: &mut Scanner<'_>, depth: u32) -> Result<Field<f64>, Fault> {
    if matches!(scanner.peek(), b'-' | b'0'..=b'9') {
        return scanner.number().map(Field::Is);
    }
    skip_wrong(scanner, depth)
}

#[cold]
fn skip_wrong<T>(scanner: &mut Scanner<'_>, depth: u32) -> Result<Field<T>, Fault> {
    let kind = scanner.kind()?;
    scanner.skip_value(depth)?;
    Ok(of_kind(kind))
}

/// Reads one of the three forms of a time.
fn time<'a>(scanner: &mut Scanner<'a>, depth: u32) -> Result<Field<Time<'a>>, Fault> {
    Ok(match scanner.kind()? {
        Kind::String => {
            let text = scanner.string()?;
            Field::Is(match Timestamp::parse_rfc3339(&text) {
                Some(at) => Time::At(at),
                None => Time::Invalid(text),
            })
        }
        Kind::Number => {
            let start = scanner.offset();
            let seconds = scanner.number()?;
            let text = scanner.since(start);
            Field::Is(match seconds_to_time(text, seconds) {
                Some(at) => Time::At(at),
                None => Time::Invalid(Cow::Borrowed(text)),
            })
        }
        Kind::Object => {
            if depth == 0 {
                return Err(Fault::TooDeep {
                    offset: scanner.offset(),
                });
            }
            Field::Is(system_time(scanner, depth - 1)?)
        }
        other => {
            scanner.skip_value(depth)?;
            of_kind(other)
        }
    })
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

/// Reads `{"secs_since_epoch": u64, "nanos_since_epoch": u32}`; without nanoseconds they are 0.
fn system_time<'a>(scanner: &mut Scanner<'a>, depth: u32) -> Result<Time<'a>, Fault> {
    let start = scanner.offset();
    let (mut secs, mut nanos, mut sound) = (None, Some(0), true);
    each_member(scanner, |key, scanner| {
        match key {
            "secs_since_epoch" => {
                secs = integer(scanner, depth)?;
                sound &= secs.is_some();
            }
            "nanos_since_epoch" => {
                nanos = integer(scanner, depth)?.and_then(|n| u32::try_from(n).ok());
                sound &= nanos.is_some();
            }
            _ => scanner.skip_value(depth)?,
        }
        Ok(())
    })?;
    let at = secs
        .zip(nanos)
        .filter(|_| sound)
        .and_then(|(secs, nanos)| Timestamp::from_parts(secs, nanos));
    Ok(at.map_or_else(
        || Time::Invalid(Cow::Borrowed(scanner.since(start))),
        Time::At,
    ))
}

/// Reads a `u64` written without fraction and exponent; `None` for any other value.
fn integer(scanner: &mut Scanner<'_>, depth: u32) -> Result<Option<u64>, Fault> {
    let start = scanner.offset();
    scanner.skip_value(depth)?;
    Ok(scanner.since(start).parse().ok())
}

type HostObject<'a> = (Field<()>, Field<Cow<'a, str>>);

/// Reads an object for its `hostname`.
fn host_object<'a>(scanner: &mut Scanner<'a>, depth: u32) -> Result<HostObject<'a>, Fault> {
    let kind = scanner.kind()?;
    if kind != Kind::Object {
        scanner.skip_value(depth)?;
        return Ok((of_kind(kind), Field::Absent));
    }
    if depth == 0 {
        return Err(Fault::TooDeep {
            offset: scanner.offset(),
        });
    }
    let mut host = Field::Absent;
    each_member(scanner, |key, scanner| {
        if key == "hostname" {
            host = text(scanner, depth - 1)?;
            Ok(())
        } else {
            scanner.skip_value(depth - 1)
        }
    })?;
    Ok((Field::Is(()), host))
}

fn required<T>(name: &str, field: Field<T>, expected: &str) -> Result<T, Rejection> {
    match field {
        Field::Is(value) => Ok(value),
        Field::Absent => Err(missing(name)),
        Field::Wrong(found) => Err(wrong_type(name, expected, found)),
    }
}

fn moment(name: &str, field: Field<Time<'_>>) -> Result<Timestamp, Rejection> {
    match required(name, field, "a time")? {
        Time::At(at) => Ok(at),
        Time::Invalid(text) => {
            let detail = format!(
                "{} is neither RFC 3339, seconds since 1970, nor {{secs_since_epoch, \
                 nanos_since_epoch}} of the years 1677 to 2262",
                clipped(&text)
            );
            Err(Rejection::new(Reason::InvalidTime, name, detail))
        }
    }
}

fn hostname<'a>(
    object_name: &str,
    name: &str,
    (object, host): HostObject<'a>,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    if let Field::Wrong(found) = object {
        return Err(wrong_type(object_name, "an object", found));
    }
    match host {
        Field::Is(host) => Ok(Some(host)),
        Field::Absent => Ok(None),
        Field::Wrong(found) => Err(wrong_type(name, "a string", found)),
    }
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
