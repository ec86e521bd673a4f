//! How samples look in the log: one flag byte each, then only what differs from the sample before.
//! In: samples in report order. Out: bytes, and back. Called from: [`super::record`].
//! Layout of a sample: flags (u8), series step (zigzag varint, absent when +1), time step in ns (zigzag varint, absent
//! when 0), value. Flag bits 0-3: value form, 0..=8 = that many high bytes of the IEEE bits (the low ones are zero),
//! 9 = a decimal of at most four places, as zigzag varint of value * 10^4; bit 4: suspect; bit 5: same time; bit 6:
//! next series. The seven samples of a report share time and lie side by side, so most cost one byte and the value.
//! Invariants: every bit of every value comes back, `-0.0` included; no input makes `read` panic or allocate more
//! than one sample per byte.

use layer5_core::{Quality, Sample, SeriesId, Timestamp};

const SUSPECT: u8 = 1 << 4;
const SAME_TIME: u8 = 1 << 5;
const NEXT_SERIES: u8 = 1 << 6;
const VALUE_FORM: u8 = 0x0f;
const DECIMAL: u8 = 9;
/// Four decimal places are what people and most exporters write.
const DECIMAL_SCALE: f64 = 1e4;
/// Beyond 2^41 a decimal needs as many bytes as the bits themselves.
const DECIMAL_MAX: f64 = (1_u64 << 41) as f64;

/// Why columns could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sample {index} of {n_samples} is not readable at byte {offset}")]
pub(super) struct ColumnsError {
    /// Which sample.
    pub(super) index: usize,
    /// Of how many.
    pub(super) n_samples: usize,
    /// Where reading stopped.
    pub(super) offset: usize,
}

/// The bytes of `samples`.
///
/// # Cost
/// One pass, about 10 ns a sample; 3 to 10 bytes a sample when reports have several.
#[must_use]
pub(super) fn write(samples: &[Sample]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples.len() * 11 + 16);
    let (mut series, mut at) = (u32::MAX, 0_i64);
    for sample in samples {
        let flags_at = bytes.len();
        bytes.push(0);
        let mut flags = 0;
        if sample.quality == Quality::Suspect {
            flags |= SUSPECT;
        }
        if sample.series.0 == series.wrapping_add(1) {
            flags |= NEXT_SERIES;
        } else {
            let step = i64::from(sample.series.0) - i64::from(series);
            write_varint(&mut bytes, zigzag(step));
        }
        if sample.at.nanos() == at {
            flags |= SAME_TIME;
        } else {
            write_varint(&mut bytes, zigzag(sample.at.nanos().wrapping_sub(at)));
        }
        (series, at) = (sample.series.0, sample.at.nanos());
        flags |= write_value(&mut bytes, sample.value);
        bytes[flags_at] = flags;
    }
    bytes
}

/// The `n_samples` samples that `bytes` hold.
///
/// # Errors
/// When `bytes` end early, hold a form that does not exist, or are left over.
pub(super) fn read(bytes: &[u8], n_samples: usize) -> Result<Vec<Sample>, ColumnsError> {
    let mut cursor = Cursor { bytes, offset: 0 };
    let mut samples = Vec::with_capacity(n_samples.min(bytes.len()));
    let (mut series, mut at) = (u32::MAX, 0_i64);
    for index in 0..n_samples {
        let sample = read_sample(&mut cursor, &mut series, &mut at).ok_or(ColumnsError {
            index,
            n_samples,
            offset: cursor.offset,
        })?;
        samples.push(sample);
    }
    if cursor.offset != bytes.len() {
        return Err(ColumnsError {
            index: n_samples,
            n_samples,
            offset: cursor.offset,
        });
    }
    Ok(samples)
}

fn read_sample(cursor: &mut Cursor<'_>, series: &mut u32, at: &mut i64) -> Option<Sample> {
    let flags = cursor.byte()?;
    *series = if flags & NEXT_SERIES != 0 {
        series.wrapping_add(1)
    } else {
        let step = unzigzag(cursor.varint()?);
        u32::try_from(i64::from(*series).checked_add(step)?).ok()?
    };
    if flags & SAME_TIME == 0 {
        *at = at.wrapping_add(unzigzag(cursor.varint()?));
    }
    Some(Sample {
        at: Timestamp::from_nanos(*at),
        value: cursor.value(flags & VALUE_FORM)?,
        series: SeriesId(*series),
        quality: if flags & SUSPECT == 0 {
            Quality::Good
        } else {
            Quality::Suspect
        },
    })
}

/// Appends `value`; returns its form.
fn write_value(bytes: &mut Vec<u8>, value: f64) -> u8 {
    let bits = value.to_bits();
    let n_high = 8 - bits.trailing_zeros().min(64) as usize / 8;
    if n_high > 4 {
        let scaled = (value * DECIMAL_SCALE).round();
        if scaled.abs() < DECIMAL_MAX && (scaled / DECIMAL_SCALE).to_bits() == bits {
            write_varint(bytes, zigzag(scaled as i64));
            return DECIMAL;
        }
    }
    bytes.extend_from_slice(&bits.to_be_bytes()[..n_high]);
    n_high as u8
}

pub(super) fn write_varint(bytes: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        bytes.push(x as u8 | 0x80);
        x >>= 7;
    }
    bytes.push(x as u8);
}

pub(super) const fn zigzag(x: i64) -> u64 {
    ((x << 1) ^ (x >> 63)).cast_unsigned()
}

pub(super) const fn unzigzag(x: u64) -> i64 {
    (x >> 1).cast_signed() ^ -((x & 1).cast_signed())
}

/// A place in bytes that never reads past their end.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    /// `0 ..= bytes.len()`
    pub(super) offset: usize,
}

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.offset)?;
        self.offset += 1;
        Some(byte)
    }

    pub(super) fn take(&mut self, n_bytes: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.offset..)?.get(..n_bytes)?;
        self.offset += n_bytes;
        Some(taken)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut x = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            x |= part << shift;
            if byte & 0x80 == 0 {
                return Some(x);
            }
        }
        None
    }

    fn value(&mut self, form: u8) -> Option<f64> {
        match form {
            0..=8 => {
                let mut high = [0; 8];
                let n_high = usize::from(form);
                high[..n_high].copy_from_slice(self.take(n_high)?);
                Some(f64::from_bits(u64::from_be_bytes(high)))
            }
            DECIMAL => Some(unzigzag(self.varint()?) as f64 / DECIMAL_SCALE),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(series: u32, at: i64, value: f64, suspect: bool) -> Sample {
        Sample {
            at: Timestamp::from_nanos(at),
            value,
            series: SeriesId(series),
            quality: if suspect {
                Quality::Suspect
            } else {
                Quality::Good
            },
        }
    }

    fn same_bits(a: &[Sample], b: &[Sample]) -> bool {
        let bits = |s: &Sample| (s.at, s.value.to_bits(), s.series, s.quality);
        a.iter().map(bits).eq(b.iter().map(bits))
    }

    #[test]
    fn a_report_of_seven_decimals_costs_few_bytes() {
        let at = 1_795_429_098_000_000_000;
        let values = [123.4567, 0.95, 0.42, 512.0, 1000.0, 0.1, 3.0];
        let samples: Vec<_> = (0..7)
            .map(|i| sample(70 + i, at, values[i as usize], false))
            .collect();
        let bytes = write(&samples);
        // Flags, the way to the first series and time, and the values as decimals or short bits.
        assert_eq!(bytes.len(), 7 + 5 + 9 + (4 + 3 + 2 + 2 + 3 + 2 + 2));
        assert!(same_bits(&read(&bytes, 7).unwrap(), &samples));
    }

    #[test]
    fn the_ends_of_every_range_come_back() {
        let values = [
            0.0,
            -0.0,
            1.0,
            f64::MIN_POSITIVE,
            5e-324,
            f64::MAX,
            -1e-4,
            219_902_325.555_1,
        ];
        let places = [0, 1, u32::MAX, u32::MAX - 1, 0];
        let times = [i64::MIN, i64::MAX, 0, -1, 1];
        let mut samples = vec![];
        for value in values {
            for (series, at) in places.iter().zip(times) {
                samples.push(sample(*series, at, value, at < 0));
            }
        }
        assert!(same_bits(
            &read(&write(&samples), samples.len()).unwrap(),
            &samples
        ));
    }

    #[test]
    fn a_wrong_count_is_an_error() {
        let bytes = write(&[sample(1, 1, 1.5, false); 3]);
        assert_eq!(read(&bytes, 3).map(|s| s.len()), Ok(3));
        assert!(read(&bytes, 2).is_err());
        assert!(read(&bytes, 4).is_err());
        assert!(read(&bytes, usize::MAX).is_err());
        assert_eq!(read(&[], 0), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn there_and_back(rows in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>(), any::<bool>()), 0..64)) {
            let samples: Vec<_> =
                rows.iter().map(|r| sample(r.0, r.1, f64::from_bits(r.2), r.3)).collect();
            prop_assert!(same_bits(&read(&write(&samples), samples.len()).unwrap(), &samples));
        }

        #[test]
        fn decimals_there_and_back(m in -3_000_000_000_000_i64..3_000_000_000_000, places in 0_i32..7) {
            let samples = [sample(3, 4, m as f64 / 10_f64.powi(places), false)];
            prop_assert!(same_bits(&read(&write(&samples), 1).unwrap(), &samples));
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>(), n in 0_usize..300) {
            let _ = read(&bytes, n);
        }
    }
}
