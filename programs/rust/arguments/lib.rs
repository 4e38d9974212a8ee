//! The command line that all programs share: how many tasks, and a number of seconds that is 10 where it is not given.

use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static SLEEP_NANOS: AtomicU64 = AtomicU64::new(0);

fn parse(arguments: &[String]) -> Option<(usize, Duration)> {
    let (tasks, seconds) = match arguments {
        [tasks] => (tasks, "10"),
        [tasks, seconds] => (tasks, seconds.as_str()),
        _ => return None,
    };
    let tasks = tasks.parse().ok().filter(|&n| n > 0)?;
    let seconds: f64 = seconds.parse().ok().filter(|s| (0.0..1e9).contains(s))?;
    Some((tasks, Duration::from_secs_f64(seconds)))
}

/// The number of tasks and the duration; exits with the usage line where they cannot be read.
pub fn read(usage: &str) -> (usize, Duration) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    parse(&arguments).unwrap_or_else(|| {
        eprintln!("usage: {usage}");
        exit(2)
    })
}

/// The number of tasks; `sleep` has the duration from then on.
pub fn read_tasks(usage: &str) -> usize {
    let (tasks, sleep) = read(usage);
    // Less than 1e9 seconds, so that the nanoseconds fit.
    SLEEP_NANOS.store(sleep.as_nanos() as u64, Ordering::Relaxed);
    tasks
}

/// How long each task sleeps. Tasks read it here, so that they hold no copy, like tasks with a constant.
pub fn sleep() -> Duration {
    Duration::from_nanos(SLEEP_NANOS.load(Ordering::Relaxed))
}
