//! The reconstructor as a service: the crucible as a process of its own, for callers that are only callers.
//!
//! A caller composes its requests and proves them to every agent (PROTOCOL §6, Request); this process carries them, opens
//! the shares that are sealed to its sessions, operates, and seals secret results to the caller's session. It decides
//! nothing, and has no say of its own: agents give it no share that no caller has asked for.
//!
//! Guaranteed: one program without an interpreter, without files to write and without children; after start it can ask
//! the kernel for what `allowed` lists and no more, and connect to no port but the agents'. Not guaranteed: anything
//! against its operator. Whoever controls it has, of every token opened through it, every suite of that key for good
//! (PROTOCOL §10).
//!
//! | to learn | read |
//! |---|---|
//! | what callers ask, in bytes | `docs/reconstructor-api.md` |
//! | what is done with it | `serve`, `operate` |
//! | who is listened to, and how much | `server`, `callers` |
//! | what the process may still do | `harden`, `allowed`, `trial` |
//! | how it starts | `config`, `run` |
#![deny(unsafe_code)]

mod allowed;
mod callers;
mod config;
mod harden;
mod operate;
mod run;
mod serve;
mod server;
mod trial;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "evanesce-reconstructor run FOLDER | trial | --version";

/// What the program does with these arguments.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let done = match (&words[..], &arguments[..]) {
        (["run", ..], [_, folder]) => run::run(Path::new(folder)),
        (["trial"], [_]) => trial::trial(),
        (["--version"], [_]) => {
            println!("evanesce-reconstructor {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => Err(format!("usage: {USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("evanesce-reconstructor: {why}");
            ExitCode::FAILURE
        }
    }
}
