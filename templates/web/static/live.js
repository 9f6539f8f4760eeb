// A page that keeps itself up to date. The feed only says that something happened; what the page shows is
// then fetched anew, as the server renders it, and the rows that differ are exchanged.
import { exchange, remember } from "./rows.js";
import { showTimes } from "./times.js";

const QUIET_MS = 250; // events come in bursts: one refresh for each burst
const POLL_MS = 5000; // a mail's state and the health change without an event
const REOPEN_MS = 3000; // after an answer that the browser itself does not try again after (503, 401)

let body = null;
let source = null;
let waiting = 0; // the timer of the next refresh
let refreshing = false;
let again = false;
let over = false; // signed out: nothing more to be had

export function follow(pageBody) {
  body = pageBody;
  remember(places());
  open();
  setInterval(() => document.hidden || over || refresh(), POLL_MS);
  // A browser has six connections to a server; pages that nobody looks at give theirs back.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : wakeUp()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && wakeUp());
}

function places() {
  return document.querySelectorAll("[data-live]");
}

function open() {
  const address = new URL(body.dataset.feed, location.origin);
  address.searchParams.set("after", body.dataset.cursor);
  source = new EventSource(address);
  source.onopen = () => { tell("live", "Live"); schedule(); };
  source.onerror = lost;
  for (const type of [...body.dataset.types.split(" "), "reset"]) source.addEventListener(type, schedule);
}

function close() {
  source?.close();
  source = null;
}

function wakeUp() {
  if (source || over) return;
  tell("waiting", "Connecting");
  open();
}

function lost() {
  tell("lost", "Connection lost, trying again");
  if (source?.readyState !== EventSource.CLOSED) return; // the browser itself tries again
  close();
  refresh(); // tells whether one is signed out
  setTimeout(() => document.hidden || wakeUp(), REOPEN_MS);
}

function tell(state, words) {
  const place = document.getElementById("connection");
  if (!place || (place.dataset.state === state && !place.hidden)) return;
  place.dataset.state = state;
  place.textContent = words;
  place.hidden = false;
}

function schedule() {
  if (!waiting) waiting = setTimeout(() => { waiting = 0; refresh(); }, QUIET_MS);
}

async function refresh() {
  if (refreshing) { again = true; return; }
  refreshing = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (new URL(answer.url).pathname === `${body.dataset.at}/login`) return signedOut();
    if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The server cannot be reached; the feed has noticed too, says so, and comes back.
  } finally {
    refreshing = false;
    if (again) { again = false; schedule(); }
  }
}

function show(fresh) {
  if (fresh.title !== document.title) document.title = fresh.title;
  for (const place of places()) exchange(place, fresh.getElementById(place.id));
  body.dataset.cursor = fresh.body.dataset.cursor;
  showTimes(document);
}

function signedOut() {
  over = true;
  close();
  tell("lost", "Signed out");
  const link = document.createElement("a");
  link.href = `${body.dataset.at}/login?next=${encodeURIComponent(location.pathname.slice(body.dataset.at.length) + location.search)}`;
  link.textContent = "Sign in again";
  document.getElementById("connection").append(" – ", link);
}
