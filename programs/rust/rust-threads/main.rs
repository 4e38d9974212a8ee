//! N threads of the operating system that sleep.

use std::process::exit;
use std::thread::{self, JoinHandle};

fn main() {
    let (tasks, sleep) = arguments::read("rust-threads");
    let mut handles: Vec<JoinHandle<()>> = Vec::new();
    for i in 1..=tasks {
        match thread::Builder::new().spawn(move || thread::sleep(sleep)) {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                eprintln!("could not start thread {i}: {error}");
                exit(1);
            }
        }
    }
    println!("started {tasks}");
    for handle in handles {
        handle.join().unwrap();
    }
    println!("done {tasks}");
}
