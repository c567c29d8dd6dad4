//! What is remembered of one holder: how fast it answers, and whether it failed lately.
//!
//! Pure; time is microseconds of any monotonic clock. Answers are counted in a histogram of fixed size
//! with eight buckets to the octave, halved every so often, so that it follows the holder and never grows.

/// Buckets per doubling.
const STEPS: u32 = 8;
/// The first bucket ends here, in µs.
const FIRST: u64 = 64;
/// Enough for 64 µs · 2^20: more than a minute.
const BUCKETS: usize = 20 * STEPS as usize + 1;
/// After this many answers old ones weigh half.
const MEMORY: u32 = 256;

/// Estimates that differ by less are one: picking by microseconds would spread callers over all holders
/// and halve every batch.
const SAME: u64 = 500;
/// An answer is late at its holder's p95 and a quarter, and never before this long after it: jitter must not spend
/// the hedges (docs/decisions/hedging.md).
const GRACE: u64 = 5_000;
/// When an answer is late at a holder that has never answered: time for a connection, TLS and a session.
const FIRST_PATIENCE: u64 = 250_000;
/// A holder not heard of for this long is taken to be twice as fast as remembered, so that it is tried again.
const FORGET: u64 = 30_000_000;
/// How long a holder is avoided after one failure; doubled by each further one.
const AVOID: u64 = 500_000;
/// The longest that a holder is avoided.
const AVOID_MOST: u64 = 30_000_000;

/// The memory of one holder.
pub struct Latency {
    counts: [u32; BUCKETS],
    total: u32,
    /// p50 as the planner sees it; moves only when it has changed by more than jitter.
    published: Option<u64>,
    p95: u64,
    fastest: Option<u64>,
    heard: u64,
    failures: u32,
    avoid_until: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
            published: None,
            p95: 0,
            fastest: None,
            heard: 0,
            failures: 0,
            avoid_until: 0,
        }
    }
}

impl Latency {
    /// An answer came `took` µs after it was wanted and `way` µs after the request for it was sent.
    pub fn answered(&mut self, now: u64, took: u64, way: u64) {
        self.alive(now);
        self.way(way);
        self.count(took);
    }

    /// An answer was no longer waited for after `waited` µs. All that is known is that it takes longer than that:
    /// it is counted as such, lest only the fast answers of a holder that is often slow were seen.
    pub fn gave_up(&mut self, now: u64, waited: u64) {
        if self.total > 0 {
            self.count(waited);
        }
        self.failed(now);
    }

    fn count(&mut self, took: u64) {
        let bucket = bucket(took);
        self.counts[bucket] += 1;
        self.total += 1;
        if self.total >= MEMORY {
            self.total = 0;
            for count in &mut self.counts {
                *count /= 2;
                self.total += *count;
            }
        }
        let p50 = self.percentile(50);
        self.p95 = self.percentile(95);
        if self
            .published
            .is_none_or(|old| old.abs_diff(p50) > (old / 4).max(SAME))
        {
            self.published = Some(p50);
        }
    }

    /// Something went there and back in `way` µs.
    pub fn way(&mut self, way: u64) {
        self.fastest = Some(self.fastest.map_or(way, |fastest| fastest.min(way)));
    }

    /// It answered, whatever the answer and however long it took.
    pub fn alive(&mut self, now: u64) {
        self.heard = now;
        self.failures = 0;
        self.avoid_until = 0;
    }

    /// It could not be reached, did not answer, broke the protocol or cannot take more.
    pub fn failed(&mut self, now: u64) {
        // Many operations may find out about one failure.
        if self.avoid_until > now + AVOID / 2 {
            return;
        }
        let doublings = self.failures.min(8);
        self.failures += 1;
        self.avoid_until = now + (AVOID << doublings).min(AVOID_MOST);
    }

    /// How soon an answer is expected, in µs; `None` before the first. Steady under jitter.
    pub fn expected(&self, now: u64) -> Option<u64> {
        self.published.map(|p50| p50 >> self.silence(now))
    }

    /// How long after asking an answer is late, in µs; longer where a connection must be made first.
    pub fn patience(&self, now: u64, standing: bool) -> u64 {
        let p95 = self.p95 >> self.silence(now);
        let usual = p95 + (p95 / 4).max(GRACE);
        if standing && self.total > 0 {
            usual
        } else {
            usual.max(FIRST_PATIENCE)
        }
    }

    /// Whether it failed so recently that others are to be preferred.
    pub fn avoided(&self, now: u64) -> bool {
        now < self.avoid_until
    }

    /// The shortest answer time ever, in µs: what the way there costs.
    pub fn fastest(&self) -> Option<u64> {
        self.fastest
    }

    /// The p50 and p95 of recent answers, in µs.
    pub fn summary(&self) -> Option<(u64, u64)> {
        (self.total > 0).then(|| (self.percentile(50), self.p95))
    }

    fn silence(&self, now: u64) -> u64 {
        (now.saturating_sub(self.heard) / FORGET).min(32)
    }

    fn percentile(&self, percent: u32) -> u64 {
        let wanted = (u64::from(self.total) * u64::from(percent))
            .div_ceil(100)
            .max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return upper_end(bucket);
            }
        }
        upper_end(BUCKETS - 1)
    }
}

/// The bucket of an answer time: eight linear steps in each octave above [`FIRST`].
fn bucket(took: u64) -> usize {
    if took < FIRST {
        return 0;
    }
    let octave = (took / FIRST).ilog2();
    let base = FIRST << octave;
    let step = (took - base) * u64::from(STEPS) / base;
    ((octave * STEPS) as usize + step as usize + 1).min(BUCKETS - 1)
}

/// The longest time that a bucket holds, in µs.
fn upper_end(bucket: usize) -> u64 {
    if bucket == 0 {
        return FIRST;
    }
    let (octave, step) = (
        (bucket - 1) as u64 / u64::from(STEPS),
        (bucket - 1) as u64 % u64::from(STEPS),
    );
    let base = FIRST << octave;
    base + base * (step + 1) / u64::from(STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(latency: &mut Latency, now: u64, took: u64) {
        latency.answered(now, took, took);
    }

    #[test]
    fn every_time_lies_in_its_bucket() {
        for took in (0..200_000).chain((0..300).map(|i| i * 1_000_000)) {
            let b = bucket(took);
            if b < BUCKETS - 1 {
                assert!(took <= upper_end(b), "{took} above bucket {b}");
            }
            if b > 0 && b < BUCKETS - 1 {
                assert!(took >= upper_end(b - 1), "{took} below bucket {b}");
                assert!(
                    upper_end(b) <= took + took / 7 + 1,
                    "bucket {b} is too wide"
                );
            }
        }
    }

    #[test]
    fn percentiles_follow_the_holder() {
        let mut latency = Latency::default();
        assert_eq!(latency.expected(0), None);
        for i in 0..100 {
            answered(&mut latency, i, if i % 20 == 0 { 9_000 } else { 1_000 });
        }
        let (p50, p95) = latency.summary().unwrap();
        assert!((1_000..1_200).contains(&p50) && p95 < 10_500);
        for i in 0..600 {
            answered(&mut latency, i, 40_000);
        }
        assert!((40_000..46_000).contains(&latency.expected(600).unwrap()));
        assert_eq!(latency.fastest(), Some(1_000));
    }

    #[test]
    fn jitter_does_not_move_the_published_estimate() {
        let mut latency = Latency::default();
        answered(&mut latency, 0, 300);
        let first = latency.expected(0);
        for i in 1..500 {
            answered(&mut latency, i, 250 + i % 400);
        }
        assert_eq!(latency.expected(500), first);
    }

    #[test]
    fn failures_are_avoided_ever_longer_and_forgiven_at_once() {
        let mut latency = Latency::default();
        latency.failed(0);
        assert!(latency.avoided(AVOID - 1) && !latency.avoided(AVOID));
        latency.failed(AVOID);
        assert!(latency.avoided(AVOID + 2 * AVOID - 1));
        latency.failed(AVOID + 1);
        assert!(
            !latency.avoided(AVOID + 2 * AVOID),
            "one failure counted twice"
        );
        latency.alive(AVOID + 2);
        assert!(!latency.avoided(AVOID + 3));
        for i in 0..100 {
            latency.failed(i * AVOID_MOST);
        }
        assert!(!latency.avoided(99 * AVOID_MOST + AVOID_MOST));
    }

    #[test]
    fn what_was_given_up_counts_as_slower_and_makes_nobody_look_fast_or_alive() {
        let mut latency = Latency::default();
        latency.gave_up(0, 5_000);
        assert_eq!(latency.expected(0), None, "it has never answered");
        answered(&mut latency, 1, 1_000);
        for i in 0..8 {
            latency.gave_up(2 + i, 80_000);
        }
        assert!(latency.expected(10).unwrap() >= 80_000 && latency.avoided(10));
        assert_eq!(latency.fastest(), Some(1_000));
    }

    #[test]
    fn a_slow_holder_is_tried_again_after_a_silence() {
        let mut latency = Latency::default();
        answered(&mut latency, 0, 500_000);
        let slow = latency.expected(1).unwrap();
        assert!(latency.expected(4 * FORGET).unwrap() <= slow / 16);
    }
}
