//! The `tollgate` command: parse, run, exit code. Everything else is `tollgate::cli`.

use std::{env, io, process::ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(tollgate::cli::run(env::args_os(), &mut io::stdout(), &mut io::stderr()))
}
