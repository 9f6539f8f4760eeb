// Long lists. The newest rows are the page's own list, which is kept up to date; older ones follow in pieces
// behind it, so that one new row moves pieces and not ten thousand rows, and pieces that are out of sight are
// not laid out at all (content-visibility in the style sheet).
import { arrange, choose, keepFocus, remember } from "./rows.js";
import { say } from "./said.js";
import { showTimes } from "./times.js";

const MOST = 10_000; // rows on one page: more than anybody reads; filters find the rest
const PIECE = 100; // rows
const AT_ONCE = 200; // rows fetched at a time
export const AFTER_A_GAP = 500; // rows: as many as the server gives, where more came than the list shows
const SETTLING = 10; // frames in which pieces around a place come into sight and get their true height
const AHEAD = "800px"; // of the list's end, where the next rows are fetched: nobody waits for them

const lists = new Map(); // by the id of its place

export function startLists() {
  for (const place of document.querySelectorAll("[data-grow], .rows:has(+ .older)")) {
    const list = new List(place);
    lists.set(place.id, list);
    list.restore();
  }
}

// Brings a list up to the server's newest rows. Answers false where rows between both are missing.
export function growList(place, fresh, isLastTry) {
  return !fresh || lists.get(place.id).take(fresh, isLastTry);
}

// A run has changed. Where it does not come back among the newest rows, it matches the filter no more.
export function touch(key) {
  for (const list of lists.values()) list.touched.add(key);
}

function elementAt(share) {
  return document.elementFromPoint(innerWidth / 2, innerHeight * share);
}

class List {
  constructor(place) {
    this.place = place;
    this.older = document.getElementById(`${place.id}-older`);
    this.more = document.getElementById(`${place.id}-more`);
    this.index = new Map([...place.children].map((row) => [row.dataset.key, row]));
    this.touched = new Set();
    this.loading = null;
    const near = (entries) => entries.some((entry) => entry.isIntersecting) && this.load();
    this.watch = new IntersectionObserver(near, { rootMargin: AHEAD });
    this.watch.observe(this.more);
    this.more.addEventListener("click", (event) => this.byHand(event));
    addEventListener("pagehide", () => this.keep());
  }

  // What was loaded and the row that one was at are there again after "back". A row, and no distance: pieces
  // out of sight have a guessed height.
  keep() {
    const seen = [document.activeElement, ...[0.5, 0.3, 0.7].map(elementAt)];
    const row = seen.map((one) => one?.closest("[data-seq]")).find((one) => this.index.has(one?.dataset.key));
    const kept = { rows: this.index.size, key: row?.dataset.key, at: row?.getBoundingClientRect().top };
    history.replaceState({ ...history.state, [this.place.id]: kept }, "");
  }

  async restore() {
    const kept = history.state?.[this.place.id];
    if (!kept || kept.rows <= this.index.size) return;
    while (this.index.size < Math.min(kept.rows, MOST) && (await this.load()));
    const row = this.index.get(kept.key);
    if (!row) return;
    row.scrollIntoView();
    for (let frame = 0; frame < SETTLING; frame++) {
      scrollBy(0, row.getBoundingClientRect().top - kept.at);
      await new Promise(requestAnimationFrame);
    }
  }

  async byHand(event) {
    const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!isPlain || !event.target.closest("a") || this.index.size >= MOST) return;
    event.preventDefault();
    (await this.load())?.querySelector("a")?.focus();
  }

  // Answers the first of the rows that have come, or null.
  load() {
    this.loading ??= this.fetchMore().finally(() => { this.loading = null; });
    return this.loading;
  }

  async fetchMore() {
    const link = this.more.querySelector("a");
    if (!link || this.index.size >= MOST) return null;
    const address = new URL(link.href);
    address.searchParams.set("limit", Math.min(AT_ONCE, MOST - this.index.size));
    let page;
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok || answer.redirected) return null;
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return null; // the feed has noticed too, and says so; the link stays
    }
    const rows = [...page.getElementById(this.place.id).children]
      .filter((row) => row.dataset.seq && !this.index.has(row.dataset.key))
      .map((row) => document.importNode(row, true));
    this.append(rows);
    this.point(page.querySelector(`#${this.place.id}-more a`) ? this.last() : null);
    if (rows.length) say(`${rows.length} more rows`);
    // The observer tells of a change only: while the end stays in sight, it is asked anew.
    this.watch.unobserve(this.more);
    this.watch.observe(this.more);
    return rows[0] ?? null;
  }

  append(rows) {
    history.scrollRestoration = "manual"; // what the browser would scroll to is not there yet
    remember(rows);
    for (let start = 0; start < rows.length; start += PIECE) {
      const piece = this.piece();
      piece.append(...rows.slice(start, start + PIECE));
      showTimes(piece);
      this.older.append(piece);
    }
    for (const row of rows) this.index.set(row.dataset.key, row);
  }

  piece() {
    const piece = document.createElement("ol");
    piece.className = "rows piece";
    piece.setAttribute("aria-label", "Older rows");
    return piece;
  }

  last() {
    return this.older.lastElementChild?.lastElementChild ?? this.place.lastElementChild;
  }

  // The link behind the list: to what is older than this row, or nowhere.
  point(row) {
    if (!row || this.index.size >= MOST) {
      this.more.textContent = row ? `${MOST.toLocaleString()} rows are shown; a filter finds older ones.` : "";
      return;
    }
    const link = this.more.querySelector("a") ?? document.createElement("a");
    const address = new URL(location);
    address.searchParams.set("cursor", row.dataset.seq);
    link.href = address;
    link.rel = "next";
    link.textContent = this.more.dataset.word;
    this.more.replaceChildren(link);
  }

  take(fresh, isLastTry) {
    const rows = [...fresh.children];
    const head = [...this.place.children];
    const bottom = fresh.dataset.next ? Number(rows.at(-1).dataset.seq) : -1; // older ones are not in it
    const isGap = Number(head[0]?.dataset.seq ?? Infinity) < bottom;
    if (isGap && !isLastTry) return false;
    keepFocus(this.place, () => (isGap ? this.beginAnew(rows) : this.merge(rows, head, bottom)));
    if (isGap || !this.older.hasChildNodes()) this.point(fresh.dataset.next ? this.last() : null);
    this.touched.clear();
    return true;
  }

  merge(rows, head, bottom) {
    const chosen = rows.map((row) => this.exchange(row));
    const wanted = new Set(chosen);
    const gone = [...head, ...[...this.touched].map((key) => this.index.get(key)).filter(Boolean)]
      .filter((row) => !wanted.has(row));
    const pushed = [];
    for (const row of gone) {
      const isKept = Number(row.dataset.seq) < bottom && !this.touched.has(row.dataset.key);
      if (isKept && row.parentElement === this.place) pushed.push(row);
      else if (!isKept) this.drop(row);
    }
    this.push(pushed);
    arrange(this.place, chosen);
  }

  exchange(row) {
    const old = this.index.get(row.dataset.key);
    const chosen = choose(old, row);
    this.index.set(row.dataset.key, chosen);
    if (old && old !== chosen && old.parentElement !== this.place) old.remove();
    return chosen;
  }

  drop(row) {
    if (this.index.get(row.dataset.key) === row) this.index.delete(row.dataset.key);
    row.remove();
  }

  // Rows that newer ones push out of the first list begin the first piece, or a new one where that is full.
  push(rows) {
    if (!rows.length) return;
    let piece = this.older.firstElementChild;
    if (!piece || piece.children.length + rows.length > PIECE) this.older.prepend((piece = this.piece()));
    piece.prepend(...rows);
    while (this.index.size > MOST) {
      const last = this.last();
      const home = last.parentElement;
      this.drop(last);
      if (!home.hasChildNodes()) home.remove();
      this.point(this.last());
    }
  }

  beginAnew(rows) {
    this.older.replaceChildren();
    this.index.clear();
    arrange(this.place, rows.map((row) => this.exchange(row)));
  }
}
