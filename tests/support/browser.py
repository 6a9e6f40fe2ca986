"""Headless Chromium: loads a page, runs a script in it, and gives back what it found."""

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome")
BUDGET = 20_000  # milliseconds of the page's own time, which runs as fast as it can
SECONDS = 100

# Runs before the page's own script. The page's time is virtual and does not wait for the frames of a screen that is not there.
_FRAMES = """<script>window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);</script>
</head>"""

# Runs behind the page's own script. `frame()` waits until the page has drawn, `pixels()` are those of its picture.
_PROBE = """
<pre id="probe" hidden></pre>
<script>
(async () => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const key = async (name, more = {}) => {
    (document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, ...more }));
    await frame();
  };
  const canvas = document.getElementById("lanes");
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const pixels = () => {
    [copy.canvas.width, copy.canvas.height] = [canvas.width, canvas.height];
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, canvas.width, canvas.height).data;
  };
  const text = (selector) => document.querySelector(selector).textContent;
  let found;
  try {
    await frame();
    found = await (async () => { %s })();
  } catch (error) {
    found = { error: String(error.stack ?? error) };
  }
  document.getElementById("probe").textContent = JSON.stringify(found);
})();
</script>
</body>
"""


def chromium():
    """The browser's program; skips the test where there is none."""
    named = os.environ.get("CHROMIUM")
    found = next((path for path in map(shutil.which, [named] if named else NAMES) if path), None)
    if found is None:
        pytest.skip("no Chromium: `make browser` or `apt-get install chromium` gives one (or name it in $CHROMIUM)")
    return found


@dataclass(frozen=True)
class Seen:
    """What came of looking at a page."""

    found: object  # what the script returned
    console: list  # everything that the page wrote there, errors too
    dom: str


class Browser:
    """Looks at pages, each time in a fresh profile."""

    def __init__(self, folder):
        self.program = chromium()
        self.folder = Path(folder)

    def look(self, page, script, *, at="", dark=False):
        """Loads `page` with the fragment `at`, and returns what `script` (the body of an async function) returns."""
        probed = self.folder / "probed.html"
        source = page.read_text()
        assert source.count("</head>") == source.count("</body>") == 1
        probed.write_text(source.replace("</head>", _FRAMES).replace("</body>", _PROBE.replace("%s", script)))
        run = subprocess.run(
            [
                self.program,
                "--headless",
                "--no-sandbox",  # there is none for root; the page is our own
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                "--enable-logging=stderr",
                "--window-size=1400,900",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--user-data-dir={self.folder / 'profile'}",
                f"--virtual-time-budget={BUDGET}",
                "--dump-dom",
                f"{probed.as_uri()}{at}",
            ],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        console = re.findall(r":CONSOLE[^\]]*\] (.*)", run.stderr)
        probe = re.search(r'<pre id="probe" hidden="">(.*?)</pre>', run.stdout, re.DOTALL)
        assert probe and probe[1], f"the page did not come to an end: {console}\n{run.stderr[-2000:]}"
        found = json.loads(html.unescape(probe[1]))
        assert not (isinstance(found, dict) and "error" in found), found
        return Seen(found, console, run.stdout)
