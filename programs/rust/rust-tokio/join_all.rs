//! One Tokio task that waits for N sleeps.

use futures_util::future::join_all;
use tokio::time;

#[tokio::main]
async fn main() {
    let (tasks, sleep) = arguments::read("rust-tokio-join-all N [SLEEP_SECONDS=10]");
    let all = join_all((0..tasks).map(|_| time::sleep(sleep)));
    println!("started {tasks}");
    all.await;
    println!("done {tasks}");
}
