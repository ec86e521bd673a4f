//! One JSON object to one report: which keys there are, which shape they make, and what is wrong with them.
//! In: a scanner at the start of a value. Out: the report, or a rejection that names the field. Called from: `decode`.
//! A [`Draft`] holds what was read of either shape, because the keys may come in any order and a later one replaces an
//! earlier one; only at the closing bracket it is known which fields count. Drafts are reused, their lists keep their
//! memory.
//! Reference: Project Chimera's contracts, section 2.

use std::borrow::Cow;

use layer5_core::{Kpi, MetricName, Rejection, Report, Shape, Timestamp, Value};

use super::DecodeLimits;
use super::field::{FIELDS, Field, KEYS, N_FIELDS, TASK_FIELDS, TASK_NEEDS, TASK_SIGNS};
use super::keys::{Keys, Known};
use super::metric_map::Metrics;
use super::reject::{finite, invalid_time, missing, wrong_type};
use super::scan::{Broken, Kind, Scanner};
use super::time_forms::{TimePart, seconds_to_time, system_time};

/// Which shape's host name, time and map: an index into the pairs of a [`Draft`].
const OF_TASK: usize = 0;
const OF_BATCH: usize = 1;

/// One report while it is read, and what is guessed of the next.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    fields: Fields<'a>,
    keys: Keys<Field>,
    inner: InnerKeys,
    rejection: Option<Rejection>,
}

/// The keys of objects within a report.
#[derive(Debug, Default)]
struct InnerKeys {
    /// Of the objects with the host names: whether the key is the host name's.
    hosts: [Keys<bool>; 2],
    time: Keys<TimePart>,
}

/// What was read of a report.
#[derive(Debug)]
struct Fields<'a> {
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
    values_max: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(limits: &DecodeLimits) -> Self {
        let fields = Fields {
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
            values_max: limits.values_max,
        };
        Self {
            fields,
            keys: Keys::default(),
            inner: InnerKeys::default(),
            rejection: None,
        }
    }

    /// Reads the value at the scanner; false when it is sound JSON but not a report. [`Self::outcome`] has the rest: the
    /// answer itself would be copied from frame to frame, and each copy waits for the one before to be stored.
    #[inline]
    pub(super) fn read(
        &mut self,
        scanner: &mut Scanner<'a>,
        limits: &DecodeLimits,
    ) -> Result<bool, Broken> {
        let depth_max = limits.depth_max.clamp(1, u64::BITS);
        if scanner.peek() != b'{' {
            let found = scanner.kind()?;
            scanner.skip_value(depth_max)?;
            self.rejection = Some(wrong_type("", "an object", found));
            return Ok(false);
        }
        self.members(scanner, depth_max - 1)?;
        if let Err(rejection) = self.fields.finish() {
            self.rejection = Some(rejection);
            return Ok(false);
        }
        Ok(true)
    }

    /// What came of the last [`Self::read`], which said that it is `sound`.
    #[inline(always)]
    pub(super) fn outcome(&mut self, sound: bool) -> Result<&Report<'a>, Rejection> {
        if sound {
            return Ok(&self.fields.report);
        }
        let rejection = self.rejection.take();
        Err(rejection.expect("what is not sound has left a rejection"))
    }

    /// Reads the members of the report, its opening bracket being next.
    fn members(&mut self, scanner: &mut Scanner<'a>, depth: u32) -> Result<(), Broken> {
        let Self {
            fields,
            keys,
            inner,
            ..
        } = self;
        fields.report.values.clear();
        (fields.seen, fields.wrong) = (0, 0);
        let meaning = |key: Cow<'_, str>| Field::of_key(&key);
        keys.each_member(scanner, meaning, |field, scanner, known| {
            fields.field(field, scanner, known, inner, depth)
        })?;
        Ok(())
    }
}

impl<'a> Fields<'a> {
    #[inline(always)]
    fn field(
        &mut self,
        field: Field,
        scanner: &mut Scanner<'a>,
        known: Known<'_>,
        inner: &mut InnerKeys,
        depth: u32,
    ) -> Result<(), Broken> {
        match field {
            Field::AgentId if scanner.peek() == b'"' => {
                self.report.agent_id = scanner.string_like(known.text_bytes)?;
                self.saw(field);
            }
            Field::TaskId if scanner.peek() == b'"' => {
                self.report.task_id = scanner.string_like(known.text_bytes)?;
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
            Field::RecordedAt => self.time(field, OF_TASK, scanner, known, inner, depth)?,
            Field::Timestamp => self.time(field, OF_BATCH, scanner, known, inner, depth)?,
            Field::CustomMetrics if scanner.peek() == b'{' => {
                self.maps[OF_TASK].read(scanner, depth, self.values_max)?;
                self.saw(field);
            }
            Field::Metrics if scanner.peek() == b'{' => {
                self.maps[OF_BATCH].read(scanner, depth, self.values_max)?;
                self.saw(field);
            }
            Field::ExecutionContext => self.host_object(field, OF_TASK, scanner, inner, depth)?,
            Field::Metadata => self.host_object(field, OF_BATCH, scanner, inner, depth)?,
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
        known: Known<'_>,
        inner: &mut InnerKeys,
        depth: u32,
    ) -> Result<(), Broken> {
        let (at, text) = match scanner.peek() {
            b'"' => {
                let text = scanner.string_like(known.text_bytes)?;
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
                let at = system_time(scanner, depth, &mut inner.time)?;
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
        inner: &mut InnerKeys,
        depth: u32,
    ) -> Result<(), Broken> {
        let host = [Field::ContextHost, Field::MetadataHost][of];
        self.seen &= !host.bit();
        self.wrong &= !host.bit();
        if scanner.peek() != b'{' {
            return self.skip_wrong(field, scanner, depth);
        }
        self.saw(field);
        let depth = scanner.deeper(depth)?;
        inner.hosts[of].each_member(
            scanner,
            |key| key == "hostname",
            |is_host, scanner, known| {
                if !is_host {
                    return scanner.skip_value(depth);
                }
                if scanner.peek() != b'"' {
                    return self.skip_wrong(host, scanner, depth);
                }
                self.hosts[of] = scanner.string_like(known.text_bytes)?;
                self.saw(host);
                Ok(())
            },
        )?;
        Ok(())
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
            let custom = &mut self.maps[OF_TASK].entries;
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
        let metrics = &mut self.maps[OF_BATCH].entries;
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
        self.has(field).then(|| match &mut self.hosts[of] {
            Cow::Borrowed(host) => Cow::Borrowed(*host),
            owned => std::mem::take(owned),
        })
    }
}
