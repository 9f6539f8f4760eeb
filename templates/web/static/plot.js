// One small chart a metric, all on one time axis: nothing is told by colour, and each has a scale of its own.
const HEIGHT = 150; // CSS pixels
const FEW = 80; // points up to which each is drawn as a dot
const DAY_S = 86_400;
const uPlot = globalThis.uPlot; // a classic script before this one: the package has no small module

export class Plot {
  constructor(name, group) {
    this.name = name;
    this.times = [];
    this.values = [];
    this.figure = document.createElement("figure");
    this.figure.className = "plot";
    this.caption = document.createElement("figcaption");
    this.place = document.createElement("div");
    this.place.setAttribute("role", "img");
    this.figure.append(this.caption, this.place);
    this.group = group;
  }

  // Shows these values; the figure has to be in the page by then, for its width.
  show(times, values) {
    Object.assign(this, { times, values });
    const numbers = values.filter((value) => value !== null);
    const last = numbers.at(-1);
    this.place.setAttribute("aria-label", `${this.title}: ${written(last)} at last, between ${written(Math.min(...numbers))} and ${written(Math.max(...numbers))} over ${numbers.length} updates`);
    if (this.chart) this.chart.setData([times, values]);
    else this.chart = new uPlot(this.options(), [times, values], this.place);
    this.tell(null);
  }

  get title() {
    return this.name.replaceAll("_", " ");
  }

  options() {
    const line = () => getComputedStyle(this.figure).color;
    const axis = { stroke: () => getComputedStyle(this.caption).color, font: "12px system-ui, sans-serif" };
    const grid = { stroke: () => getComputedStyle(this.figure).borderTopColor, width: 1 };
    return {
      width: this.width(),
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: this.group }, drag: { x: false, y: false }, points: { size: 8 } },
      series: [{}, { stroke: line, fill: undefined, width: 2, spanGaps: true, points: { show: this.times.length <= FEW, size: 6, fill: line } }],
      axes: [
        { ...axis, grid, ticks: grid, size: 30, space: 70, values: (_, splits) => moments(splits) },
        { ...axis, grid, ticks: grid, size: 58, space: 22, values: (_, splits) => splits.map(written) },
      ],
      hooks: { setCursor: [(chart) => this.tell(chart.cursor.idx)] },
    };
  }

  // What the caption says: the value under the pointer, or the last one.
  tell(index) {
    const at = index ?? this.values.findLastIndex((value) => value !== null);
    const name = document.createElement("b");
    name.textContent = this.title;
    const moment = new Date(this.times[at] * 1000).toLocaleString();
    this.caption.replaceChildren(name, ` ${written(this.values[at])} · ${moment}`);
  }

  width() {
    const { paddingLeft, paddingRight } = getComputedStyle(this.figure);
    return Math.max(100, this.figure.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight));
  }

  fit() {
    this.chart?.setSize({ width: this.width(), height: HEIGHT });
  }

  recolour() {
    this.chart?.redraw();
  }

  remove() {
    this.chart?.destroy();
    this.figure.remove();
  }
}

function written(value) {
  return value === null || value === undefined ? "–" : Number(value.toPrecision(5)).toLocaleString([], { maximumFractionDigits: 8 });
}

// Hours where the axis is shorter than two days, else days.
function moments(splits) {
  const isShort = splits.at(-1) - splits[0] < 2 * DAY_S;
  const form = isShort ? { hour: "2-digit", minute: "2-digit" } : { day: "numeric", month: "short" };
  return splits.map((second) => new Date(second * 1000)[isShort ? "toLocaleTimeString" : "toLocaleDateString"]([], form));
}
