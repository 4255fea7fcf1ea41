//! The operator's tool; see `dropline::droplinectl`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dropline::droplinectl()
}
