// Exchanges the rows of a list for newer ones, and leaves alone those that have not changed: no flicker, no
// lost focus, no closed details.
import { showTimes } from "./times.js";

const PLACES = / (?:x1?|x2|width)="[\d.]+%"/g; // where a bar of a timeline is drawn: the page moves it by itself
const served = new WeakMap(); // each row as the server wrote it, before times were made local

export function remember(rows) {
  for (const row of rows) served.set(row, written(row));
}

export function exchange(place, fresh) {
  if (!fresh) return;
  keepFocus(place, () => {
    const old = new Map([...place.children].map((row) => [row.dataset.key, row]));
    arrange(place, [...fresh.children].map((row) => choose(old.get(row.dataset.key), row)));
  });
}

// Makes these rows, in this order, the children of a place; what stands where it is to be is not touched.
export function arrange(place, rows) {
  const wanted = new Set(rows);
  for (const row of [...place.children]) if (!wanted.has(row)) row.remove();
  let next = place.firstElementChild;
  for (const row of rows) {
    if (row === next) next = next.nextElementSibling;
    else place.insertBefore(row, next);
  }
}

// The old row where nothing has changed in it, else the new one with what people had opened in the old one.
export function choose(old, fresh) {
  const text = written(fresh);
  if (old && served.get(old) === text) return old;
  const row = document.importNode(fresh, true);
  served.set(row, text);
  row.classList.add("fresh");
  if (old) takeOver(row, old);
  showTimes(row);
  return row;
}

export function keepFocus(place, change) {
  const focused = place.contains(document.activeElement) ? mark() : null;
  change();
  if (focused && !place.contains(document.activeElement)) restore(place, focused);
}

function written(row) {
  return row.outerHTML.replace(PLACES, "");
}

function takeOver(row, old) {
  const before = [...old.querySelectorAll("details")];
  row.querySelectorAll("details").forEach((details, index) => {
    const was = before[index];
    details.open = was?.open ?? false;
    if (was?.dataset.loaded) {
      details.replaceChildren(details.querySelector("summary"), ...[...was.children].slice(1));
      details.dataset.loaded = was.dataset.loaded;
    }
  });
}

function mark() {
  const row = document.activeElement.closest("[data-key]");
  if (!row) return null;
  return { key: row.dataset.key, index: focusable(row).indexOf(document.activeElement) };
}

function restore(place, { key, index }) {
  const row = [...place.children].find((one) => one.dataset.key === key);
  if (row) focusable(row)[index]?.focus({ preventScroll: true });
}

function focusable(row) {
  return [...row.querySelectorAll("a, button, summary, [tabindex]")];
}
