//! N threads of the operating system that sleep.

mod starting;

use starting::start;
use std::thread::{self, JoinHandle};

fn main() {
    let tasks = arguments::read_tasks("rust-threads N [SLEEP_SECONDS=10]");
    starting::print_panics();
    let mut handles: Vec<JoinHandle<()>> = Vec::new();
    for i in 1..=tasks {
        handles.push(start(i, |thread| {
            thread.spawn(|| thread::sleep(arguments::sleep()))
        }));
    }
    println!("started {tasks}");
    for handle in handles {
        handle.join().unwrap();
    }
    println!("done {tasks}");
}
