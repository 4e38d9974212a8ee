//! N async-std tasks that sleep.

use async_std::task::{self, JoinHandle};

fn main() {
    let (tasks, sleep) = arguments::read("rust-async-std N [SLEEP_SECONDS=10]");
    task::block_on(async {
        let mut handles: Vec<JoinHandle<()>> = Vec::new();
        for _ in 0..tasks {
            handles.push(task::spawn(async move {
                task::sleep(sleep).await;
            }));
        }
        println!("started {tasks}");
        for handle in handles {
            handle.await;
        }
        println!("done {tasks}");
    });
}
