//! Runs seeds, and says what became of them:
//! `d-engine-sim --seeds 1000 --minutes 5 --profile disks --jobs 2 --report FILE`; with `--seed N` alone, that one.
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use d_engine_sim::options::{Options, Profile};
use d_engine_sim::runner::{Plan, Report, checks, smaller};
use indicatif::{ProgressBar, ProgressStyle};

const USAGE: &str =
    "d-engine-sim [--seeds N] [--minutes M] [--jobs N] [--report FILE] [--profile NAME] [--seed N] [...]
  --seed N      the first seed (alone: the only one)
  --seeds N     so many seeds
  --minutes M   no new one after so long
  --profile P   the kind of world: all, calm, network, power, disks, plugins, members, clocks; mixed: each in turn
  --jobs N      threads
  --report F    figures go there too
and whatever a failure's message names";

/// Runs that making a failure smaller may take.
const SHRINKING: usize = 150;

struct Asked {
    plan: Plan,
    report: Option<String>,
}

fn parse(words: &[String]) -> Result<Asked, String> {
    let mut plan = Plan {
        options: Options::default(),
        profiles: Vec::new(),
        seeds: 0,
        limit: None,
        jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let mut report = None;
    for pair in words.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not {value:?}"));
        match (name.as_str(), value.as_str()) {
            ("--seeds", _) => plan.seeds = number()?,
            ("--minutes", _) => plan.limit = Some(Duration::from_secs(60 * number()?)),
            ("--jobs", _) => plan.jobs = usize::try_from(number()?).unwrap_or(1),
            ("--report", file) => report = Some(file.to_owned()),
            // Half of the worlds have everything, the others one kind each.
            ("--profile", "mixed") => {
                let others = Profile::ALL.into_iter().filter(|&profile| profile != Profile::All);
                plan.profiles = others.flat_map(|profile| [Profile::All, profile]).collect();
            }
            _ => plan.options.set(name, value)?,
        }
    }
    if plan.seeds == 0 {
        plan.seeds = if plan.limit.is_some() { u64::MAX } else { 1 };
    }
    Ok(Asked { plan, report })
}

/// Thousands apart.
fn figure(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `part / whole` with two digits behind the point.
fn ratio(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 100 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn tell(report: &Report, jobs: usize) -> String {
    let total = &report.total;
    let micros = u64::try_from(report.elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
    let seconds = total.simulated / 1_000_000;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<44}{value:>18}");
    };
    line("seeds", figure(report.seeds));
    line("violations", figure(report.failures.len() as u64));
    line("seconds, threads", format!("{}, {jobs}", ratio(micros, 1_000_000)));
    line("seeds a second", ratio(report.seeds * 1_000_000, micros));
    line("inputs of cores", figure(total.inputs));
    line("inputs a second, with all checks", figure(total.inputs * 1_000 / (micros / 1_000).max(1)));
    line("simulated hours of clusters", ratio(seconds, 3_600));
    line("inputs a simulated second and node", ratio(total.inputs, total.node_time / 1_000_000));
    line("operations", figure(total.operations));
    line("operations a simulated second", ratio(total.operations, seconds));
    line("acknowledged writes", figure(total.acknowledged));
    line("answered reads", figure(total.reads));
    line("applied entries, all nodes", figure(total.applied));
    line("elections", figure(total.elections));
    line("logs opened", figure(total.logs_opened));
    line("images of power cuts opened", figure(total.crash_images));
    line("snapshots made", figure(total.snapshots.0));
    line("snapshots received", figure(total.snapshots.1));
    line("longest healing, seconds", ratio(total.healed_after, 1_000_000));
    line("digest of all seeds", format!("{:016x}", total.digest));
    line("kinds of faults", figure(total.faults.len() as u64));
    for (fault, hits) in &total.faults {
        line(&format!("  {}", fault.name()), figure(*hits));
    }
    out
}

fn bar(plan: &Plan) -> ProgressBar {
    let bar = if plan.seeds == u64::MAX { ProgressBar::new_spinner() } else { ProgressBar::new(plan.seeds) };
    let template = "{elapsed_precise} {wide_bar} {human_pos} seeds, {per_sec} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let asked = match parse(&words) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let bar = bar(&asked.plan);
    let shown = AtomicU64::new(0);
    let report = asked.plan.run(&checks, &|report| {
        // Now and then: a bar costs more than a seed.
        if report.seeds >= shown.load(Ordering::Relaxed) + 8 {
            shown.store(report.seeds, Ordering::Relaxed);
            bar.set_position(report.seeds);
            let (hours, kinds) = (ratio(report.total.simulated / 1_000_000, 3_600), report.total.faults.len());
            let hits: u64 = report.total.faults.values().sum();
            bar.set_message(format!("{hours} simulated hours, {hits} hits of {kinds} faults"));
        }
    });
    bar.finish_and_clear();
    let mut told = tell(&report, asked.plan.jobs);
    for failure in &report.failures {
        let _ = writeln!(told, "\n{failure}");
    }
    if let Some(failure) = report.failures.first() {
        let _ = writeln!(told, "\nthe first of them, made smaller:\n{}", smaller(failure, &checks, SHRINKING));
    }
    print!("{told}");
    if let Some(Err(error)) = asked.report.map(|file| std::fs::write(&file, &told).map_err(|error| (file, error))) {
        eprintln!("{}: {}", error.0, error.1);
        return ExitCode::from(2);
    }
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
