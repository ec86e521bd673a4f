//! Bits in bytes, the most significant first: what the coders of [`super::integers`] write and read.
//! Invariants: reading past the end is `None`, never a panic; the last byte is padded with zeros.

/// Bits being written to the end of bytes.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    /// The `n_held` newest bits, not yet a byte; higher bits are stale.
    held: u64,
    /// `0 .. 8` between calls.
    n_held: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn behind(bytes: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            held: 0,
            n_held: 0,
        }
    }

    /// Appends the `n_bits` low bits of `value`; `n_bits` is at most 64.
    pub(super) fn push(&mut self, value: u64, n_bits: u32) {
        if n_bits > 32 {
            self.push(value >> 32, n_bits - 32);
            self.push(value & 0xffff_ffff, 32);
            return;
        }
        let low = value & ((1_u64 << n_bits) - 1);
        self.held = (self.held << n_bits) | low;
        self.n_held += n_bits;
        while self.n_held >= 8 {
            self.n_held -= 8;
            self.bytes.push((self.held >> self.n_held) as u8);
        }
    }

    /// Fills the last byte.
    pub(super) fn finish(self) {
        if self.n_held > 0 {
            self.bytes.push((self.held << (8 - self.n_held)) as u8);
        }
    }
}

/// Bits being read.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// `0 ..= 8 * bytes.len()`
    n_read: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, n_read: 0 }
    }

    /// The next 57 bits or more at the top of a word, zeros behind the end.
    fn window(&self) -> u64 {
        let rest = &self.bytes[self.n_read / 8..];
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_be_bytes(*word),
            None => {
                let mut word = [0; 8];
                word[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(word)
            }
        };
        word << (self.n_read % 8)
    }

    fn skip(&mut self, n_bits: u32) -> Option<()> {
        let n_read = self.n_read + n_bits as usize;
        (n_read <= self.bytes.len() * 8).then(|| self.n_read = n_read)
    }

    /// The next `n_bits`, at most 64, as the low bits of a word.
    pub(super) fn read(&mut self, n_bits: u32) -> Option<u64> {
        if n_bits > 32 {
            let high = self.read(n_bits - 32)?;
            return Some(high << 32 | self.read(32)?);
        }
        if n_bits == 0 {
            return Some(0);
        }
        let value = self.window() >> (64 - n_bits);
        self.skip(n_bits)?;
        Some(value)
    }

    /// How many ones come before the next zero, which is read too; after `most` (at most 56) ones no zero is looked for.
    pub(super) fn ones(&mut self, most: u32) -> Option<u32> {
        let n = self.window().leading_ones().min(most);
        self.skip(if n < most { n + 1 } else { n })?;
        Some(n)
    }
}
