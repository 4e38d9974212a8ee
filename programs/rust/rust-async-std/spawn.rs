//! N async-std tasks that end at once.

use async_std::channel;
use async_std::task;
use std::time::Duration;

fn main() {
    let (tasks, idle) = arguments::read("rust-async-std-spawn N [IDLE_SECONDS=10]");
    task::block_on(async {
        task::sleep(Duration::from_millis(100)).await;
        println!("ready {tasks}");
        // Nothing is ever sent: the channel closes when the last task has dropped its end.
        let (alive, all_ended) = channel::bounded::<()>(1);
        for _ in 0..tasks {
            let alive = alive.clone();
            task::spawn(async move { drop(alive) });
        }
        drop(alive);
        all_ended.recv().await.unwrap_err();
        println!("ended {tasks}");
        task::sleep(idle).await;
        println!("done {tasks}");
    });
}
