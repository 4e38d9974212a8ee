//! The command line that all programs share: `N [SLEEP_SECONDS=10]`.

use std::process::exit;
use std::time::Duration;

fn parse(arguments: &[String]) -> Option<(usize, Duration)> {
    let (tasks, sleep) = match arguments {
        [tasks] => (tasks, "10"),
        [tasks, sleep] => (tasks, sleep.as_str()),
        _ => return None,
    };
    let tasks = tasks.parse().ok().filter(|&n| n > 0)?;
    let sleep: f64 = sleep.parse().ok().filter(|s| (0.0..1e9).contains(s))?;
    Some((tasks, Duration::from_secs_f64(sleep)))
}

/// How many tasks to start and how long each sleeps; exits with a usage line where that cannot be read.
pub fn read(program: &str) -> (usize, Duration) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    parse(&arguments).unwrap_or_else(|| {
        eprintln!("usage: {program} N [SLEEP_SECONDS=10]");
        exit(2)
    })
}
