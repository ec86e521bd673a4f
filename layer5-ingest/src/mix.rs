//! The two mixes of bits whose results are kept on disk, so they never change: a 64-bit avalanche and a 128-bit hash.
//! In: numbers, bytes. Out: bits without visible pattern. Called from: [`crate::shard`], [`crate::dedup`].
//! Reference: Appleby, MurmurHash3 (public domain), `fmix64` and `x64_128`.

/// A bijection of the 64-bit numbers in which every bit of the input moves every bit of the output; 0 stays 0.
#[must_use]
pub(crate) const fn avalanche(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The running state of one MurmurHash3 x64 128.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Murmur128 {
    h1: u64,
    h2: u64,
    len: u64,
}

impl Murmur128 {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            h1: seed,
            h2: seed,
            len: 0,
        }
    }

    /// Takes 16 bytes, given as two little-endian words.
    #[inline]
    pub(crate) const fn block(mut self, k1: u64, k2: u64) -> Self {
        self.h1 ^= mix1(k1);
        self.h1 = self.h1.rotate_left(27).wrapping_add(self.h2);
        self.h1 = self.h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        self.h2 ^= mix2(k2);
        self.h2 = self.h2.rotate_left(31).wrapping_add(self.h1);
        self.h2 = self.h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
        self.len += 16;
        self
    }

    /// Takes the rest of the message and gives the two halves of its hash.
    #[inline]
    pub(crate) fn finish(mut self, rest: &[u8]) -> [u64; 2] {
        let mut chunks = rest.chunks_exact(16);
        for chunk in &mut chunks {
            self = self.block(word(&chunk[..8]), word(&chunk[8..]));
        }
        let tail = chunks.remainder();
        self.len += tail.len() as u64;
        if tail.len() > 8 {
            self.h2 ^= mix2(word(&tail[8..]));
        }
        if !tail.is_empty() {
            self.h1 ^= mix1(word(&tail[..tail.len().min(8)]));
        }
        let (mut h1, mut h2) = (self.h1 ^ self.len, self.h2 ^ self.len);
        h1 = h1.wrapping_add(h2);
        h2 = h2.wrapping_add(h1);
        h1 = avalanche(h1);
        h2 = avalanche(h2);
        h1 = h1.wrapping_add(h2);
        [h1, h2.wrapping_add(h1)]
    }
}

const fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

const fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

/// At most eight bytes as a little-endian number, missing ones being 0.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    if let Some(all) = bytes.first_chunk() {
        return u64::from_le_bytes(*all);
    }
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_of_murmur3_come_out() {
        let check = |text: &str, expected: [u64; 2]| {
            assert_eq!(
                Murmur128::new(0).finish(text.as_bytes()),
                expected,
                "{text}"
            );
        };
        check("", [0, 0]);
        check("hello", [0xcbd8_a7b3_41bd_9b02, 0x5b1e_906a_48ae_1d19]);
        check(
            "The quick brown fox jumps over the lazy dog",
            [0xe34b_bc7b_bc07_1b6c, 0x7a43_3ca9_c49a_9347],
        );
    }
}
