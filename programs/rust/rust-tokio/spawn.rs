//! N Tokio tasks that end at once.

use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time;

#[tokio::main]
async fn main() {
    let (tasks, idle) = arguments::read("rust-tokio-spawn N [IDLE_SECONDS=10]");
    time::sleep(Duration::from_millis(100)).await;
    println!("ready {tasks}");
    // Nothing is ever sent: the channel closes when the last task has dropped its end.
    let (alive, mut all_ended) = mpsc::channel::<()>(1);
    for _ in 0..tasks {
        let alive = alive.clone();
        tokio::spawn(async move { drop(alive) });
    }
    drop(alive);
    all_ended.recv().await;
    println!("ended {tasks}");
    time::sleep(idle).await;
    println!("done {tasks}");
}
