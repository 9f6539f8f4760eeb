// Keys: j and k through the rows, / to the search, n to the first page, ? for help. Never while somebody types,
// and never with a modifier, which is the browser's; single letters can be turned off (WCAG 2.1.4).
const OFF = "windsock-no-letters";
const WRITING = "input:not([type=checkbox]):not([type=radio]), select, textarea, [contenteditable]";
const INNER = "a, button, summary";

export function startKeys() {
  const dialog = document.getElementById("help");
  closeOthers();
  if (!dialog) return;
  const button = document.getElementById("keys");
  const letters = document.getElementById("single-keys");
  button.hidden = false;
  button.addEventListener("click", () => dialog.showModal());
  letters.checked = !stored();
  letters.addEventListener("change", () => store(!letters.checked));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(WRITING) || dialog.open) return;
    if (act(event, dialog, letters.checked)) event.preventDefault();
  });
}

function act(event, dialog, withLetters) {
  const row = document.activeElement.closest?.("[data-key]");
  if (row && event.key === "ArrowDown") return step(1);
  if (row && event.key === "ArrowUp") return step(-1);
  if (!withLetters) return false;
  if (event.key === "j") return step(1);
  if (event.key === "k") return step(-1);
  if (event.key === "?") return dialog.showModal(), true;
  if (event.key === "n") return location.assign(`${document.body.dataset.at}/`), true;
  return event.key === "/" && search();
}

// From row to row, over all lists of the page in their order.
function step(by) {
  const rows = [...document.querySelectorAll("main [data-key]")].filter((row) => row.querySelector(INNER));
  const here = rows.indexOf(document.activeElement.closest("main [data-key]"));
  const next = here < 0 ? rows.at(by > 0 ? 0 : -1) : rows[here + by];
  const inner = next?.querySelector(INNER);
  inner?.focus();
  inner?.scrollIntoView({ block: "nearest" });
  return Boolean(inner);
}

function search() {
  const field = document.querySelector("[data-search]");
  if (field) field.focus(), field.select();
  else location.assign(`${document.body.dataset.at}/runs#search`);
  return true;
}

// What opens over the page closes again: by Escape, and by a click elsewhere.
function closeOthers() {
  const open = () => document.querySelectorAll("details[data-closes][open]");
  document.addEventListener("click", (event) => {
    for (const one of open()) if (!one.contains(event.target)) one.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const one of open()) {
      one.open = false;
      one.querySelector("summary").focus();
    }
  });
  if (location.hash === "#search") document.querySelector("[data-search]")?.focus();
}

function stored() {
  try {
    return localStorage.getItem(OFF) !== null;
  } catch {
    return false; // a browser that keeps nothing
  }
}

function store(isOff) {
  try {
    if (isOff) localStorage.setItem(OFF, "1");
    else localStorage.removeItem(OFF);
  } catch {
    // It holds for this page, then.
  }
}
