//! N threads of the operating system that sleep.

use std::panic;
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Once;
use std::thread::{self, JoinHandle};

/// The thread that is being started.
static CURRENT: AtomicUsize = AtomicUsize::new(0);

/// Ends the program with one line, however many threads find out at once.
fn could_not_start(error: &str) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let thread = CURRENT.load(Ordering::Relaxed);
        eprintln!("could not start thread {thread}: {error}");
        exit(1)
    });
}

fn main() {
    let (tasks, sleep) = arguments::read("rust-threads");
    // Out of mappings, the kernel may still give a thread that then cannot get its signal stack, and panics.
    panic::set_hook(Box::new(|panic| {
        let error = panic.payload().downcast_ref::<String>();
        could_not_start(error.map_or("panic", String::as_str));
    }));
    let mut handles: Vec<JoinHandle<()>> = Vec::new();
    for i in 1..=tasks {
        CURRENT.store(i, Ordering::Relaxed);
        match thread::Builder::new().spawn(move || thread::sleep(sleep)) {
            Ok(handle) => handles.push(handle),
            Err(error) => could_not_start(&error.to_string()),
        }
    }
    println!("started {tasks}");
    for handle in handles {
        handle.join().unwrap();
    }
    println!("done {tasks}");
}
