//! Starting threads, and ending the program with one line where one cannot be started.

use std::io;
use std::panic;
use std::process::exit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Once;
use std::thread::Builder;

/// The thread that is being started.
static CURRENT: AtomicUsize = AtomicUsize::new(0);

/// Prints the reason and ends the program, once, even if several threads call it at the same time.
fn could_not_start(error: &str) -> ! {
    static PRINTED: Once = Once::new();
    PRINTED.call_once(|| {
        let thread = CURRENT.load(Ordering::Relaxed);
        eprintln!("could not start thread {thread}: {error}");
        exit(1)
    });
    unreachable!()
}

/// Prints a panic of a thread that was started like any other failure to start it.
///
/// Out of mappings, the kernel may still give a thread that then cannot get its signal stack, and panics.
pub fn print_panics() {
    panic::set_hook(Box::new(|panic| {
        let error = panic.payload().downcast_ref::<String>();
        could_not_start(error.map_or("panic", String::as_str))
    }));
}

/// Starts the `i`-th thread.
pub fn start<T>(i: usize, spawn: impl FnOnce(Builder) -> io::Result<T>) -> T {
    CURRENT.store(i, Ordering::Relaxed);
    spawn(Builder::new()).unwrap_or_else(|error| could_not_start(&error.to_string()))
}
