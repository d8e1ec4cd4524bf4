//! Kleene's three-valued logic.

use std::ops::Not;

/// Whether a predicate holds, where it may be that nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// The entry does not provide the field, or the kernel did not tell it.
    Unknown,
}

impl Truth {
    /// Both hold: false if either is, else unknown if either is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    /// Either holds: true if either is, else unknown if either is.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        !(!self).and(!other)
    }

    /// Whether it is [`Truth::True`].
    #[must_use]
    pub fn is_true(self) -> bool {
        self == Self::True
    }
}

impl Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl From<Option<bool>> for Truth {
    fn from(holds: Option<bool>) -> Self {
        holds.map_or(Self::Unknown, Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::Truth::{self, False, True, Unknown};

    #[test]
    fn follows_kleenes_tables() {
        let and = [
            (True, True, True),
            (True, False, False),
            (True, Unknown, Unknown),
            (False, False, False),
            (False, Unknown, False),
            (Unknown, Unknown, Unknown),
        ];
        for (a, b, both) in and {
            assert_eq!(a.and(b), both, "{a:?} and {b:?}");
            assert_eq!(b.and(a), both, "{b:?} and {a:?}");
            assert_eq!((!a).or(!b), !both, "not {a:?} or not {b:?}");
        }
        assert_eq!(Truth::from(None), !Truth::from(None));
    }
}
