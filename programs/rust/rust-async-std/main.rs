//! N async-std tasks that sleep.

use async_std::task::{self, JoinHandle};

fn main() {
    let tasks = arguments::read_tasks("rust-async-std N [SLEEP_SECONDS=10]");
    task::block_on(async {
        let mut handles: Vec<JoinHandle<()>> = Vec::new();
        for _ in 0..tasks {
            handles.push(task::spawn(async {
                task::sleep(arguments::sleep()).await;
            }));
        }
        println!("started {tasks}");
        for handle in handles {
            handle.await;
        }
        println!("done {tasks}");
    });
}
