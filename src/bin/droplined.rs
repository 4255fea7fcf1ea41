//! The daemon; see `dropline::droplined`.
#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: dropline::DroplinedAllocator = dropline::DroplinedAllocator;

fn main() -> std::process::ExitCode {
    dropline::droplined()
}
