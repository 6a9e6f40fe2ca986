// What is told in words: every node at the cursor, and the facts around it.

const ROW = 18; // height of a fact in the list
const CHIPS = 12; // entries of a log that are shown

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class Panel {
  constructor(model, root) {
    this.model = model;
    this.cards = new Map();
    this.time = root.querySelector("#time");
    this.lasting = root.querySelector("#lasting");
    const nodes = root.querySelector("#nodes");
    nodes.replaceChildren();
    for (const id of model.nodes) nodes.append(this.card(id));
  }

  card(id) {
    const title = element("h2", { id: `title-${id}` });
    const values = new Map();
    const facts = element("dl");
    for (const name of ["vote", "leader", "commit", "applied", "durable", "last", "purged", "snapshot", "lease", "members"]) {
      const value = element("dd", name === "members" ? { class: "wide" } : {});
      values.set(name, value);
      facts.append(element("dt", {}, name), value);
    }
    const log = element("ol", { class: "log", "aria-label": `end of the log of node ${id}` });
    const root = element("section", { class: "node", "aria-labelledby": title.id, "data-node": id }, title, facts, log);
    this.cards.set(id, { root, title, values, log });
    return root;
  }

  show(index, dark) {
    const { model } = this;
    const state = model.stateAfter(index);
    this.time.textContent = model.rows.length ? `${millis(model.at[index])}, fact ${index + 1} of ${model.rows.length}` : "no facts";
    const lasting = model.lastingAt(index).map(({ fault, nodes }) => (nodes.length ? `${fault} at ${nodes.join(", ")}` : fault));
    this.lasting.textContent = lasting.join(" · ");
    for (const node of state.values()) this.showNode(node, dark, model.rows[index]?.node === node.id);
    return state;
  }

  showNode(node, dark, here) {
    const { root, title, values, log } = this.cards.get(node.id);
    root.className = `node${node.up ? "" : " down"}${here ? " here" : ""}`;
    root.style.borderLeftColor = node.known ? termColor(node.term, dark) : "";
    title.textContent = node.up ? `node ${node.id}: ${node.role}, term ${node.term}` : `node ${node.id} does not run: ${node.why}`;
    const show = (name, value) => { values.get(name).textContent = value ?? "–"; };
    show("vote", node.vote);
    show("leader", node.leader);
    for (const name of ["commit", "applied", "durable", "last", "purged"]) show(name, node[name]);
    show("snapshot", node.snapshot && node.snapshot.join("@"));
    show("lease", node.lease === null ? null : millis(node.lease));
    show("members", node.configuration || null);
    log.replaceChildren(...this.chips(node, dark));
  }

  chips(node, dark) {
    const shown = node.tail.slice(-CHIPS);
    const chips = shown.map(([index, term, text]) => {
      const marks = [index <= node.commit && "committed", index > node.durable && "volatile"].filter(Boolean);
      const chip = element("li", { class: marks.join(" "), title: `${index}@${term} ${text} ${marks.join(", ")}` }, `${index}@${term}`);
      chip.style.setProperty("--term", termColor(term, dark));
      return chip;
    });
    const before = shown.length ? shown[0][0] - 1 : node.last;
    if (before > node.purged) chips.unshift(element("li", { class: "plain" }, `${node.purged + 1}..${before}`));
    else if (!chips.length) chips.push(element("li", { class: "plain" }, "empty"));
    return chips;
  }
}

class List {
  constructor(model, root, choose) {
    Object.assign(this, { model, root, choose });
    root.addEventListener("click", (event) => {
      const row = event.target.closest("[data-index]");
      if (row) choose(Number(row.dataset.index));
    });
  }

  show(cursor, hits) {
    const { model, root } = this;
    const room = Math.max(Math.floor(root.clientHeight / ROW), 3);
    const first = Math.max(Math.min(cursor - (room >> 1), model.rows.length - room), 0);
    const rows = [];
    for (let index = first; index < Math.min(first + room, model.rows.length); index += 1) {
      rows.push(this.row(index, index === cursor, hits.has(index)));
    }
    root.replaceChildren(...rows);
    root.setAttribute("aria-activedescendant", model.rows.length ? `fact-${cursor}` : "");
  }

  row(index, selected, hit) {
    const row = this.model.rows[index];
    const loud = ["struck", "stopped", "violation"].includes(row.fact);
    const made = element(
      "div",
      {
        role: "option", id: `fact-${index}`, "data-index": index, "aria-selected": selected, "aria-setsize": this.model.rows.length,
        "aria-posinset": index + 1, class: `${hit ? "hit" : ""} ${loud ? "loud" : ""}`, title: row.text,
      },
      element("span", {}, millis(row.at).replace(" ms", "")),
      element("span", {}, whose(row)),
      element("span", {}, row.text),
    );
    return made;
  }
}

// The node at which a fact happens.
function whose(row) {
  if (row.fact === "sent") return `n${row.from}`;
  if (row.fact === "delivered" || row.fact === "lost") return `n${row.to}`;
  return row.node === undefined ? "" : `n${row.node}`;
}
