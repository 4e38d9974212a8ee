//! N threads in a ring that pass on one message. The message counts how often it was passed on.

mod starting;

use starting::start;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// Passes on each message until its channel is closed.
fn pass(from: Receiver<usize>, to: SyncSender<usize>) {
    for passed in from {
        to.send(passed + 1).unwrap();
    }
}

/// Sends the message, checks the time each time it arrives, and returns when the others have ended.
fn lead(from: Receiver<usize>, to: SyncSender<usize>, duration: Duration) {
    let begun = Instant::now();
    to.send(1).unwrap();
    let mut passed = from.recv().unwrap();
    while begun.elapsed() < duration {
        to.send(passed + 1).unwrap();
        passed = from.recv().unwrap();
    }
    println!("passed {passed}");
    drop(to);
    from.recv().unwrap_err();
}

fn main() {
    let (tasks, duration) = arguments::read("rust-threads-channel N [SECONDS=10]");
    starting::print_panics();
    thread::scope(|scope| {
        let (first, mut from) = sync_channel(1);
        for i in 1..tasks {
            let (to, next) = sync_channel(1);
            start(i, |thread| thread.spawn_scoped(scope, || pass(from, to)));
            from = next;
        }
        start(tasks, |thread| {
            thread.spawn_scoped(scope, move || {
                println!("started {tasks}");
                lead(from, first, duration)
            })
        });
    });
    println!("done {tasks}");
}
