//! The command line program: parse, call the library, show what came out.

#[macro_use]
mod output;

mod bench;
mod conductor;
mod doctor;
mod master;
mod metadata;
mod node;
mod request;
mod serve;
mod simulate;
mod size;
mod trace;
mod zmtp;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A data plane for the KV caches of LLM serving.
#[derive(Parser)]
#[command(name = "mooncake", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::BenchArgs),
    Conductor(conductor::ConductorArgs),
    Doctor(doctor::DoctorArgs),
    Master(master::MasterArgs),
    Metadata(metadata::MetadataArgs),
    Node(node::NodeArgs),
    Simulate(simulate::SimulateArgs),
    Trace(trace::TraceArgs),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(args) => bench::run(args),
        Command::Conductor(args) => conductor::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Master(args) => master::run(&args),
        Command::Metadata(args) => metadata::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Trace(args) => trace::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mooncake: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_of_all_commands_are_sound() {
        super::Arguments::command().debug_assert();
    }
}
