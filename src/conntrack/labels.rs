//! Names of connection labels, as `/etc/xtables/connlabel.conf` gives them.

/// Label numbers and their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelMap {
    names: Vec<(u16, Box<str>)>,
}

/// Labels that a map may name; a flow has the first 128 of them.
const LIMIT: u16 = 1024;

impl LabelMap {
    /// Reads a map: a number and a name a line. What is no such line is passed over, and of a
    /// number or name that comes again the first counts, as the tool has it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names: Vec<(u16, Box<str>)> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let line = line.trim_start_matches(is_space);
            let Some((number, rest)) = super::number::leading(line) else {
                continue;
            };
            let name = rest.trim_matches(is_space);
            let sane = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '-';
            let Ok(number) = u16::try_from(number) else {
                continue;
            };
            if number >= LIMIT || name.is_empty() || !name.chars().all(sane) {
                continue;
            }
            if !names
                .iter()
                .any(|(n, known)| *n == number || **known == *name)
            {
                names.push((number, name.into()));
            }
        }
        names.sort_unstable_by_key(|(number, _)| *number);
        Self { names }
    }

    /// The number of a label.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u16> {
        let found = self.names.iter().find(|(_, known)| **known == *name)?;
        Some(found.0)
    }

    /// The name of a label.
    #[must_use]
    pub fn name(&self, number: u16) -> Option<&str> {
        let at = self.names.binary_search_by_key(&number, |(n, _)| *n).ok()?;
        Some(&self.names[at].1)
    }

    /// Names of the labels that are set, ascending; labels without a name are passed over.
    pub(super) fn set(&self, labels: u128) -> impl Iterator<Item = &str> {
        self.names
            .iter()
            .filter(move |(number, _)| *number < 128 && labels >> number & 1 == 1)
            .map(|(_, name)| &**name)
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_as_the_tool_reads_it() {
        let map = LabelMap::parse(
            "# comment\n0 web\n 1\tfrom vpn \n0 again\n5 web\nno number\n0x10 sixteen\n1024 far\n7 a;b\n200 high\n",
        );
        assert_eq!(map.number("web"), Some(0));
        assert_eq!(map.number("from vpn"), Some(1));
        assert_eq!(map.name(16), Some("sixteen"));
        for absent in ["again", "far", "a;b"] {
            assert_eq!(map.number(absent), None);
        }
        let all: Vec<_> = map.set(u128::MAX).collect();
        assert_eq!(all, ["web", "from vpn", "sixteen"]);
    }
}
