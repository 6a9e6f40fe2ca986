//! Runs seeds: `d-engine-sim --seeds 1000 --minutes 5 --profile disks --jobs 2 --report FILE`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use d_engine_sim::options::Options;
use d_engine_sim::runner::{Plan, checks, run};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut options = Options::default();
    let (mut seeds, mut jobs) = (1, 1);
    for pair in words.chunks(2) {
        let [name, value] = pair else { continue };
        match name.as_str() {
            "--seeds" => seeds = value.parse().unwrap_or(1),
            "--jobs" => jobs = value.parse().unwrap_or(1),
            _ => {
                if let Err(why) = options.set(name, value) {
                    eprintln!("{why}");
                    return ExitCode::from(2);
                }
            }
        }
    }
    if seeds == 1 {
        match run(&options, &checks) {
            Ok(summary) => println!("{summary:#?}"),
            Err(failure) => println!("{failure}"),
        }
        return ExitCode::SUCCESS;
    }
    let plan = Plan { options, profiles: Vec::new(), seeds, limit: None, jobs };
    let report = plan.run(&checks, &|_| {});
    for failure in &report.failures {
        println!("{failure}\n");
    }
    println!("{:#?} {} {:?}", report.total, report.seeds, report.elapsed);
    ExitCode::SUCCESS
}
