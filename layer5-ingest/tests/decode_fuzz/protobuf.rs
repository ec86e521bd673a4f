//! Protocol Buffers for the fuzzer: messages taken apart and put together again, so that a damage deep inside leaves the
//! lengths round it right and is not refused at the door.
//! In: bytes. Out: fields, or bytes. Called from: `mutate`, `labelled`, `seeds`. Written from the specification, not from
//! the decoder: numbers are added up in 128 bits.

use crate::{mutate::bytes, rng::Rng};

/// The value of a field, by its wire type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wire {
    Varint(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Fixed32(u32),
}

/// A field's number and value.
pub(crate) type Field = (u32, Wire);

/// Takes a message apart; `None` when it is none.
pub(crate) fn fields(mut message: &[u8]) -> Option<Vec<Field>> {
    let mut all = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let number = u32::try_from(key / 8).ok().filter(|&n| n > 0)?;
        let wire = match key % 8 {
            0 => Wire::Varint(varint(&mut message)?),
            1 => Wire::Fixed64(u64::from_le_bytes(take(&mut message, 8)?.try_into().ok()?)),
            2 => {
                let n = usize::try_from(varint(&mut message)?).ok()?;
                Wire::Bytes(take(&mut message, n)?.to_vec())
            }
            5 => Wire::Fixed32(u32::from_le_bytes(take(&mut message, 4)?.try_into().ok()?)),
            _ => return None,
        };
        all.push((number, wire));
    }
    Some(all)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(n)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let len = rest.iter().take(10).position(|b| b & 0x80 == 0)? + 1;
    let septets = take(rest, len)?.iter().rev();
    let sum = septets.fold(0_u128, |sum, b| sum * 128 + u128::from(b & 0x7f));
    u64::try_from(sum).ok()
}

/// Appends a field.
pub(crate) fn append(out: &mut Vec<u8>, number: u32, wire: &Wire) {
    let key = |kind: u64| u64::from(number) * 8 + kind;
    match wire {
        Wire::Varint(n) => {
            append_varint(out, key(0));
            append_varint(out, *n);
        }
        Wire::Fixed64(n) => {
            append_varint(out, key(1));
            out.extend_from_slice(&n.to_le_bytes());
        }
        Wire::Bytes(bytes) => {
            append_varint(out, key(2));
            append_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Wire::Fixed32(n) => {
            append_varint(out, key(5));
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}

fn append_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Puts a message together.
pub(crate) fn message(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, wire) in fields {
        append(&mut out, *number, wire);
    }
    out
}

/// Numbers on some border: of septets, of signs, of flags, of times.
const BORDER_NUMBERS: [u64; 12] = [
    0,
    1,
    2,
    127,
    128,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
    0x7ff0_0000_0000_0002,
    0x7ff8_0000_0000_0000,
];

/// Damages one field of `body`, however deep inside.
pub(crate) fn damage(body: &mut Vec<u8>, rng: &mut Rng) {
    let Some(mut fields) = fields(body).filter(|fields| !fields.is_empty()) else {
        return bytes(body, &[], rng);
    };
    let i = rng.below(fields.len());
    if let Wire::Bytes(inner) = &mut fields[i].1
        && rng.below(4) != 0
    {
        damage(inner, rng);
    } else {
        match rng.below(6) {
            0 => drop(fields.remove(i)),
            1 => fields.insert(rng.below(i + 1), fields[i].clone()),
            2 => {
                let j = rng.below(fields.len());
                fields.swap(i, j);
            }
            3 => fields[i].0 = 1 + rng.below(12) as u32,
            4 => {
                let n = *rng.of(&BORDER_NUMBERS);
                fields[i].1 = match rng.below(4) {
                    0 => Wire::Varint(n),
                    1 => Wire::Fixed32(n as u32),
                    2 => Wire::Bytes(n.to_le_bytes().to_vec()),
                    _ => Wire::Fixed64(n),
                };
            }
            _ => match &mut fields[i].1 {
                Wire::Varint(n) | Wire::Fixed64(n) => *n = *rng.of(&BORDER_NUMBERS),
                Wire::Fixed32(n) => *n ^= 1 << rng.below(32),
                Wire::Bytes(inner) => bytes(inner, b"service.instance.id", rng),
            },
        }
    }
    *body = message(&fields);
}
