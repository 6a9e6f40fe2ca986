//! Commits per second of three cores in one process, in memory: `core-bench CORE BATCH SECONDS`.
//!
//! A batch enters when the one before it has been applied on all three members. Prints one line of JSON.

mod cluster;
mod native;
mod raft_rs;

#[cfg(feature = "allocations")]
mod allocations;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cluster::{Cluster, Proposals};

const USAGE: &str = "core-bench native|raft-rs BATCH SECONDS";

/// What a stretch has shown.
struct Measured {
    commits: u64,
    calls: u64,
    elapsed: Duration,
    processor: Duration,
    allocations: u64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [core, batch, seconds] = words.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (Ok(batch), Ok(seconds)) = (batch.parse(), seconds.parse()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let measured = match core.as_str() {
        "native" => measure(native::Native::elected(), batch, seconds),
        "raft-rs" => measure(raft_rs::RaftRs::elected(), batch, seconds),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (seconds, processor) = (measured.elapsed.as_secs_f64(), measured.processor.as_secs_f64());
    println!(
        "{{\"core\": \"{core}\", \"batch\": {batch}, \"seconds\": {seconds:.6}, \"commits\": {}, \"rate\": {:.1}, \
         \"wall_rate\": {:.1}, \
         \"calls_per_batch\": {:.2}, \"allocations_per_batch\": {:.2}}}",
        measured.commits,
        measured.commits as f64 / processor,
        measured.commits as f64 / seconds,
        measured.calls as f64 * batch as f64 / measured.commits as f64,
        measured.allocations as f64 * batch as f64 / measured.commits as f64,
    );
    ExitCode::SUCCESS
}

fn measure(mut cluster: impl Cluster, batch: usize, seconds: f64) -> Measured {
    let mut proposals = Proposals::default();
    // The clock is read once for about 4,096 entries.
    let chunk = (4096 / batch).max(1);
    let mut run = |wanted: Duration| {
        let (commits, calls, began) = (proposals.made(), cluster.calls(), Instant::now());
        let (allocated, on_processor) = (allocated(), processor_time());
        while began.elapsed() < wanted {
            for _ in 0..chunk {
                cluster.commit(&mut proposals, batch);
            }
        }
        Measured {
            commits: proposals.made() - commits,
            calls: cluster.calls() - calls,
            elapsed: began.elapsed(),
            processor: processor_time() - on_processor,
            allocations: self::allocated() - allocated,
        }
    };
    run(Duration::from_secs_f64(seconds / 10.0));
    let measured = run(Duration::from_secs_f64(seconds));
    cluster.check(&proposals);
    measured
}

/// What this thread has computed so far: the scheduler's own count, so that other work on the machine is left out.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the scheduler's counters of Linux");
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first number is the time on a processor"))
}

#[cfg(feature = "allocations")]
fn allocated() -> u64 {
    allocations::count()
}

#[cfg(not(feature = "allocations"))]
const fn allocated() -> u64 {
    0
}
