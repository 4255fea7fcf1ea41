//! The client; see `dropline::dropline`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dropline::dropline()
}
