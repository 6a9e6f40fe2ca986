//! The faults.

/// A fault that is planted somewhere in the sources, behind `mutants::on`.
pub struct Planted {
    /// Who finds it first.
    pub check: &'static str,
    /// Its name.
    pub fault: &'static str,
    /// What is wrong then.
    pub rule: &'static str,
    /// Where it shows.
    pub world: &'static str,
}

/// All of them, in the order of the checks.
pub const TABLE: &[Planted] = &[
    Planted {
        check: "message-conservation",
        fault: "50-changed-on-the-way",
        rule: "a message is changed on its way",
        world: "--profile calm",
    },
    Planted {
        check: "sender-lives",
        fault: "50-in-another-name",
        rule: "a node speaks in the name of another data directory",
        world: "--profile calm",
    },
    Planted { check: "answered-once", fault: "41-answered-twice", rule: "a call ends twice", world: "--profile calm" },
    Planted {
        check: "no-wedged-waiter",
        fault: "41-never-given-up",
        rule: "a read that has expired waits on, and nobody gives it up",
        world: "--profile network",
    },
    Planted {
        check: "term-monotonic",
        fault: "43-back-to-a-term",
        rule: "a message of an older term brings its receiver back to it",
        world: "--profile network",
    },
    Planted {
        check: "vote-once",
        fault: "11-two-votes",
        rule: "a second vote in one term",
        world: "--profile network --nodes 7",
    },
    Planted {
        check: "vote-on-disk",
        fault: "01-vote-not-durable",
        rule: "a vote leaves before term and vote are durable",
        world: "--profile power",
    },
    Planted {
        check: "election-safety",
        fault: "11-refusals-elect",
        rule: "a candidate that a quorum refuses leads",
        world: "--profile network --nodes 7",
    },
    Planted {
        check: "elected-by-quorum",
        fault: "26-wiped-counts",
        rule: "messages of a wiped member count",
        world: "--profile members",
    },
    Planted {
        check: "member-leads",
        fault: "24-removed-campaigns",
        rule: "a node without a vote campaigns",
        world: "--profile members",
    },
    Planted {
        check: "lease-overlap",
        fault: "15-lease-too-long",
        rule: "a lease runs for longer than votes are withheld",
        world: "--profile network",
    },
    Planted {
        check: "log-contiguous",
        fault: "33-staged-again",
        rule: "what is appended in one step takes the place of what was before",
        world: "--profile calm",
    },
    Planted {
        check: "leader-append-only",
        fault: "44-leader-cuts",
        rule: "a leader cuts its log to where a follower's begins to differ",
        world: "--profile power",
    },
    Planted {
        check: "log-matching",
        fault: "08-unchecked",
        rule: "a follower appends without looking at what stands before",
        world: "--profile network",
    },
    Planted {
        check: "ack-on-disk",
        fault: "34-before-the-sync",
        rule: "an append is acknowledged before it is durable",
        world: "--profile calm",
    },
    Planted {
        check: "restart-keeps",
        fault: "01-forgotten-at-start",
        rule: "term and vote are forgotten by a restart",
        world: "--profile power",
    },
    Planted {
        check: "quorums-meet",
        fault: "45-never-joint",
        rule: "several voters change without a joint phase",
        world: "--profile members",
    },
    Planted {
        check: "joint-phase",
        fault: "19-early-change",
        rule: "a membership change before the term's first commit",
        world: "--profile members",
    },
    Planted {
        check: "commit-monotonic",
        fault: "07-commit-back",
        rule: "the commit index goes back with a late message",
        world: "--profile network",
    },
    Planted {
        check: "committed-by-quorum",
        fault: "07-heard-is-held",
        rule: "what a follower has heard of counts as what it holds",
        world: "--profile power",
    },
    Planted {
        check: "committed-durably",
        fault: "06-unsorted",
        rule: "the quorum's position is taken from an unsorted list",
        world: "--profile network",
    },
    Planted {
        check: "commit-agrees",
        fault: "09-commit-beyond",
        rule: "a follower commits beyond what it is known to share with its leader",
        world: "--profile network",
    },
    Planted {
        check: "leader-completeness",
        fault: "03-any-position",
        rule: "votes do not ask for the candidate's log",
        world: "--profile network",
    },
    Planted {
        check: "applied-monotonic",
        fault: "38-handed-again",
        rule: "a state machine is given its last entry again",
        world: "--profile calm",
    },
    Planted {
        check: "applied-within",
        fault: "34-applied-early",
        rule: "an entry is applied that is committed and not durable here",
        world: "--profile calm",
    },
    Planted {
        check: "state-machine-safety",
        fault: "33-another-entry",
        rule: "a read of the log gives another entry",
        world: "--profile all",
    },
    Planted {
        check: "time-monotonic",
        fault: "43-time-back",
        rule: "an entry is stamped by the wall clock alone",
        world: "--profile clocks",
    },
    Planted {
        check: "exactly-once",
        fault: "38-applied-again",
        rule: "a repetition in a session is applied again",
        world: "--profile power",
    },
    Planted {
        check: "state-agrees",
        fault: "31-parts-ways",
        rule: "a machine goes by whose it is",
        world: "--profile all",
    },
    Planted {
        check: "snapshot-order",
        fault: "27-older-restored",
        rule: "a state machine takes back the snapshot that it has made",
        world: "--profile power",
    },
    Planted {
        check: "snapshot-exact",
        fault: "27-forgets-a-register",
        rule: "a machine restores less than it saved",
        world: "--profile power",
    },
    Planted {
        check: "purge-covered",
        fault: "29-purged-beyond",
        rule: "the log is forgotten beyond the snapshot",
        world: "--profile power",
    },
    Planted {
        check: "acknowledged-kept",
        fault: "41-a-neighbours-result",
        rule: "a caller is given the result of the entry before its own",
        world: "--profile power",
    },
    Planted {
        check: "refused-never-applied",
        fault: "41-doubt-forgotten",
        rule: "what was in doubt is refused for certain",
        world: "--profile network",
    },
    Planted {
        check: "same-result",
        fault: "38-another-result",
        rule: "a repetition gets another number's result",
        world: "--profile network",
    },
    Planted {
        check: "linearizable-reads",
        fault: "12-read-early",
        rule: "a read is confirmed before the term's first commit",
        world: "--profile power",
    },
    Planted {
        check: "lease-reads",
        fault: "15-lease-for-ever",
        rule: "a read by lease does not look at the clock",
        world: "--profile network",
    },
    Planted {
        check: "eventual-reads",
        fault: "14-ahead-of-apply",
        rule: "a reader is told of more than was applied",
        world: "--profile calm",
    },
    Planted {
        check: "read-values",
        fault: "14-older-value",
        rule: "a machine answers with an older value",
        world: "--profile calm",
    },
    Planted {
        check: "bounded-memory",
        fault: "46-never-trimmed",
        rule: "entries in memory are never let go",
        world: "--profile all",
    },
    Planted {
        check: "bounded-queues",
        fault: "41-expired-kept",
        rule: "a read that has expired waits on in its driver",
        world: "--profile all",
    },
    Planted {
        check: "bounded-window",
        fault: "46-no-window",
        rule: "appends are sent without a window",
        world: "--profile all",
    },
    Planted {
        check: "progress-after-healing",
        fault: "16-pre-vote-stuck",
        rule: "pre-votes are withheld for ever",
        world: "--profile network",
    },
];
