//! The daemon; see `dropline::droplined`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dropline::droplined()
}
