//! N Tokio tasks that sleep.

use tokio::task::JoinHandle;
use tokio::time;

#[tokio::main]
async fn main() {
    let (tasks, sleep) = arguments::read("rust-tokio N [SLEEP_SECONDS=10]");
    let mut handles: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..tasks {
        handles.push(tokio::spawn(async move {
            time::sleep(sleep).await;
        }));
    }
    println!("started {tasks}");
    for handle in handles {
        handle.await.unwrap();
    }
    println!("done {tasks}");
}
