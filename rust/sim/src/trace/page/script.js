// The page comes to life: cursor, view, keys, mouse, search.

const byId = (id) => document.getElementById(id);
const trace = JSON.parse(byId("trace").textContent);
const model = new Model(trace);
const scale = new Scale(model);
const lanes = new Lanes(model, scale, byId("lanes"));
const panel = new Panel(model, byId("panel"));
const list = new List(model, byId("rows"), (index) => moveTo(index, true));
const lastIndex = Math.max(model.rows.length - 1, 0);
let cursor = 0;
let held = true; // the cursor stays where it is while the mouse moves
let hits = [];
let waiting = false;

// ---- drawing, at most once a frame ----

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(drawNow);
}

function drawNow() {
  waiting = false;
  lanes.draw(cursor);
  drawOverview(lanes, byId("overview"), cursor);
  const state = panel.show(cursor, lanes.dark);
  list.show(cursor, new Set(hits));
  byId("pinned").textContent = held ? "held; a click in the picture lets it follow the mouse" : "follows the mouse; a click holds it";
  const { all, drawn } = lanes.shown;
  byId("density").textContent = drawn < all ? `${drawn} of ${all} messages are drawn: zoom in to see all` : "";
  nameLanes(state);
  Object.assign(byId("lanes").dataset, { lanes: model.nodes.length, arrows: drawn, cursor });
  document.body.dataset.ready = "yes";
}

function nameLanes(state) {
  const names = model.nodes.map((id) => {
    const node = state.get(id);
    const made = element("li", {}, element("b", {}, `node ${id}`), element("span", {}, node.up ? `${node.role}, t${node.term}` : "does not run"));
    made.style.top = `${lanes.y(id) - 15}px`;
    return made;
  });
  if (model.clients.length) {
    const clients = element("li", {}, element("b", {}, "clients"));
    clients.style.top = `${lanes.callsTop + 4}px`;
    names.push(clients);
  }
  byId("names").replaceChildren(...names);
}

function readColors() {
  const probe = element("i");
  document.body.append(probe);
  for (const name of ["ground", "line", "text", "faint", "accent", "bad", "good", "band"]) {
    probe.style.color = `var(--${name})`;
    lanes.colors[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  const chosen = document.documentElement.classList;
  lanes.dark = chosen.contains("dark") || (!chosen.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
}

// ---- the cursor ----

function moveTo(index, hold) {
  cursor = Math.min(Math.max(index, 0), lastIndex);
  if (hold) {
    held = true;
    scale.reveal(cursor);
    if (model.rows.length) {
      history.replaceState(null, "", `#n=${cursor + 1}`);
      byId("now").textContent = `${millis(model.at[cursor])} ${whose(model.rows[cursor])} ${model.rows[cursor].text}`;
    }
  }
  redraw();
}

// `#t=12.5`: the last fact until then, in milliseconds. `#n=7`: the seventh fact.
function readHash() {
  const found = /^#(t|n)=([\d.]+)$/.exec(location.hash);
  if (!found) return false;
  const value = Number(found[2]);
  cursor = Math.min(Math.max(found[1] === "t" ? model.indexAt(value * 1000) : value - 1, 0), lastIndex);
  held = true;
  scale.reveal(cursor);
  redraw();
  return true;
}

function sameNode(direction) {
  const node = whose(model.rows[cursor] ?? {});
  for (let index = cursor + direction; index >= 0 && index <= lastIndex; index += direction) {
    if (whose(model.rows[index]) === node) return index;
  }
  return cursor;
}

function toViolation() {
  const index = model.violationIndex();
  if (index < 0) return;
  // Near enough to see what led there: the last hundred facts.
  scale.setView(scale.place(Math.max(index - 100, 0)), scale.place(index));
  moveTo(index, true);
}

// ---- search ----

function search() {
  const wanted = byId("search").value.trim().toLowerCase();
  hits = [];
  if (wanted) model.rows.forEach((row, index) => { if (row.text.toLowerCase().includes(wanted)) hits.push(index); });
  lanes.hits = hits;
  showHits();
  redraw();
}

function showHits() {
  if (!byId("search").value.trim()) byId("hits").textContent = "";
  else if (!hits.length) byId("hits").textContent = "none";
  else byId("hits").textContent = hits.includes(cursor) ? `${hits.indexOf(cursor) + 1} of ${hits.length}` : `${hits.length} hits`;
}

function toHit(direction) {
  if (!hits.length) return;
  const next = direction > 0 ? hits.find((index) => index > cursor) ?? hits[0] : hits.findLast((index) => index < cursor) ?? hits.at(-1);
  moveTo(next, true);
  showHits();
}

// ---- hands ----

function zoom(factor, around = scale.place(cursor)) {
  scale.zoom(factor, around);
  redraw();
}

function switchOrder() {
  scale.switchOrder();
  byId("by-order").setAttribute("aria-pressed", scale.byOrder);
  redraw();
}

function switchScheme() {
  readColors();
  document.documentElement.classList.remove("light", "dark");
  document.documentElement.classList.add(lanes.dark ? "light" : "dark");
  readColors();
  redraw();
}

const keys = {
  ArrowLeft: (event) => moveTo(cursor - (event.shiftKey ? 20 : 1), true),
  ArrowRight: (event) => moveTo(cursor + (event.shiftKey ? 20 : 1), true),
  ArrowUp: () => moveTo(sameNode(-1), true),
  ArrowDown: () => moveTo(sameNode(1), true),
  Home: () => moveTo(0, true),
  End: () => moveTo(lastIndex, true),
  "+": () => zoom(0.6),
  "=": () => zoom(0.6),
  "-": () => zoom(1 / 0.6),
  0: () => { scale.fit(); redraw(); },
  v: toViolation,
  "/": () => byId("search").focus(),
  n: () => toHit(1),
  N: () => toHit(-1),
  o: switchOrder,
  d: switchScheme,
  "?": () => byId("help").showModal(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target.matches?.("input[type=search]")) {
    if (event.key === "Enter") toHit(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") byId("lanes").focus();
    return;
  }
  if (event.target.matches?.("input, summary") && event.key === " ") return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
}

function tell(x, y) {
  const tip = byId("tip");
  const found = lanes.under(x, y);
  tip.hidden = !found;
  if (!found) return;
  if (found.flight) {
    const { start, end, way, row } = found.flight;
    const took = way === "open" ? "under way" : `${way} after ${millis(model.at[end] - model.at[start])}`;
    tip.textContent = `${row.text.replace(/^\S+( gets)? /, "")}\n${took}`;
  } else {
    const { start, end } = found.call;
    tip.textContent = `${model.rows[start].text}\n${end > start ? model.rows[end].text : ""}`;
  }
  tip.style.left = `${Math.min(x + 12, lanes.width - 240)}px`;
  tip.style.top = `${y + 14}px`;
}

function listenToMouse(canvas) {
  let grip = null;
  const place = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    grip = { x: event.clientX, from: scale.from, to: scale.to, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (grip) return;
    const [x, y] = place(event);
    tell(x, y);
    if (!held) moveTo(scale.indexAt(x), false);
  });
  // A drag goes on outside of the picture.
  window.addEventListener("pointermove", (event) => {
    if (!grip || !(grip.moved || Math.abs(event.clientX - grip.x) > 4)) return;
    grip.moved = true;
    const shift = (grip.x - event.clientX) * scale.perPixel;
    scale.setView(grip.from + shift, grip.to + shift);
    redraw();
  });
  window.addEventListener("pointerup", (event) => {
    const clicked = grip && !grip.moved;
    grip = null;
    if (!clicked) return;
    held = !held;
    moveTo(scale.indexAt(place(event)[0]), held);
  });
  canvas.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) scale.pan((event.deltaX + event.deltaY) * scale.perPixel);
    else scale.zoom(1.0015 ** event.deltaY, scale.placeAt(event.offsetX));
    redraw();
  }, { passive: false });
}

function listenToOverview(canvas) {
  const go = (event) => {
    if (!event.buttons) return;
    const [least, most] = scale.bounds();
    const middle = least + (event.offsetX / canvas.clientWidth) * (most - least);
    scale.pan(middle - (scale.from + scale.to) / 2);
    redraw();
  };
  canvas.addEventListener("pointerdown", go);
  canvas.addEventListener("pointermove", go);
}

// ---- beginning ----

function describe() {
  const verdict = byId("verdict");
  const { violation } = trace;
  verdict.textContent = violation ? `${violation.check}: ${violation.what}` : "no violation";
  verdict.classList.toggle("bad", Boolean(violation));
  byId("to-violation").disabled = !violation;
  const rows = [...trace.options, ["facts", `${trace.rows.length}, ${trace.left_out} earlier ones and ${trace.quiet} steps that changed nothing left out`]];
  if (trace.command) rows.push(["again", trace.command]);
  byId("about").querySelector("dl").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function addKinds() {
  KINDS.forEach(([name], kind) => {
    const box = element("input", { type: "checkbox", id: `kind-${kind}` });
    box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) lanes.hidden.delete(kind);
      else lanes.hidden.add(kind);
      redraw();
    });
    byId("kinds").append(element("label", { for: box.id }, box, name));
  });
}

function begin() {
  describe();
  addKinds();
  const click = (id, act) => byId(id).addEventListener("click", () => act());
  click("zoom-in", () => zoom(0.6));
  click("zoom-out", () => zoom(1 / 0.6));
  click("fit", keys[0]);
  click("by-order", switchOrder);
  click("to-violation", toViolation);
  click("next-hit", () => toHit(1));
  click("previous-hit", () => toHit(-1));
  click("scheme", switchScheme);
  click("show-help", keys["?"]);
  byId("search").addEventListener("input", search);
  byId("rows").addEventListener("wheel", (event) => moveTo(cursor + Math.sign(event.deltaY) * 3, true), { passive: true });
  document.addEventListener("keydown", onKey);
  listenToMouse(byId("lanes"));
  listenToOverview(byId("overview"));
  readColors();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); redraw(); });
  // At once: a canvas that has got another size is empty.
  const resized = new ResizeObserver(() => { lanes.measure(); drawNow(); });
  for (const id of ["picture", "rows"]) resized.observe(byId(id));
  window.addEventListener("hashchange", readHash);
  lanes.measure();
  if (!readHash()) {
    cursor = Math.max(model.violationIndex(), 0);
    redraw();
  }
}

begin();
