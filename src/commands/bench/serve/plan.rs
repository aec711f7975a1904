use std::time::Duration;

use serde::Serialize;

use super::load::Sample;
use crate::commands::bench::turns::percentile;
use crate::random::Random;

/// Times of a Poisson process of `rate` per second: gaps are exponential, as those of callers who know nothing of each
/// other.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64")]
pub fn arrivals(rate: f64, time: Duration, seed: u64) -> Vec<Duration> {
    let mut random = Random::seeded(seed);
    let mut gap = || -(((random.bits() >> 11) as f64 + 1.0) / (1u64 << 53) as f64).ln() / rate;
    let mut at = gap();
    let mut arrivals = Vec::new();
    while at < time.as_secs_f64() {
        arrivals.push(Duration::from_secs_f64(at));
        at += gap();
    }
    arrivals
}

/// What one load came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Offered load as a part of the throughput.
    pub load: f64,
    /// Requests per second that were begun.
    pub offered_per_second: f64,
    /// Answers with 200 per second, until the last one.
    pub answered_per_second: f64,
    /// Median latency of the answers with 200, from the intended begin.
    pub p50_ms: Option<f64>,
    /// Latency that 99 % of the answers with 200 did not exceed.
    pub p99_ms: Option<f64>,
    /// Answers with 200.
    pub ok: usize,
    /// Answers with 429: the server was full.
    pub overloaded: usize,
    /// Answers with 504: the deadline had passed.
    pub late: usize,
    /// Other answers, and connections that broke.
    pub failed: usize,
}

impl Step {
    /// Sums up the samples of a load that was offered for this long.
    #[expect(clippy::cast_precision_loss, reason = "requests are few")]
    pub fn of(load: f64, time: Duration, samples: &[Sample]) -> Self {
        let count = |status| samples.iter().filter(|sample| sample.status == Some(status)).count();
        let [ok, overloaded, late] = [200, 429, 504].map(count);
        let answered = || samples.iter().filter(|sample| sample.status == Some(200));
        let end = answered().map(|sample| sample.ended).max().unwrap_or_default().max(time);
        let latencies: Vec<_> = answered().map(|sample| sample.latency).collect();
        let ms = |percent| (ok > 0).then(|| 1e3 * percentile(&latencies, percent).as_secs_f64());
        Self {
            load,
            offered_per_second: samples.len() as f64 / time.as_secs_f64(),
            answered_per_second: ok as f64 / end.as_secs_f64(),
            p50_ms: ms(50),
            p99_ms: ms(99),
            ok,
            overloaded,
            late,
            failed: samples.len() - ok - overloaded - late,
        }
    }
}

/// Processor time of this process, from the text of /proc/self/stat (proc_pid_stat(5)): utime and stime, in hundredths
/// of a second.
pub fn processor_seconds(stat: &str) -> Option<f64> {
    // The name before may hold anything, parentheses too.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |field: Option<&str>| field?.parse::<u32>().ok();
    let mut fields = fields.split_whitespace().skip(11);
    Some(f64::from(ticks(fields.next())? + ticks(fields.next())?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_their_rate_and_know_nothing_of_each_other() {
        let time = Duration::from_secs(1000);
        let arrivals = arrivals(20.0, time, 1);
        // Four standard deviations of a Poisson count.
        assert!((arrivals.len() as f64 - 20_000.0).abs() < 4.0 * 20_000f64.sqrt(), "{}", arrivals.len());
        assert!(arrivals.is_sorted() && arrivals.iter().all(|&at| at < time));
        let gaps: Vec<f64> = arrivals.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let longer = gaps.iter().filter(|&&gap| gap > 0.05).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1f64).exp()).abs() < 0.02, "one gap in e is longer than the mean: {longer}");
    }

    #[test]
    fn a_step_counts_every_request_once() {
        let sample =
            |status, ms| Sample { status, latency: Duration::from_millis(ms), ended: Duration::from_millis(1000 + ms) };
        let statuses = [Some(200), Some(200), Some(429), Some(504), Some(500), None];
        let samples: Vec<_> = statuses.into_iter().zip([10, 1000, 1, 2, 3, 4]).map(|(s, ms)| sample(s, ms)).collect();
        let step = Step::of(0.5, Duration::from_secs(1), &samples);
        assert_eq!((step.ok, step.overloaded, step.late, step.failed), (2, 1, 1, 2));
        assert_eq!((step.p50_ms, step.p99_ms), (Some(10.0), Some(1000.0)));
        assert_eq!((step.offered_per_second, step.answered_per_second), (6.0, 1.0));
        assert_eq!(Step::of(0.5, Duration::from_secs(1), &samples[2..]).p50_ms, None);
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(processor_seconds(stat), Some(3.0));
        assert_eq!(processor_seconds("7 (a) S 1"), None);
    }
}
