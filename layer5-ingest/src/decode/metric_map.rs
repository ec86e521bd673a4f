//! A map of metrics: each name once, the last value of it, and what is wrong with any.
//! In: a scanner at the map. Out: its values. Called from: `report_json`. Maps are reused, their lists keep their memory.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use layer5_core::{MetricName, Reason, Rejection, Value};

use super::keys::Keys;
use super::reject::{entry_name, finite, wrong_type};
use super::scan::{Broken, Kind, Scanner};

/// Up to so many entries a map is searched from front to back; beyond it gets a hash table.
const LINEAR_MAX: usize = 16;

/// `custom_metrics` of shape A or `metrics` of shape B.
#[derive(Debug, Default)]
pub(super) struct Metrics<'a> {
    pub(super) entries: Entries<'a>,
    keys: Keys<MetricName<'a>>,
}

/// What was read of a map.
#[derive(Debug, Default)]
pub(super) struct Entries<'a> {
    /// Each name once; the value of an entry of a wrong type is NaN.
    pub(super) values: Vec<Value<'a>>,
    /// The entries of a wrong type.
    wrong: Vec<(usize, Kind)>,
    /// `values` by name, once there are more than `LINEAR_MAX`; behind by as many entries as it is shorter.
    index: HashTable<usize>,
    too_many: bool,
    /// A value was not finite, or of a wrong type.
    suspect: bool,
    /// A metric has the name of one of the catalogue.
    pub(super) catalogued: bool,
}

impl<'a> Metrics<'a> {
    /// Reads the map, its opening bracket being next.
    pub(super) fn read(
        &mut self,
        scanner: &mut Scanner<'a>,
        depth: u32,
        values_max: usize,
    ) -> Result<(), Broken> {
        let Self { entries, keys } = self;
        entries.clear();
        let depth = scanner.deeper(depth)?;
        let n = keys.each_member(scanner, MetricName::from, |metric, scanner, known| {
            entries.catalogued |= matches!(metric, MetricName::Known(_));
            let (mut value, mut wrong) = (f64::NAN, None);
            if matches!(scanner.peek(), b'-' | b'0'..=b'9') {
                value = scanner.number()?;
            } else {
                wrong = Some(scanner.kind()?);
                scanner.skip_value(depth)?;
            }
            entries.suspect |= !value.is_finite();
            if known.distinct && !entries.suspect && entries.values.len() < values_max {
                entries.values.push(Value { metric, value });
            } else {
                entries.put(metric, value, wrong, values_max);
            }
            Ok(())
        })?;
        if n == entries.values.len() {
            keys.are_distinct(n);
        }
        Ok(())
    }
}

impl<'a> Entries<'a> {
    fn clear(&mut self) {
        self.values.clear();
        self.wrong.clear();
        if !self.index.is_empty() {
            self.index.clear();
        }
        (self.too_many, self.suspect, self.catalogued) = (false, false, false);
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

    pub(super) fn check(&self, field: &str, values_max: usize) -> Result<(), Rejection> {
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
