// The picture: lanes, arrows, faults, calls, cursor.

const MANY = 4000; // messages that are drawn at once; of more, every so many-th
const AXIS = 26;
const CALL = 9; // height of a client's row
const LOST = 0.6; // of its way is what a lost message gets

// Kinds of messages that are shown or hidden together.
const KINDS = [
  ["heartbeats", /^heartbeat/],
  ["appends", /^(append|snapshot)/],
  ["votes", /vote|timeout-now/],
  ["reads", /^read-index/],
  ["others", /^(propose|change)/],
];

// Neighbouring terms never look alike (the golden ratio), all stand out from the ground alike, and none is red: faults are.
function termColor(term, dark) {
  const hue = Math.round(60 + ((term * 0.618034 + 0.7) % 1) * 280);
  return dark ? `oklch(0.8 0.13 ${hue})` : `oklch(0.5 0.16 ${hue})`;
}

class Lanes {
  constructor(model, scale, canvas) {
    Object.assign(this, { model, scale, canvas, hidden: new Set(), hits: [], colors: {}, dark: false });
    this.pen = canvas.getContext("2d");
    this.drawn = [];
    for (const flight of model.flights) flight.kind = KINDS.findIndex(([, test]) => test.test(flight.row.kind));
  }

  // Heights of everything; after every change of the window's size.
  measure() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    [this.width, this.height, this.scale.width] = [width, height, width];
    this.clientRows = Math.min(this.model.clients.length, 8);
    this.callsTop = height - this.clientRows * CALL - (this.clientRows ? 16 : 4);
    this.laneHeight = (this.callsTop - AXIS) / Math.max(this.model.nodes.length, 1);
  }

  y(id) {
    return AXIS + ((this.model.lane.get(id) ?? 0) + 0.5) * this.laneHeight;
  }

  draw(cursor) {
    const { pen, scale } = this;
    [this.first, this.last] = scale.sight();
    pen.clearRect(0, 0, this.width, this.height);
    this.drawAxis();
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER - 6, 0, this.width, this.height);
    pen.clip();
    this.drawBands();
    for (const id of this.model.nodes) this.drawLane(id);
    this.drawFlights();
    this.drawStrikes();
    this.drawCalls();
    this.drawLines(cursor);
    pen.restore();
  }

  line(x1, y1, x2, y2, color, width = 1, dash = []) {
    const { pen } = this;
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
  }

  label(text, x, y, color, align = "left") {
    const { pen } = this;
    pen.fillStyle = color;
    pen.textAlign = align;
    pen.font = "11px system-ui, sans-serif";
    pen.fillText(text, x, y);
  }

  drawAxis() {
    for (const [place, text] of this.scale.marks()) {
      const x = this.scale.xOf(place);
      this.line(x, AXIS - 6, x, this.height, this.colors.line, 0.5);
      this.label(text, x, AXIS - 10, this.colors.faint, "center");
    }
  }

  drawBands() {
    const half = this.laneHeight / 2 - 3;
    for (const band of this.model.bands) {
      if (band.end < this.first || band.start > this.last) continue;
      const [left, right] = [Math.max(this.scale.x(band.start), GUTTER), Math.min(this.scale.x(band.end), this.width)];
      // What names nobody is everybody's.
      for (const id of band.nodes.length ? band.nodes : this.model.nodes) {
        this.pen.fillStyle = this.colors.band;
        this.pen.fillRect(left, this.y(id) - half, Math.max(right - left, 2), 2 * half);
        if (right - left > 40) this.label(band.fault, left + 4, this.y(id) - half + 11, this.colors.bad);
      }
    }
  }

  drawLane(id) {
    const y = this.y(id);
    let shown = -Infinity;
    for (const span of this.model.spans.get(id)) {
      if (span.end < this.first || span.start > this.last) continue;
      const [left, right] = [Math.max(this.scale.x(span.start), GUTTER - 6), Math.min(this.scale.x(span.end), this.width)];
      if (right < shown + 0.5) continue; // less than a pixel, behind another
      shown = right;
      if (!span.up) {
        if (this.scale.x(span.start) >= GUTTER) this.cross(left, y, this.colors.bad);
        if (right - left > 60) this.label(span.why, left + 9, y + 4, this.colors.faint);
        continue;
      }
      const [width, dash] = { leader: [7, []], candidate: [4, [7, 3]], "pre-candidate": [3, [2, 3]] }[span.role] ?? [2, []];
      const color = termColor(span.term, this.dark);
      this.line(left, y, Math.max(right, left + 1), y, color, width, dash);
      if (right - left > 30) this.label(`t${span.term}${span.role === "leader" ? " leads" : ""}`, left + 3, y - 8, color);
    }
    let [ticked, named] = [-Infinity, -Infinity];
    for (const { at, commit } of this.model.commits.get(id)) {
      if (at < this.first || at > this.last) continue;
      const x = this.scale.x(at);
      if (x - ticked < 1.5) continue;
      ticked = x;
      this.line(x, y + 5, x, y + 11, this.colors.good, 1.5);
      if (x - named < 34) continue;
      named = x;
      this.label(`c${commit}`, x, y + 22, this.colors.good, "center");
    }
  }

  cross(x, y, color) {
    this.line(x - 4, y - 4, x + 4, y + 4, color, 1.5);
    this.line(x - 4, y + 4, x + 4, y - 4, color, 1.5);
  }

  drawFlights() {
    const { model } = this;
    const all = model.meeting(model.flights, this.first, this.last).filter((flight) => !this.hidden.has(flight.kind));
    const every = Math.ceil(all.length / MANY);
    this.drawn = every > 1 ? all.filter((_, at) => at % every === 0) : all;
    this.shown = { all: all.length, drawn: this.drawn.length };
    const heads = this.drawn.length < 1500;
    for (const flight of this.drawn) this.drawFlight(flight, heads);
  }

  // Both ends on the screen.
  ends({ start, end, way, row }) {
    const [x1, y1] = [this.scale.x(start), this.y(row.from)];
    const [x2, y2] = [this.scale.x(end), this.y(row.to)];
    const part = way === "delivered" ? 1 : LOST;
    return [x1, y1, x1 + (x2 - x1) * part, y1 + (y2 - y1) * part];
  }

  drawFlight(flight, heads, width = flight.kind === 0 ? 0.8 : 1.3) {
    const [x1, y1, x2, y2] = this.ends(flight);
    const color = termColor(flight.row.term, this.dark);
    this.line(x1, y1, x2, y2, color, width, { delivered: [], lost: [5, 3], open: [1, 3] }[flight.way]);
    if (flight.way === "lost") this.cross(x2, y2, this.colors.bad);
    if (flight.way !== "delivered" || !heads) return;
    const angle = Math.atan2(y2 - y1, x2 - x1);
    const { pen } = this;
    pen.fillStyle = color;
    pen.beginPath();
    pen.moveTo(x2, y2);
    for (const side of [-0.4, 0.4]) pen.lineTo(x2 - 8 * Math.cos(angle + side), y2 - 8 * Math.sin(angle + side));
    pen.fill();
  }

  drawStrikes() {
    const { pen } = this;
    let named = -Infinity;
    for (const { at, fault, nodes } of this.model.strikes) {
      if (at < this.first || at > this.last) continue;
      const x = this.scale.x(at);
      for (const id of nodes.length ? nodes : this.model.nodes) {
        const top = this.y(id) - Math.min(this.laneHeight / 2 - 4, 26);
        pen.fillStyle = this.colors.bad;
        pen.beginPath();
        pen.moveTo(x, top + 9);
        pen.lineTo(x - 5, top);
        pen.lineTo(x + 5, top);
        pen.fill();
        if (x - named > 70) this.label(fault, x + 7, top + 8, this.colors.bad);
      }
      if (x - named > 70) named = x;
    }
  }

  callY(client) {
    return this.callsTop + 12 + (this.model.clients.indexOf(client) % Math.max(this.clientRows, 1)) * CALL;
  }

  drawCalls() {
    if (!this.clientRows) return;
    this.line(GUTTER, this.callsTop, this.width, this.callsTop, this.colors.line);
    this.calls = this.model.meeting(this.model.calls, this.first, this.last);
    for (const call of this.calls) {
      const [left, right, top] = [this.scale.x(call.start), this.scale.x(call.end), this.callY(call.client)];
      const color = { done: this.colors.good, refused: this.colors.faint, unknown: this.colors.bad }[call.outcome] ?? this.colors.faint;
      this.pen.fillStyle = color;
      if (call.outcome === "done") this.pen.fillRect(left, top, Math.max(right - left, 1.5), CALL - 3);
      else this.line(left, top + 3, Math.max(right, left + 1.5), top + 3, color, call.outcome === "refused" ? 1 : 5, call.outcome === "refused" ? [] : [2, 2]);
    }
  }

  drawLines(cursor) {
    for (const index of this.hits) {
      if (index >= this.first && index <= this.last) this.line(this.scale.x(index), 0, this.scale.x(index), 5, this.colors.accent, 2);
    }
    const broken = this.model.violationIndex();
    if (broken >= 0) {
      const x = this.scale.x(broken);
      this.line(x, 0, x, this.height, this.colors.bad, 1.5, [6, 3]);
      this.label("violation", x - 4, AXIS + 8, this.colors.bad, "right");
    }
    if (this.model.rows.length) this.line(this.scale.x(cursor), 0, this.scale.x(cursor), this.height, this.colors.accent, 1);
  }

  // The message, call or lane there.
  under(x, y) {
    let [best, distance] = [null, 7];
    for (const flight of this.drawn) {
      const away = fromLine(x, y, ...this.ends(flight));
      if (away < distance) [best, distance] = [flight, away];
    }
    if (best) return { flight: best };
    const call = this.calls?.find((one) => {
      const top = this.callY(one.client);
      return y >= top - 1 && y <= top + CALL - 2 && x >= this.scale.x(one.start) - 2 && x <= Math.max(this.scale.x(one.end), this.scale.x(one.start) + 2) + 2;
    });
    return call ? { call } : null;
  }
}

function fromLine(x, y, x1, y1, x2, y2) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const part = Math.min(Math.max(((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy || 1), 0), 1);
  return Math.hypot(x - x1 - part * dx, y - y1 - part * dy);
}

// The whole run in a strip: who leads in which term, where faults are, what is in sight.
function drawOverview(lanes, canvas, cursor) {
  const { model, scale, colors } = lanes;
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const [least, most] = scale.bounds();
  const x = (place) => ((place - least) / (most - least)) * width;
  const bar = (from, to, top, tall, color) => {
    pen.fillStyle = color;
    pen.fillRect(x(from), top, Math.max(x(to) - x(from), 1), tall);
  };
  for (const { start, end } of model.bands) bar(scale.place(start), scale.place(end), 3, height - 6, colors.band);
  for (const spans of model.spans.values()) {
    for (const { role, up, term, start, end } of spans) {
      if (up && role === "leader") bar(scale.place(start), scale.place(end), 9, height - 18, termColor(term, lanes.dark));
    }
  }
  for (const { at } of model.strikes) bar(scale.place(at), scale.place(at), 1, 6, colors.bad);
  if (model.violationIndex() >= 0) bar(scale.place(model.violationIndex()), scale.place(model.violationIndex()), 0, height, colors.bad);
  if (model.rows.length) bar(scale.place(cursor), scale.place(cursor), 0, height, colors.accent);
  pen.strokeStyle = colors.text;
  pen.strokeRect(x(scale.from) + 0.5, 0.5, Math.max(x(scale.to) - x(scale.from) - 1, 2), height - 1);
}
