//! Numbers that are the same everywhere and always (`SplitMix64`).

/// A sequence of numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// From `low` to `high`, small ones more often: each power of two as often as the next.
    pub(crate) fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let bits = 64 - (high - low + 1).leading_zeros();
        let cut = self.between(0, u64::from(bits));
        let width = (1_u64 << cut).min(high - low + 1);
        low + self.next() % width
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(crate) fn port(&mut self, low: u16, high: u16) -> u16 {
        let span = u64::from(high - low) + 1;
        low + u16::try_from(self.next() % span).unwrap()
    }

    pub(crate) fn byte(&mut self, low: u8, high: u8) -> u8 {
        low + u8::try_from(self.next() % (u64::from(high - low) + 1)).unwrap()
    }

    pub(crate) fn word(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap()
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.next() % choices.len() as u64).unwrap()]
    }
}
