//! `evanesce-reconstructor`: a reconstructor for callers that are only callers.

/// On crucible threads, Rust's own allocations come from locked memory too, and are wiped when freed.
#[global_allocator]
static ALLOCATOR: evanesce_secret::CrucibleAlloc = evanesce_secret::CrucibleAlloc;

fn main() -> std::process::ExitCode {
    evanesce_service::main(std::env::args_os().skip(1).collect())
}
