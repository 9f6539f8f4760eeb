// Exchanges the rows of a list for newer ones, and leaves alone those that have not changed: no flicker, no
// lost focus, no closed details.
const served = new WeakMap(); // each row as the server wrote it, before times were made local

export function remember(places) {
  for (const place of places) for (const row of place.children) served.set(row, row.outerHTML);
}

export function exchange(place, fresh) {
  if (!fresh) return;
  const old = new Map([...place.children].map((row) => [row.dataset.key, row]));
  const focused = place.contains(document.activeElement) ? mark(place) : null;
  const rows = [...fresh.children].map((row) => choose(old.get(row.dataset.key), row));
  const wanted = new Set(rows);
  for (const row of [...place.children]) if (!wanted.has(row)) row.remove();
  let next = place.firstElementChild;
  for (const row of rows) {
    if (row === next) next = next.nextElementSibling;
    else place.insertBefore(row, next);
  }
  if (focused && !place.contains(document.activeElement)) restore(place, focused);
}

function choose(old, fresh) {
  const written = fresh.outerHTML;
  if (old && served.get(old) === written) return old;
  const row = document.importNode(fresh, true);
  served.set(row, written);
  row.classList.add("fresh");
  const opened = old ? [...old.querySelectorAll("details")].map((details) => details.open) : [];
  row.querySelectorAll("details").forEach((details, index) => { details.open = opened[index] ?? false; });
  return row;
}

function mark(place) {
  const row = document.activeElement.closest("[data-key]");
  if (!row) return null;
  return { key: row.dataset.key, index: focusable(row).indexOf(document.activeElement) };
}

function restore(place, { key, index }) {
  const row = [...place.children].find((one) => one.dataset.key === key);
  if (row) focusable(row)[index]?.focus();
}

function focusable(row) {
  return [...row.querySelectorAll("a, button, summary, [tabindex]")];
}
