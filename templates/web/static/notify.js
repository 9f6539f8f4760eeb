// Notifications by the browser for incidents that open, if the reader turns them on in this browser. The feed that
// the page has open says when to look; the API says which incidents the reader may see.
const at = document.body.dataset.at;
const KEY = `windsock-notify${at}`; // the newest incident that was seen; nothing: they are off
const ASK_MS = 4_000; // between two questions: failures come in bursts
const ASKED = 20; // the newest incidents; further ones are in the list
const SHOWN = 3; // of more at once, one notification tells the number
const MAX_TITLE = 100; // characters: what a notification has room for
const NO_FAILURE = /\.(running|success|updated|created|recovered)$/; // types of events that open no incident

let asked = 0; // when incidents were asked for last
let waiting = 0; // the timer of the next question

export function isNotifying() {
  return isPossible() && Notification.permission === "granted" && seen() !== null;
}

export function startNotifying() {
  const button = document.getElementById("notify");
  if (!isPossible()) return;
  button?.addEventListener("click", () => toggle(button));
  addEventListener("storage", ({ key }) => key === KEY && show(button)); // another window has switched
  show(button);
  ask();
}

export function noticeEvent({ type }) {
  if (waiting || !isNotifying() || NO_FAILURE.test(type)) return;
  waiting = setTimeout(ask, Math.max(0, asked + ASK_MS - Date.now()));
}

function isPossible() {
  return isSecureContext && "Notification" in window;
}

function seen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is blocked: nothing can be turned on
  }
}

async function toggle(button) {
  if (isNotifying()) localStorage.removeItem(KEY);
  else await turnOn(button);
  show(button);
}

async function turnOn(button) {
  if (await Notification.requestPermission() !== "granted") return;
  try {
    const [newest] = await fetchJson("incidents?limit=1").then(({ incidents }) => incidents);
    display("Windsock notifies you here", "of incidents that open, while one of its pages is open.", "on", "/");
    localStorage.setItem(KEY, newest?.id ?? 0);
  } catch {
    button.dataset.failed = ""; // phones' browsers, mostly: they let no page notify
  }
}

function show(button) {
  if (!button) return;
  const isBlocked = Notification.permission === "denied";
  button.disabled = isBlocked;
  if (isBlocked) button.textContent = "Notifications are blocked in this browser";
  else if ("failed" in button.dataset) button.textContent = "This browser cannot notify: try again";
  else button.textContent = isNotifying() ? "Stop notifying me in this browser" : "Notify me in this browser";
  button.hidden = false;
}

async function ask() {
  waiting = 0;
  if (!isNotifying()) return;
  asked = Date.now();
  try {
    const { incidents } = await fetchJson(`incidents?limit=${ASKED}`);
    const before = Number(seen());
    localStorage.setItem(KEY, incidents[0]?.id ?? 0);
    if (document.hasFocus()) return; // who looks at the page sees them there
    const opened = incidents.filter(({ id, state, acknowledged_by: by }) => id > before && state === "open" && !by);
    await report(opened);
  } catch {
    // Signed out, or the server is away: the page says so, and the next event asks again.
  }
}

async function report(opened) {
  const silenced = await Promise.all(opened.map(isSilenced));
  const loud = opened.filter((_, index) => !silenced[index]);
  if (loud.length > SHOWN) {
    display(`${loud.length} incidents opened`, loud.map(({ title }) => clean(title)).join(", "), "many", "/incidents");
  } else {
    for (const { id, title, deployment } of loud) display(title, `Airflow ${deployment}`, id, `/incidents/${id}`);
  }
}

async function isSilenced({ id }) {
  const { decisions } = await fetchJson(`incidents/${id}`);
  return decisions.some(({ silence_id: silence }) => silence !== null) && decisions.every(({ outcome }) => outcome === "suppressed");
}

async function fetchJson(path) {
  const answer = await fetch(`${at}/api/v1/${path}`, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return answer.json();
}

// Windows that show the same one replace it: it has one tag.
function display(title, body, tag, path) {
  const icon = new URL("./icon-192.png", import.meta.url).href;
  const shown = new Notification(clean(title), { body: clean(body), tag: `windsock${at} ${tag}`, icon });
  shown.addEventListener("click", () => {
    focus();
    shown.close();
    location.href = at + path;
  });
}

// Names come from Airflow: without control characters, and cut.
function clean(text) {
  const [...signs] = text.replace(/\p{C}+/gu, " ");
  return signs.length > MAX_TITLE ? `${signs.slice(0, MAX_TITLE).join("")}…` : signs.join("");
}
