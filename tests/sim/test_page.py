"""The page that a trace is drawn on, looked at in a real browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.browser import Browser

ROOT = Path(__file__).resolve().parents[2]

# Building the program that tells the story takes most of the time, where the Rust tests have not built it already.
pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    return Browser(tmp_path_factory.mktemp("browser"))


def write_story(folder, rounds):
    """A history told by hand, as the simulator writes any: rust/sim/tests/common/story.rs."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo: it builds the program that tells the story")
    command = ["cargo", "run", "--quiet", "--locked", "-p", "d-engine-sim", "--example", "story", "--", folder, rounds]
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True, timeout=380)
    return folder / "story.html"


@pytest.fixture(scope="module")
def story(browser, tmp_path_factory):
    return write_story(tmp_path_factory.mktemp("story"), 1)


@pytest.fixture(scope="module")
def facts(story):
    return json.loads(story.with_suffix(".json").read_text())


TITLES = 'return [...document.querySelectorAll("#nodes h2")].map((title) => title.textContent);'


@pytest.mark.parametrize(
    ("time", "titles"),
    [
        (0.5, [f"node {node} does not run: has not started" for node in (1, 2, 3)]),
        (209, ["node 1: candidate, term 1", "node 2: follower, term 0", "node 3: follower, term 0"]),
        (250, ["node 1: leader, term 1", "node 2: follower, term 1", "node 3: follower, term 1"]),
        (655, ["node 1 does not run: crash", "node 2: leader, term 2", "node 3: follower, term 2"]),
        (1700, ["node 1: follower, term 2", "node 2: leader, term 2", "node 3: follower, term 2"]),
    ],
)
def test_the_panel_shows_what_nodes_are_at_the_cursor(browser, story, time, titles):
    seen = browser.look(story, TITLES, at=f"#t={time}")
    assert seen.found == titles
    assert seen.console == []


def test_lanes_arrows_and_words_are_there(browser, story, facts):
    seen = browser.look(
        story,
        """
        const names = [...document.querySelectorAll("#names b")].map((name) => name.textContent);
        const drawn = (all) => { let count = 0; for (let at = 3; at < all.length; at += 4) count += all[at] > 0; return count; };
        const before = drawn(pixels());
        for (const box of document.querySelectorAll("#kinds input")) box.click();
        await frame();
        const without = drawn(pixels());
        const { lanes, arrows } = canvas.dataset;
        for (const box of document.querySelectorAll("#kinds input")) box.click();
        await frame();
        return { names, lanes, hidden: arrows, arrows: canvas.dataset.arrows, before, without, again: drawn(pixels()),
          verdict: text("#verdict"), title: document.title, about: text("#about dl") };
        """,
    )
    found = seen.found
    assert seen.console == []
    assert found["names"] == ["node 1", "node 2", "node 3", "clients"]
    ends = [row for row in facts["rows"] if row["fact"] in {"delivered", "lost"}]
    assert (found["lanes"], found["hidden"], found["arrows"]) == ("3", "0", str(len(ends)))
    assert found["without"] < found["before"] == found["again"], "arrows are drawn, and hidden where it is asked for"
    assert found["verdict"] == 'made-up: a <story> & its "end": node 1 has cut entry 4@1'
    assert found["title"] == "a made-up story"
    assert "cargo run --example story" in found["about"]


def test_a_log_shows_what_is_committed_and_what_is_not_durable(browser, story):
    chips = """
        const chips = [...document.querySelectorAll('[data-node="2"] .log li')];
        return chips.map((chip) => `${chip.textContent} ${chip.className} ${chip.title.split(" ")[1]}`);
    """
    assert browser.look(story, chips, at="#t=649.7").found == [
        "1@1 committed no-op",
        "2@1 committed k5=77",
        "3@1 committed k6=78",
        "4@2 volatile no-op",
        "5@2 volatile k7=80",
    ]
    cut = browser.look(story, chips.replace('"2"', '"1"'), at="#t=1007.82").found
    assert cut[3:] == ["4@2 volatile no-op", "5@2 volatile k7=80"], "the entry that was cut is gone"


def test_keys_move_the_cursor_zoom_and_search(browser, story, facts):
    seen = browser.look(
        story,
        """
        const steps = [];
        const note = (name) => steps.push([name, Number(canvas.dataset.cursor), location.hash, text("#now")]);
        await key("Home"); note("Home");
        await key("ArrowRight"); note("right");
        await key("ArrowRight", { shiftKey: true }); note("far right");
        await key("ArrowDown"); note("down");
        await key("End"); note("End");
        await key("Home"); await key("v"); note("v");
        await key("o");
        const ordered = document.querySelector("#by-order").getAttribute("aria-pressed");
        const all = Number(canvas.dataset.arrows);
        for (let count = 0; count < 8; count += 1) await key("+");
        const near = Number(canvas.dataset.arrows);
        await key("0");
        const far = Number(canvas.dataset.arrows);
        await key("/");
        const box = document.querySelector("#search");
        const focused = document.activeElement === box;
        box.value = "vote-reply"; box.dispatchEvent(new Event("input"));
        await key("Enter"); note("hit");
        const hits = text("#hits");
        await key("Escape");
        await key("n"); note("next hit");
        await key("?");
        const help = document.querySelector("#help").open;
        return { steps, ordered, all, near, far, focused, hits, help };
        """,
    )
    found = seen.found
    assert seen.console == []
    rows = facts["rows"]
    place = {name: cursor for name, cursor, _, _ in found["steps"]}
    assert (place["Home"], place["right"], place["far right"]) == (0, 1, 21)
    assert place["down"] > 21
    assert place["End"] == place["v"] == len(rows), "behind the last fact stands the violation"
    assert all(hash_ == f"#n={cursor + 1}" for _, cursor, hash_, _ in found["steps"])
    wanted = [index for index, row in enumerate(rows) if "vote-reply" in row["text"]]
    assert [place["hit"], place["next hit"]] == wanted[:2], "from the end, the first hit is the first of all"
    assert found["hits"] == f"1 of {len(wanted)}"
    assert found["steps"][-1][3].endswith(rows[wanted[1]]["text"]), "a reader of the screen is told too"
    assert found["ordered"] == "true"
    assert found["near"] < found["far"]
    assert found["focused"]
    assert found["help"]


def test_the_mouse_finds_messages_and_moves_the_cursor(browser, story):
    seen = browser.look(
        story,
        """
        const at = (type, x, y, more = {}) => {
          const { left, top } = canvas.getBoundingClientRect();
          canvas.dispatchEvent(new PointerEvent(type, { clientX: left + x, clientY: top + y, bubbles: true, ...more }));
        };
        const tips = new Set();
        for (let x = 90; x < canvas.clientWidth; x += 3) {
          at("pointermove", x, canvas.clientHeight * 0.3);
          if (!document.querySelector("#tip").hidden) tips.add(text("#tip"));
        }
        const held = canvas.dataset.cursor;
        await frame();
        at("pointerdown", 300, 200); at("pointerup", 300, 200); await frame();
        const followed = [];
        for (const x of [150, 400, 700]) { at("pointermove", x, 200); await frame(); followed.push(Number(canvas.dataset.cursor)); }
        at("pointerdown", 700, 200); at("pointerup", 700, 200); await frame();
        at("pointermove", 150, 200); await frame();
        const stays = Number(canvas.dataset.cursor);
        document.querySelectorAll("#rows [data-index]")[1].click(); await frame();
        const clicked = document.querySelector('#rows [aria-selected="true"]').dataset.index === canvas.dataset.cursor;
        const wheel = new WheelEvent("wheel", { deltaY: -700, clientX: 400, clientY: 300, cancelable: true });
        const wide = Number(canvas.dataset.arrows);
        canvas.dispatchEvent(wheel); await frame();
        const zoomed = Number(canvas.dataset.arrows);
        const sum = () => pixels().reduce((sum, value) => (sum * 31 + value) | 0, 0);
        const before = sum();
        at("pointerdown", 400, 200); at("pointermove", 150, 200); at("pointerup", 150, 200); await frame();
        const dragged = sum() !== before;
        return { tips: [...tips], followed, stays, clicked, wide, zoomed, dragged };
        """,
        at="#t=0",
    )
    found = seen.found
    assert seen.console == []
    assert any("pre-vote" in tip and "delivered after 2 ms" in tip for tip in found["tips"]), found["tips"]
    assert any("append" in tip and "lost after" in tip for tip in found["tips"]), found["tips"]
    assert found["followed"] == sorted(set(found["followed"]))
    assert found["stays"] == found["followed"][-1]
    assert found["clicked"]
    assert found["zoomed"] < found["wide"]
    assert found["dragged"], "another part of the picture is in sight"


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read_and_has_a_name(browser, story, dark):
    seen = browser.look(
        story,
        """
        const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const channels = (color) => {
          pen.clearRect(0, 0, 1, 1); pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
          return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
        };
        const luminance = (color) => {
          const [r, g, b] = channels(color).map((value) => value / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const contrast = (one, other) => {
          const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
          return (high + 0.05) / (low + 0.05);
        };
        const color = (name) => {
          const probe = document.createElement("i");
          probe.style.color = `var(--${name})`; document.body.append(probe);
          const value = getComputedStyle(probe).color; probe.remove(); return value;
        };
        const pairs = {};
        for (const ground of ["ground", "raised"]) {
          for (const name of ["text", "faint", "bad", "good", "accent"]) pairs[`${name} on ${ground}`] = contrast(color(name), color(ground));
        }
        const terms = [...document.querySelectorAll(".log li[style]")].map((chip) => chip.style.getPropertyValue("--term"));
        for (const term of new Set(terms)) pairs[term] = contrast(term, color("ground"));
        const nameless = [...document.querySelectorAll("button, input, canvas:not([aria-hidden])")].filter((one) =>
          !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length));
        const dark = luminance(color("ground")) < 0.2;
        document.querySelector("#scheme").click(); await frame();
        const switched = (luminance(color("ground")) < 0.2) !== dark;
        return { pairs, nameless: nameless.map((one) => one.outerHTML), dark, switched };
        """,
        dark=dark,
    )
    found = seen.found
    assert seen.console == []
    assert found["dark"] is dark
    assert found["switched"]
    assert found["nameless"] == []
    assert len(found["pairs"]) >= 12
    assert {pair: ratio for pair, ratio in found["pairs"].items() if ratio < 4.5} == {}


def test_a_hundred_thousand_facts(browser, tmp_path):
    page = write_story(tmp_path, 700)
    seen = browser.look(
        page,
        """
        const all = { rows: text("#time"), density: text("#density"), arrows: Number(canvas.dataset.arrows) };
        for (let count = 0; count < 30; count += 1) await key(["ArrowLeft", "-", "+", "o", "v"][count % 5]);
        await key("v");
        for (let count = 0; count < 6; count += 1) await key("+");
        const titles = [...document.querySelectorAll("#nodes h2")].map((title) => title.textContent);
        return { ...all, titles, near: text("#density"), options: document.querySelectorAll("#rows [role=option]").length };
        """,
    )
    found = seen.found
    assert seen.console == []
    count = re.search(r"of (\d+)", found["rows"])
    assert count is not None
    assert int(count[1]) > 100_000
    assert 1000 < found["arrows"] <= 4000
    assert "zoom in to see all" in found["density"]
    assert found["near"] == ""
    assert found["titles"] == ["node 1: follower, term 2", "node 2: leader, term 2", "node 3: follower, term 2"]
    assert found["options"] < 60, "the list has only the rows that are seen"
