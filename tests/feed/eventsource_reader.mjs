// The npm package `eventsource`, as a program: URL, then the types to listen to. A line an event: "event" and
// its cursor, "reset" and its reason; "stopped" and why, where it gives up for ever.
import { EventSource } from "../npm/node_modules/eventsource/dist/index.js";

const [url, ...types] = process.argv.slice(2);
const source = new EventSource(url);
const tell = (what, value) => process.stdout.write(`${what} ${value}\n`);
for (const type of types) source.addEventListener(type, (event) => tell("event", event.lastEventId));
source.addEventListener("reset", (event) => tell("reset", JSON.parse(event.data).reason));
source.addEventListener("error", (error) => {
  if (source.readyState === EventSource.CLOSED) tell("stopped", error.code);
});
setInterval(() => {}, 60_000); // one that has given up is asked about it: stay
