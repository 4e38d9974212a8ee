// N Tokio tasks that sleep.

use tokio::task::JoinHandle;
use tokio::time;

#[tokio::main]
async fn main() {
    let tasks = arguments::read_tasks(concat!(env!("CARGO_BIN_NAME"), " N [SLEEP_SECONDS=10]"));
    let mut handles: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..tasks {
        handles.push(tokio::spawn(async {
            time::sleep(arguments::sleep()).await;
        }));
    }
    println!("started {tasks}");
    for handle in handles {
        handle.await.unwrap();
    }
    println!("done {tasks}");
}
