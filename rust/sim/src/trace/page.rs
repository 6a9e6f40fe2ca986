//! A trace as one page that needs nothing else: no network, no server, no other file.

use std::io;

use super::{About, Trace, json};

const FRAME: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
/// One after the other in one scope; the last one starts.
const SCRIPTS: [&str; 5] = [
    include_str!("page/model.js"),
    include_str!("page/scale.js"),
    include_str!("page/lanes.js"),
    include_str!("page/panel.js"),
    include_str!("page/script.js"),
];

/// Writes the page.
///
/// # Errors
/// Those of `out`.
pub fn page(trace: &Trace, about: &About, out: &mut dyn io::Write) -> io::Result<()> {
    let mut rest = FRAME;
    while let Some((before, after)) = rest.split_once("{{") {
        out.write_all(before.as_bytes())?;
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        match name {
            "title" => out.write_all(escaped(&about.title).as_bytes())?,
            "style" => out.write_all(STYLE.as_bytes())?,
            "trace" => json(trace, about, &mut InScript(out))?,
            _ => {
                for script in SCRIPTS {
                    out.write_all(script.as_bytes())?;
                }
            }
        }
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// JSON inside of a script element: nothing in it may look like the element's end or a comment's beginning. In JSON, `<` stands in
/// strings alone, where it may be written as an escape.
struct InScript<'a>(&'a mut dyn io::Write);

impl io::Write for InScript<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut parts = bytes.split(|byte| *byte == b'<');
        if let Some(first) = parts.next() {
            self.0.write_all(first)?;
        }
        for part in parts {
            self.0.write_all(b"\\u003c")?;
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
