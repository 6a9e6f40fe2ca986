// From facts to places on the screen, by time or by order.

const GUTTER = 88; // for the names of the lanes
const RIGHT = 16;

class Scale {
  constructor(model) {
    this.model = model;
    this.byOrder = false;
    this.width = 800;
    this.fit();
  }

  // Where a fact stands on the scale that is in force.
  place(index) {
    return this.byOrder ? index : this.model.at[index];
  }

  bounds() {
    const count = this.model.rows.length;
    if (count === 0) return [0, 1];
    const [first, last] = [this.place(0), this.place(count - 1)];
    const margin = Math.max((last - first) * 0.02, 1);
    return [first - margin, last + margin];
  }

  fit() {
    [this.from, this.to] = this.bounds();
  }

  get perPixel() {
    return (this.to - this.from) / Math.max(this.width - GUTTER - RIGHT, 1);
  }

  x(index) {
    return this.xOf(this.place(index));
  }

  xOf(place) {
    return GUTTER + (place - this.from) / this.perPixel;
  }

  placeAt(x) {
    return this.from + (x - GUTTER) * this.perPixel;
  }

  // The last fact at or left of there.
  indexAt(x) {
    const place = this.placeAt(x);
    if (!this.byOrder) return this.model.indexAt(place);
    return Math.min(Math.max(Math.round(place), 0), Math.max(this.model.rows.length - 1, 0));
  }

  // First and last fact in sight.
  sight() {
    const count = this.model.rows.length;
    const first = lowest(count, (index) => this.place(index) >= this.from);
    const after = lowest(count, (index) => this.place(index) > this.to);
    return [Math.min(first, Math.max(count - 1, 0)), Math.max(after - 1, 0)];
  }

  setView(from, to) {
    const [least, most] = this.bounds();
    const span = Math.min(Math.max(to - from, this.byOrder ? 4 : 20), most - least);
    this.from = Math.min(Math.max(from, least), most - span);
    this.to = this.from + span;
  }

  zoom(factor, around) {
    const place = Math.min(Math.max(around, this.from), this.to);
    const span = (this.to - this.from) * factor;
    const from = place - ((place - this.from) / (this.to - this.from)) * span;
    this.setView(from, from + span);
  }

  pan(places) {
    this.setView(this.from + places, this.to + places);
  }

  // Moves as little as shows that fact with some room around it.
  reveal(index) {
    const place = this.place(index);
    const room = (this.to - this.from) * 0.1;
    if (place < this.from + room) this.pan(place - room - this.from);
    else if (place > this.to - room) this.pan(place + room - this.to);
  }

  switchOrder() {
    const [first, last] = this.sight();
    this.byOrder = !this.byOrder;
    this.setView(this.place(first) - 1, this.place(last) + 1);
  }

  // Marks of the axis: [place, label].
  marks() {
    const wanted = this.perPixel * 110;
    let step = 10 ** Math.floor(Math.log10(wanted));
    step *= wanted / step >= 5 ? 10 : wanted / step >= 2 ? 5 : 2;
    step = Math.max(step, 1);
    const marks = [];
    for (let place = Math.ceil(this.from / step) * step; place <= this.to; place += step) {
      // By order, facts are counted from one, as everywhere on the page.
      if (place >= 0) marks.push([place, this.byOrder ? String(place + 1) : millis(Math.abs(place))]);
    }
    return marks;
  }
}

function millis(micros) {
  const digits = micros % 1000 === 0 ? 0 : 3;
  return `${(micros / 1000).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: 3 })} ms`;
}
