//! How full the table is, what it costs, and whether its size is sound.

use super::{Finding, Verdict};
use crate::observe::{CpuStatistics, Header};
use crate::tunable::{BYTES_PER_BUCKET, BYTES_PER_ENTRY};

/// Entries a hash chain holds on average in a full table, above which lookups get slow.
const LONG_CHAINS: u64 = 4;

pub(super) fn findings(header: &Header) -> Vec<Finding> {
    if !header.conntrack {
        return Vec::new();
    }
    let (max, buckets) = (
        header.number("nf_conntrack_max"),
        header.number("nf_conntrack_buckets"),
    );
    let mut findings = Vec::new();
    findings.extend(header.count.map(|count| fill(count, max)));
    findings.extend(max.map(|max| memory(max, buckets, header.memory)));
    if let (Some(max), Some(buckets)) = (max, buckets) {
        findings.extend(chains(max, buckets));
    }
    findings.extend(drops(&header.cpu));
    findings
}

fn fill(count: u64, max: Option<u64>) -> Finding {
    let name = ("table", "fill");
    match max {
        Some(0) | None => Finding::new(name, Verdict::Note, format!("{count} entries"), &[]),
        Some(max) => {
            let percent = count.saturating_mul(100) / max;
            let verdict = if percent >= 90 {
                Verdict::Warning
            } else {
                Verdict::Good
            };
            let says = format!("{count} of {max} entries ({percent} %)");
            let way_out: &[&str] = if verdict == Verdict::Warning {
                &[
                    "`conntidy plan` shows what a policy would remove; `[table] max` raises the limit",
                ]
            } else {
                &[]
            };
            Finding::new(name, verdict, says, way_out)
        }
    }
}

fn memory(max: u64, buckets: Option<u64>, memory: u64) -> Finding {
    let name = ("table", "nf_conntrack_max");
    if max == 0 {
        return Finding::new(
            name,
            Verdict::Warning,
            "0, which means no limit: the table may take all memory",
            &["`[table] max` in the policy, with `mode = \"enforce\"`"],
        );
    }
    let entries = max.saturating_mul(BYTES_PER_ENTRY);
    let hash = buckets.unwrap_or(0).saturating_mul(BYTES_PER_BUCKET);
    let full = entries.saturating_add(hash);
    let says = format!(
        "{max}: {} MiB when full, of the machine's {} MiB",
        full.div_ceil(1 << 20),
        memory >> 20
    );
    if memory > 0 && full > memory / 2 {
        return Finding::new(
            name,
            Verdict::Warning,
            says,
            &["`[table] max = { per-gib = \"64k\" }` follows the machine's memory"],
        );
    }
    Finding::new(name, Verdict::Good, says, &[])
}

fn chains(max: u64, buckets: u64) -> Option<Finding> {
    (buckets > 0 && max / buckets > LONG_CHAINS).then(|| {
        Finding::new(
            ("table", "nf_conntrack_buckets"),
            Verdict::Warning,
            format!(
                "{buckets} buckets for {max} entries: {} in each when full, so lookups are slow",
                max / buckets
            ),
            &["`[table] buckets = \"auto\"`, applied with `conntidy apply --resize now`: packets stop meanwhile"],
        )
    })
}

/// What the kernel dropped since it counts; it never sets these counters back.
fn drops(cpus: &[CpuStatistics]) -> Option<Finding> {
    let sum = |one: fn(&CpuStatistics) -> u32| cpus.iter().map(|cpu| u64::from(one(cpu))).sum();
    let full: u64 = sum(|cpu| cpu.drop);
    let early: u64 = sum(|cpu| cpu.early_drop);
    let failed: u64 = sum(|cpu| cpu.insert_failed);
    (full + early + failed > 0).then(|| {
        Finding::new(
            ("table", "drops"),
            Verdict::Note,
            format!(
                "{full} packets dropped, {early} entries given up early, {failed} insertions failed, since the namespace was made: \
                 the first two mean that the table was full"
            ),
            &[],
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_is_no_limit_and_said() {
        let finding = memory(0, Some(512), 1 << 30);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(finding.says.contains("no limit"), "{}", finding.says);
        assert_eq!(fill(7, Some(0)).verdict, Verdict::Note);
    }

    #[test]
    fn a_table_that_may_take_half_the_memory_is_worth_a_look() {
        assert_eq!(memory(1_000_000, None, 8 << 30).verdict, Verdict::Good);
        assert_eq!(memory(20_000_000, None, 8 << 30).verdict, Verdict::Warning);
    }

    #[test]
    fn long_chains_are_said_and_default_ones_are_not() {
        assert!(chains(262_144, 65_536).is_none());
        assert!(chains(1_000_000, 65_536).is_some());
        assert!(chains(1_000_000, 0).is_none());
    }

    #[test]
    fn a_full_table_is_worth_a_look() {
        assert_eq!(fill(89, Some(100)).verdict, Verdict::Good);
        assert_eq!(fill(90, Some(100)).verdict, Verdict::Warning);
    }
}
