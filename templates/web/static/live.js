// A page that keeps itself up to date. The feed only says that something happened; what the page shows is
// then fetched anew, as the server renders it, and the rows that differ are exchanged.
import { countFailure, setTitle, startBadge } from "./badge.js";
import { connect, takes } from "./connection.js";
import { grow } from "./gantt.js";
import { AFTER_A_GAP, growList, touch } from "./lists.js";
import { isNotifying, noticeEvent } from "./notify.js";
import { exchange, remember } from "./rows.js";
import { sayFailed } from "./said.js";
import { tick, timeOf } from "./times.js";

const QUIET_MS = 250; // events come in bursts: one refresh for each burst
const SHARE = 4; // times as long as a refresh took is waited for the next: a slow server is left in peace
const POLL_MS = 4_000; // a mail's state and the health change without an event
const SLOWEST_MS = 30_000; // between two looks, where the server is slow or nobody answers
const SILENT_MS = 28_000; // without a word of the feed, heartbeats too: what reads it is gone itself
const PATIENCE_MS = 20_000; // for the page itself: an answer that takes longer never comes

let body = null;
let feed = null; // the address of the feed, with this page's filter
let disconnect = null; // ends this window's part of the feed
let silent = 0; // the timer of the watch on the feed
let polling = 0; // the timer of the next look without an event
let waiting = 0; // the timer of the next refresh
let refreshing = false;
let again = false;
let over = false; // signed out: nothing more to be had
let took = 0; // the last refresh, in ms
let pause = POLL_MS;
let tag = null; // of the page as it was fetched last
let lostAt = null;

export function follow(pageBody) {
  body = pageBody;
  feed = new URL(body.dataset.feed, location.origin);
  for (const place of places()) remember(place.children);
  startBadge(body);
  open();
  poll();
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : wakeUp()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && wakeUp());
  addEventListener("online", wakeUp);
}

function places() {
  return document.querySelectorAll("[data-live]");
}

function poll() {
  clearTimeout(polling);
  polling = setTimeout(async () => {
    if (!document.hidden && !over) await refresh();
    poll();
  }, pause);
}

function open() {
  watch();
  disconnect = connect(feed, body.dataset.cursor, hear);
}

function close() {
  clearTimeout(silent);
  disconnect?.();
  disconnect = null;
}

// A page that nobody looks at needs no news, but for a reader who wants to be notified.
function rest() {
  if (!isNotifying()) close();
}

function wakeUp() {
  if (over) return;
  if (disconnect) return schedule(); // it has listened, and has not looked
  if (!lostAt) tell("waiting", "Connecting");
  open();
}

// The feed itself notices a silent server. This is for what reads it: the browser may end that.
function watch() {
  clearTimeout(silent);
  silent = setTimeout(() => { close(); lost(0); wakeUp(); }, SILENT_MS);
}

function hear({ state, status, event, reset }) {
  watch();
  if (state === "live") live();
  else if (state === "lost") lost(status);
  else if (reset) schedule();
  else if (event) {
    noticeEvent(event);
    if (takes(feed, event)) happened(event);
  }
}

function live() {
  lostAt = null;
  tell("live", "Live");
  schedule(); // of what happened before, the page may have missed something
}

function happened(event) {
  pause = POLL_MS;
  poll(); // what an event calls for, such as a mail, changes soon after it
  if (event.type.startsWith("airflow.dag_run.")) runChanged(event);
  schedule();
}

function runChanged({ source: deployment, data }) {
  touch(`${deployment.replace("/airflow/", "")}/${data.dag_id}/${data.run_id}`);
  if (data.state !== "failed") return;
  countFailure();
  sayFailed(data.dag_id);
}

function lost(status) {
  if (over) return; // signed out says more than that the connection is lost
  lostAt ??= new Date();
  tell("lost", `Connection lost at ${timeOf(lostAt)}, trying again`);
  if (status >= 400) refresh(); // tells whether one is signed out
}

function tell(state, words) {
  const place = document.getElementById("connection");
  if (!place || (place.textContent === words && !place.hidden)) return;
  place.dataset.state = state;
  place.textContent = words;
  place.hidden = false;
}

function schedule() {
  if (document.hidden) return;
  const wait = Math.min(Math.max(QUIET_MS, SHARE * took), SLOWEST_MS);
  if (!waiting) waiting = setTimeout(() => { waiting = 0; refresh(); }, wait);
}

async function refresh() {
  if (refreshing) { again = true; return; }
  refreshing = true;
  const begun = performance.now();
  try {
    await look();
    took = performance.now() - begun;
    pause = Math.min(Math.max(POLL_MS, SHARE * took), SLOWEST_MS);
  } catch {
    // The server cannot answer; the feed notices too, says so, and comes back.
    pause = Math.min(2 * pause, SLOWEST_MS);
  } finally {
    refreshing = false;
    if (again) { again = false; schedule(); }
  }
}

// One look at the page as it is now; a second one where more has come than a list shows at once.
async function look() {
  const answer = await fetch(location.href, asking(tag));
  if (new URL(answer.url).pathname === `${body.dataset.at}/login`) return signedOut();
  if (answer.status === 304) return; // nothing has changed
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  tag = answer.headers.get("ETag");
  if (show(await pageOf(answer), false)) return;
  const longer = new URL(location.href);
  longer.searchParams.set("limit", AFTER_A_GAP);
  const more = await fetch(longer, asking(null));
  if (more.ok) show(await pageOf(more), true);
}

function asking(known) {
  return { headers: { Accept: "text/html", ...(known && { "If-None-Match": known }) }, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) };
}

async function pageOf(answer) {
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// Answers false where a list would have a gap.
function show(fresh, isLastTry) {
  let isWhole = true;
  setTitle(fresh.title);
  for (const place of places()) {
    const newer = fresh.getElementById(place.id);
    if (place.dataset.grow === undefined) exchange(place, newer);
    else isWhole = growList(place, newer, isLastTry) && isWhole;
  }
  if (isWhole) body.dataset.cursor = fresh.body.dataset.cursor;
  tick();
  grow();
  return isWhole;
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
