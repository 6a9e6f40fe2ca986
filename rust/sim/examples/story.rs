//! Writes a made-up trace as a page, as text and as JSON into a folder: what the tests of the page look at.
//! `story FOLDER [ROUNDS]`; a round has some 150 facts.

#[path = "../tests/common/story.rs"]
mod story;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use d_engine_sim::trace::{About, Trace, json, page, text};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let rounds: u64 = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let mut trace = Trace::last(1_000_000);
    for round in 0..rounds {
        story::tell(&mut trace, round).map_err(io::Error::other)?;
    }
    let about = About {
        title: "a made-up story".to_owned(),
        options: vec![("nodes".to_owned(), "3".to_owned()), ("seed".to_owned(), "none: told by hand".to_owned())],
        command: "cargo run --example story".to_owned(),
        violation: Some(story::violation(rounds.saturating_sub(1))),
    };
    fs::write(folder.join("story.txt"), text(&trace, &about, 200))?;
    let mut out = BufWriter::new(File::create(folder.join("story.json"))?);
    json(&trace, &about, &mut out)?;
    out.flush()?;
    let mut out = BufWriter::new(File::create(folder.join("story.html"))?);
    page(&trace, &about, &mut out)?;
    out.flush()
}
