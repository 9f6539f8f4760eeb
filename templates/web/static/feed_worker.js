// One feed for all windows of a browser: it has six connections to a server, and seven windows that each hold
// one open would leave none for a page.
import { Feed } from "./feed.js";

const pages = new Set();
let feed = null;
let state = null; // the last one told: a window that comes later is told it at once

self.onconnect = ({ ports: [page] }) => {
  page.onmessage = ({ data }) => (data.close ? leave(page) : join(page, data));
};

function join(page, { address, after }) {
  pages.add(page);
  if (!feed) feed = new Feed(address, after, tellAll);
  else if (state) page.postMessage(state);
}

function leave(page) {
  pages.delete(page);
  page.close();
  if (pages.size) return;
  feed?.close();
  feed = state = null;
}

function tellAll(message) {
  if (message.state) state = message;
  for (const page of pages) page.postMessage(message);
}
