// This window's part of the feed: shared with the browser's other windows where the browser can share it.
import { Feed } from "./feed.js";

// Calls `tell` as a Feed does; answers what ends it. `filtered` is the feed's address with the page's filter. A
// shared feed has none, so the page looks at what each event is.
export function connect(filtered, after, tell) {
  try {
    return share(filtered, after, tell);
  } catch {
    const feed = new Feed(filtered.href, after, tell); // no SharedWorker: phones, mostly, and they show one window
    return () => feed.close();
  }
}

function share(filtered, after, tell) {
  const address = new URL(filtered);
  address.search = "";
  const worker = new SharedWorker(new URL("./feed_worker.js", import.meta.url), { type: "module", name: "feed" });
  let alone = null;
  worker.port.onmessage = ({ data }) => alone || tell(data);
  worker.onerror = () => { alone ??= new Feed(filtered.href, after, tell); }; // it cannot be started
  worker.port.postMessage({ address: address.href, after });
  return () => {
    worker.onerror = worker.port.onmessage = null;
    worker.port.postMessage({ close: true });
    alone?.close();
  };
}

// What the server's filters look at, of an event as the feed tells it.
const ATTRIBUTES = {
  deployment: ({ source }) => source.replace("/airflow/", ""),
  type: ({ type }) => type,
  dag_id: ({ data }) => data.dag_id ?? data.source_dag_id,
  run_id: ({ data }) => data.run_id ?? data.source_run_id,
  task_id: ({ data }) => data.task_id ?? data.source_task_id,
  state: ({ data }) => data.state,
  asset: ({ data }) => data.asset?.uri,
};

// Whether the feed at this address, with its filter, has this event.
export function takes(filtered, event) {
  const wanted = [...new Set(filtered.searchParams.keys())].filter((name) => name in ATTRIBUTES);
  return wanted.every((name) => {
    const value = ATTRIBUTES[name](event);
    return value != null && filtered.searchParams.getAll(name).some((glob) => patternOf(glob).test(value));
  });
}

function patternOf(glob) {
  const escaped = glob.replace(/[\\^$.|+()[\]{}]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
  return new RegExp(`^${escaped}$`, "su");
}
