//! N async-std tasks in a ring that pass on one message. The message counts how often it was passed on.

use async_std::channel::{bounded, Receiver, Sender};
use async_std::task;
use std::time::{Duration, Instant};

/// Passes on each message until its channel is closed.
async fn pass(from: Receiver<usize>, to: Sender<usize>) {
    while let Ok(passed) = from.recv().await {
        to.send(passed + 1).await.unwrap();
    }
}

/// Sends the message, checks the time each time it arrives, and returns when the others have ended.
async fn lead(from: Receiver<usize>, to: Sender<usize>, duration: Duration) {
    let begun = Instant::now();
    to.send(1).await.unwrap();
    let mut passed = from.recv().await.unwrap();
    while begun.elapsed() < duration {
        to.send(passed + 1).await.unwrap();
        passed = from.recv().await.unwrap();
    }
    println!("passed {passed}");
    drop(to);
    from.recv().await.unwrap_err();
}

fn main() {
    let (tasks, duration) = arguments::read("rust-async-std-channel N [SECONDS=10]");
    task::block_on(async {
        let (first, mut from) = bounded(1);
        for _ in 1..tasks {
            let (to, next) = bounded(1);
            task::spawn(pass(from, to));
            from = next;
        }
        let leader = task::spawn(async move {
            println!("started {tasks}");
            lead(from, first, duration).await
        });
        leader.await;
        println!("done {tasks}");
    });
}
