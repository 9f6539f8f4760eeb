// An asset's page: its metrics as charts, drawn anew whenever the table of updates has changed.
import { Plot } from "./plot.js";

const MAX_PLOTS = 24; // as many as the table has columns
const place = document.getElementById("plots");
const note = document.getElementById("plot-note");
const table = document.getElementById("updates");
const plots = new Map();
let drawing = false;
let again = false;

async function draw() {
  if (drawing) { again = true; return; }
  drawing = true;
  try {
    show(await updates());
  } catch (error) {
    say(`The charts cannot be drawn (${error.message}); they are tried again at the next update.`);
  } finally {
    drawing = false;
    if (again) { again = false; draw(); }
  }
}

// Oldest first.
async function updates() {
  const answer = await fetch(place.dataset.from, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return (await answer.json()).updates.sort((one, other) => new Date(one.timestamp) - new Date(other.timestamp));
}

function show(all) {
  const times = all.map((update) => new Date(update.timestamp) / 1000);
  const constant = [];
  const wanted = new Map();
  for (const name of names(all)) {
    const values = all.map((update) => (Number.isFinite(update.extra[name]) ? update.extra[name] : null));
    const different = new Set(values.filter((value) => value !== null));
    if (different.size > 1) wanted.set(name, values);
    else if (different.size) constant.push(`${name.replaceAll("_", " ")} ${[...different][0]}`);
  }
  for (const [name, plot] of plots) if (!wanted.has(name)) { plot.remove(); plots.delete(name); }
  for (const [name, values] of [...wanted].slice(0, MAX_PLOTS)) plotOf(name).show(times, values);
  say(words(all.length, wanted.size, constant));
}

function names(all) {
  return new Set(all.toReversed().flatMap((update) => Object.keys(update.extra)));
}

function plotOf(name) {
  if (!plots.has(name)) {
    const plot = new Plot(name, "updates");
    plots.set(name, plot);
    place.append(plot.figure);
  }
  return plots.get(name);
}

function words(number, drawn, constant) {
  if (!number) return "It has not been updated yet.";
  if (!drawn && number === 1) return "There is one update; charts begin with the second.";
  const kept = constant.length ? `The same in each: ${constant.join(", ")}. ` : "";
  if (!drawn) return kept || "Its updates carry no number: write metrics into the update's extra, and they are drawn here.";
  return `${kept}The last ${number} updates are drawn.`;
}

function say(sentence) {
  const link = document.createElement("a");
  link.href = "#updates-title";
  link.textContent = "Every value is in the table.";
  note.replaceChildren(sentence, " ", link);
}

new MutationObserver(draw).observe(table, { childList: true });
new ResizeObserver(() => plots.forEach((plot) => plot.fit())).observe(place);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.forEach((plot) => plot.recolour()));
draw();
