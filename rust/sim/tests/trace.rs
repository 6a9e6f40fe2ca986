//! A trace keeps what a reader needs, and says the same as text and as JSON.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/story.rs"]
mod story;

use d_engine_sim::fact::{Fact, Phase};
use d_engine_sim::trace::{About, Seen, Trace, json, page, text};
use serde_json::Value;

const PLENTY: usize = 10_000;

fn told(room: usize) -> Trace {
    let mut trace = Trace::last(room);
    story::tell(&mut trace, 0).unwrap();
    trace
}

fn about() -> About {
    About {
        title: "a story".to_owned(),
        options: vec![("nodes".to_owned(), "3".to_owned()), ("seed".to_owned(), "7".to_owned())],
        command: "again 7".to_owned(),
        violation: Some(story::violation(0)),
    }
}

fn parsed(trace: &Trace) -> Value {
    let mut out = Vec::new();
    json(trace, &about(), &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// Every node's column, one after the other.
fn cells(seen: &Seen) -> Vec<String> {
    seen.nodes.iter().map(|(id, node)| format!("{id}: {} {:?} {}", node.cell(), node.runs, node.purged)).collect()
}

#[test]
fn what_falls_out_of_a_trace_is_added_up() {
    let whole = told(PLENTY);
    assert_eq!(whole.left_out(), 0);
    let facts = whole.records().len();
    let mut seen = Seen::default();
    for (kept, record) in (1..=facts).rev().zip(whole.records()) {
        let last = told(kept);
        assert_eq!((last.records().len(), last.left_out()), (kept, (facts - kept) as u64));
        assert_eq!(cells(last.before()), cells(&seen), "the last {kept}");
        let mut again = Seen::default();
        last.before().retold().iter().for_each(|told| again.add(told));
        assert_eq!(format!("{again:?}"), format!("{:?}", last.before()));
        seen.add(&record.told);
    }
    assert_eq!(seen.nodes[&1].runs, [(1, 1), (4, 2)], "the cut entry is gone");
    assert_eq!(seen.nodes[&3].runs, [(3, 1), (4, 2)], "what was purged is gone");
}

#[test]
fn steps_that_change_nothing_are_counted_and_not_kept() {
    let trace = told(PLENTY);
    assert_eq!(trace.quiet(), 5);
    let page = text(&trace, &about(), PLENTY);
    assert!(page.contains("and 5 steps that changed nothing"), "{page}");
    assert!(!page.contains("as before"), "{page}");
}

#[test]
fn text_has_a_line_for_each_fact_and_a_column_for_each_node() {
    let whole = told(PLENTY);
    let page = text(&whole, &about(), PLENTY);
    let (heading, table) = page.split_once("\n\n").unwrap();
    assert!(heading.contains("violation after 1600.500 ms: made-up: a <story>"), "{heading}");
    assert!(heading.contains("again: again 7"), "{heading}");
    let looks = (whole.records().len() - 1) / 40 + 2;
    assert_eq!(table.lines().count(), 1 + whole.records().len() + looks);
    for line in [
        "      ms  node 1  node 2  node 3",
        " 214.540  L1 0/0                  message: candidate -> leader, leader 1",
        " 244.690  L1 1/3                  sends #9 1>2 t1 append after 1@1: 2..3@1, commit 1",
        " 427.130          f1 3/3          never gets #13 1>2 t1 append after 3@1: 4@1, commit 3",
        " 649.580  -                       STOPS: crash",
        "1005.810  f1 0/4                  STARTS: term 1 (voted for 1), log 1..4@1, directory 000000",
        "1007.820  f2 0/5                  wants on disk, token 14: term 2, no vote, cut from 4, entries 4..5@2",
        "1600.500  f2 5/5  L2 5/5  f2 5/5  VIOLATION made-up: a <story> & its \"end\": node 1 has cut entry 4@1",
    ] {
        assert!(table.lines().any(|found| found == line), "{line}\n{table}");
    }
}

#[test]
fn the_last_lines_are_the_same_whatever_was_kept_before_them() {
    let whole = told(PLENTY);
    for last in [1, 7, 39] {
        let lines = |page: &str| page.lines().rev().take(last + 1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&text(&told(last), &about(), PLENTY)), lines(&text(&whole, &about(), last)));
    }
}

#[test]
fn json_has_every_fact_with_the_words_of_the_text() {
    let trace = told(PLENTY);
    let document = parsed(&trace);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), trace.records().len());
    assert_eq!((&document["version"], &document["nodes"]), (&Value::from(1), &Value::from(vec![1, 2, 3])));
    assert_eq!(document["violation"]["check"], "made-up");
    let page = text(&trace, &about(), PLENTY);
    for row in rows {
        assert!(page.contains(row["text"].as_str().unwrap()), "{row}");
    }
    let facts: std::collections::BTreeSet<_> = rows.iter().map(|row| row["fact"].as_str().unwrap()).collect();
    assert_eq!(facts.len(), 19, "every kind of fact, by its own name: {facts:?}");
    let cut = rows.iter().find(|row| row["truncate_from"] == 4).unwrap();
    assert_eq!(cut["entries"], serde_json::json!([[4, 2, "no-op"], [5, 2, "k7=80"]]));
    assert_eq!(cut["hard_state"], serde_json::json!([2, null]));
}

#[test]
fn json_of_the_last_facts_says_what_was_before() {
    let document = parsed(&told(5));
    assert_eq!(document["rows"].as_array().unwrap().len(), 5);
    let before = document["before"].as_array().unwrap();
    let of = |fact: &str| before.iter().filter(|row| row["fact"] == fact).count();
    assert_eq!((of("phase"), of("started"), of("stepped"), of("stopped")), (1, 3, 3, 0));
}

#[test]
fn the_page_holds_the_whole_trace_and_nothing_of_it_becomes_markup() {
    let trace = told(PLENTY);
    let mut about = about();
    about.title = "</title><script>alert(1)</script>".to_owned();
    about.command = "</script><!-- {{script}}".to_owned();
    let mut out = Vec::new();
    page(&trace, &about, &mut out).unwrap();
    let page = String::from_utf8(out).unwrap();
    let (_, data) = page.split_once(r#"<script type="application/json" id="trace">"#).unwrap();
    let (data, rest) = data.split_once("</script>").unwrap();
    assert!(!data.contains('<'), "{data}");
    let mut expected = Vec::new();
    json(&trace, &about, &mut expected).unwrap();
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), serde_json::from_slice::<Value>(&expected).unwrap());
    assert_eq!(rest.matches("<script>").count(), 1);
    assert!(page.contains("<title>&lt;/title&gt;&lt;script&gt;alert(1)"), "the title is escaped");
    assert!(!page.contains("{{style}}") && !page.contains("{{trace}}"), "every part is in its place");
    assert!(
        !page.contains("http:") && !page.contains("https:") && !page.contains("url("),
        "nothing is loaded from anywhere"
    );
}

#[test]
fn a_trace_that_heard_nothing_can_be_written() {
    let trace = Trace::last(0);
    assert!(text(&trace, &About::default(), PLENTY).contains("so far"));
    assert_eq!(parsed(&trace)["rows"], Value::Array(Vec::new()));
    let mut one = Trace::last(0);
    for phase in [Phase::Faults, Phase::Over] {
        d_engine_sim::fact::Observer::fact(&mut one, 1, &Fact::Phase(phase)).unwrap();
    }
    assert_eq!((one.records().len(), one.left_out()), (1, 1));
}
