//! N Tokio tasks in a ring that pass on one message. The message counts how often it was passed on.

use std::time::{Duration, Instant};
use tokio::sync::mpsc::{channel, Receiver, Sender};

/// Passes on each message until its channel is closed.
async fn pass(mut from: Receiver<usize>, to: Sender<usize>) {
    while let Some(passed) = from.recv().await {
        to.send(passed + 1).await.unwrap();
    }
}

/// Sends the message, checks the time each time it arrives, and returns when the others have ended.
async fn lead(mut from: Receiver<usize>, to: Sender<usize>, duration: Duration) {
    let begun = Instant::now();
    to.send(1).await.unwrap();
    let mut passed = from.recv().await.unwrap();
    while begun.elapsed() < duration {
        to.send(passed + 1).await.unwrap();
        passed = from.recv().await.unwrap();
    }
    println!("passed {passed}");
    drop(to);
    from.recv().await;
}

#[tokio::main]
async fn main() {
    let (tasks, duration) = arguments::read("rust-tokio-channel N [SECONDS=10]");
    let (first, mut from) = channel(1);
    for _ in 1..tasks {
        let (to, next) = channel(1);
        tokio::spawn(pass(from, to));
        from = next;
    }
    let leader = tokio::spawn(async move {
        println!("started {tasks}");
        lead(from, first, duration).await
    });
    leader.await.unwrap();
    println!("done {tasks}");
}
