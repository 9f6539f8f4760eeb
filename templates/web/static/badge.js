// The number of failures since somebody looked, before the page's title: "(2) Now". A page that is looked at
// has none.
const ASK_MS = 60_000; // hidden pages have no feed, and ask once a minute (browsers let them no oftener)
const MOST = 100; // rows asked for: "100+" tells as much

let title = document.title;
let live = 0; // told by the feed while nobody looked
let asked = 0; // found by asking while the page was hidden
let since = null; // the place in the log from which is asked

export function setTitle(fresh) {
  title = fresh;
  show();
}

export function countFailure() {
  if (!isLookedAt() && since === null) live += 1; // a hidden page asks for all of them
  show();
}

export function startBadge(body) {
  for (const name of ["focus", "pointerdown", "keydown"]) addEventListener(name, looked);
  document.addEventListener("visibilitychange", () => {
    since = document.hidden ? body.dataset.cursor.split("-")[1] : null;
    if (!document.hidden) looked();
  });
  setInterval(() => since !== null && ask(body), ASK_MS);
}

function isLookedAt() {
  return !document.hidden && document.hasFocus();
}

function looked() {
  live = asked = 0;
  show();
}

function show() {
  const number = live + asked;
  const told = number ? `(${number > MOST ? `${MOST}+` : number}) ${title}` : title;
  if (document.title !== told) document.title = told;
}

async function ask(body) {
  const address = new URL(`${body.dataset.at}/api/v1/events`, location.origin);
  for (const [name, value] of new URL(body.dataset.feed, location.origin).searchParams) {
    if (name !== "type" && name !== "state") address.searchParams.append(name, value);
  }
  address.searchParams.set("type", "airflow.dag_run.failed");
  address.searchParams.set("limit", MOST);
  try {
    const answer = await fetch(address, { cache: "no-store" });
    if (!answer.ok) return; // signed out, or the server is away: the page says so when it is looked at
    asked = (await answer.json()).events.filter((event) => event.seq > Number(since)).length;
    show();
  } catch {
    // The same: nobody looks at the moment.
  }
}
