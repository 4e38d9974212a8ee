//! The program of `rust-tokio` with the version of Tokio that was current when the article was written.

include!("../rust-tokio/main.rs");
