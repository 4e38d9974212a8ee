//! N threads of the operating system that end at once.

mod starting;

use starting::start;
use std::thread;
use std::time::Duration;

fn main() {
    let (tasks, idle) = arguments::read("rust-threads-spawn N [IDLE_SECONDS=10]");
    starting::print_panics();
    thread::sleep(Duration::from_millis(100));
    println!("ready {tasks}");
    // A scope counts its threads and waits for all of them. No handle is kept.
    thread::scope(|scope| {
        for i in 1..=tasks {
            start(i, |thread| thread.spawn_scoped(scope, || ()));
        }
    });
    println!("ended {tasks}");
    thread::sleep(idle);
    println!("done {tasks}");
}
