// What the facts add up to: spans for drawing, and the state of every node after any of them.

const TAIL = 24; // entries of a log that are kept for looking at
const BETWEEN_FRAMES = 400; // facts between two kept states

function emptyNode(id) {
  return {
    id, up: false, why: "has not started", role: "follower", term: 0, vote: null, leader: null, commit: 0, applied: 0, durable: 0,
    last: 0, purged: 0, runs: [], tail: [], snapshot: null, configuration: "", lease: null, directory: "", known: false,
  };
}

// Arrays of a node are replaced, never changed: states share them.
const folds = {
  started(node, row) {
    const termOf = (index) => row.runs.findLast(([first]) => first <= index)?.[1] ?? 0;
    const kept = new Map(node.tail.filter(([index, term]) => termOf(index) === term).map((entry) => [entry[0], entry]));
    const tail = [];
    for (let index = Math.max(row.purged[0] + 1, row.last - TAIL + 1); index <= row.last; index += 1) {
      tail.push(kept.get(index) ?? [index, termOf(index), ""]);
    }
    Object.assign(node, {
      up: true, known: true, why: "", role: "follower", term: row.term, vote: row.vote, leader: null, lease: null, last: row.last,
      commit: row.applied, applied: 0, durable: row.last, purged: row.purged[0], runs: row.runs, tail, snapshot: row.snapshot,
      directory: row.incarnation.slice(0, 6), configuration: row.configuration ? row.configuration[1] : node.configuration,
    });
  },
  stopped(node, row) {
    Object.assign(node, { up: false, why: row.why, lease: null, leader: null });
  },
  stepped(node, row) {
    // Term and vote come with `persist`; a step in a later term says that the vote of the former is void.
    const vote = row.term === node.term ? node.vote : null;
    Object.assign(node, {
      role: row.role, term: row.term, vote, leader: row.leader, commit: row.commit, applied: row.applied, durable: row.durable,
      last: row.last[0], purged: row.purged[0], lease: row.lease_until,
    });
  },
  persist(node, row) {
    if (row.hard_state) [node.term, node.vote] = row.hard_state;
    if (row.reset_to) Object.assign(node, { runs: [], tail: [], last: row.reset_to[0], purged: row.reset_to[0] });
    if (row.truncate_from) {
      node.runs = node.runs.filter(([first]) => first < row.truncate_from);
      node.tail = node.tail.filter(([index]) => index < row.truncate_from);
    }
    if (!row.entries) return;
    const runs = [...node.runs];
    for (const [index, term] of row.entries) {
      if (runs.at(-1)?.[1] !== term) runs.push([index, term]);
      node.last = index;
    }
    node.runs = runs;
    node.tail = [...node.tail, ...row.entries].slice(-TAIL);
  },
  purged(node, row) {
    node.purged = row.upto[0];
    node.tail = node.tail.filter(([index]) => index > row.upto[0]);
  },
  configured(node, row) {
    node.configuration = row.configuration;
  },
  "snapshot-kept"(node, row) {
    node.snapshot = row.last;
  },
};

class Model {
  constructor(trace) {
    this.trace = trace;
    this.rows = trace.rows;
    if (trace.violation) {
      const { at, check, what } = trace.violation;
      const text = `VIOLATION ${check}: ${what}`;
      this.rows.push({ at: Math.max(at, this.rows.at(-1)?.at ?? 0), fact: "violation", text });
    }
    this.nodes = trace.nodes;
    this.at = Float64Array.from(this.rows, (row) => row.at);
    this.lane = new Map(this.nodes.map((id, lane) => [id, lane]));
    this.flights = []; // messages: {start, end, way, row}
    this.calls = []; // clients' calls: {start, end, client, outcome}
    this.bands = []; // faults that last: {start, end, fault, nodes}
    this.strikes = []; // faults that strike: {at, fault, nodes}
    this.spans = new Map(this.nodes.map((id) => [id, []])); // of one role and term: {start, end, role, term, up}
    this.commits = new Map(this.nodes.map((id) => [id, []])); // {at, commit}
    this.frames = [];
    this.read();
    for (const list of [this.flights, this.calls]) this.addReach(list);
    this.clients = [...new Set(this.calls.map((call) => call.client))].sort((a, b) => a - b);
  }

  read() {
    const state = new Map(this.nodes.map((id) => [id, emptyNode(id)]));
    const open = { messages: new Map(), calls: new Map(), faults: new Map() };
    for (const row of this.trace.before) {
      this.fold(state, row);
      if (row.fact === "struck") this.readFault(row, 0, open.faults);
    }
    for (const [id, node] of state) if (node.known) this.spans.get(id).push(this.span(0, node));
    this.rows.forEach((row, index) => {
      if (index % BETWEEN_FRAMES === 0) this.frames.push(copy(state));
      const before = row.node === undefined ? undefined : { ...state.get(row.node) };
      this.fold(state, row);
      if (before) this.readNode(row.fact, before, state.get(row.node), index);
      this.readMessage(row, index, open.messages);
      this.readCall(row, index, open.calls);
      this.readFault(row, index, open.faults);
    });
    const last = Math.max(this.rows.length - 1, 0);
    for (const list of open.messages.values()) if (!list.ended) this.flights.push({ start: list.start, end: last, way: "open", row: list.row });
    for (const call of open.calls.values()) this.calls.push({ ...call, end: last, outcome: "open" });
    for (const list of open.faults.values()) for (const band of list) this.bands.push({ ...band, end: last });
    for (const list of this.spans.values()) if (list.length) list.at(-1).end = last;
    const byStart = (a, b) => a.start - b.start;
    this.flights.sort(byStart);
    this.calls.sort(byStart);
  }

  fold(state, row) {
    const node = state.get(row.node);
    if (node) folds[row.fact]?.(node, row);
  }

  span(start, node) {
    return { start, end: start, role: node.role, term: node.term, up: node.up, why: node.why };
  }

  readNode(fact, before, node, index) {
    if (before.role !== node.role || before.term !== node.term || before.up !== node.up || fact === "started") {
      const spans = this.spans.get(node.id);
      if (spans.length) spans.at(-1).end = index;
      spans.push(this.span(index, node));
    }
    if (node.commit > before.commit) this.commits.get(node.id).push({ at: index, commit: node.commit });
  }

  readMessage(row, index, open) {
    if (row.fact === "sent") {
      open.set(row.number, { start: index, row, ended: false });
    } else if (row.fact === "delivered" || row.fact === "lost") {
      const sent = open.get(row.number); // unknown where it was sent before the first fact
      if (sent) sent.ended = true;
      this.flights.push({ start: sent ? sent.start : 0, end: index, way: row.fact, row });
    }
  }

  readCall(row, index, open) {
    if (row.fact === "invoked") {
      open.set(row.id, { start: index, client: row.client, node: row.node });
    } else if (row.fact === "returned" && open.has(row.id)) {
      this.calls.push({ ...open.get(row.id), end: index, outcome: row.outcome });
      open.delete(row.id);
    }
  }

  readFault(row, index, open) {
    const key = () => `${row.fault} ${row.nodes}`;
    if (row.fact === "struck") {
      const fault = { start: index, fault: row.fault, nodes: row.nodes };
      if (row.lasts) open.set(key(), [...(open.get(key()) ?? []), fault]);
      else this.strikes.push({ ...fault, at: index });
    } else if (row.fact === "ended") {
      const band = open.get(key())?.shift();
      if (band) this.bands.push({ ...band, end: index });
    }
  }

  // The latest end among the first so many: what may be skipped on the left is found by halving.
  addReach(list) {
    let reach = 0;
    for (const item of list) item.reach = reach = Math.max(reach, item.end);
  }

  // Those of a list sorted by start that meet the facts from..to.
  meeting(list, from, to) {
    const first = lowest(list.length, (at) => list[at].reach >= from);
    const after = lowest(list.length, (at) => list[at].start > to);
    return list.slice(first, after).filter((item) => item.end >= from);
  }

  // Every node after that fact.
  stateAfter(index) {
    if (!this.rows.length) return new Map(this.nodes.map((id) => [id, emptyNode(id)]));
    const frame = Math.floor(index / BETWEEN_FRAMES);
    const state = copy(this.frames[frame]);
    for (let at = frame * BETWEEN_FRAMES; at <= index; at += 1) this.fold(state, this.rows[at]);
    return state;
  }

  // The last fact at or before that moment.
  indexAt(time) {
    return Math.max(lowest(this.rows.length, (index) => this.at[index] > time) - 1, 0);
  }

  // It ends the run.
  violationIndex() {
    return this.trace.violation ? this.rows.length - 1 : -1;
  }

  lastingAt(index) {
    return this.bands.filter((band) => band.start <= index && index < band.end);
  }
}

function copy(state) {
  return new Map([...state].map(([id, node]) => [id, { ...node }]));
}

// The lowest number below `count` for which `holds` does, `count` if there is none; `holds` never goes back to false.
function lowest(count, holds) {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
