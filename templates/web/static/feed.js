// The live feed, read as lines of JSON over one connection. Every line is a sign of life, a heartbeat too, so a
// server that has frozen and a network that is silently gone are noticed. (An EventSource shows no heartbeats.)
const SILENT_MS = 25_000; // the server sends a heartbeat every 15 s; this one is ten seconds late
const AGAIN_MS = 2_000; // until the next attempt
const LONGEST_MS = 30_000; // the same where the server says when to come back

export class Feed {
  #address;
  #tell; // called with {state: "live"}, {state: "lost", status}, {event} or {reset: true}, and {} for a heartbeat
  #cursor;
  #attempt = null; // aborts the connection that is open
  #pause = 0; // the timer of the next attempt

  constructor(address, after, tell) {
    this.#address = address;
    this.#cursor = after;
    this.#tell = tell;
    this.#connect();
  }

  close() {
    clearTimeout(this.#pause);
    const attempt = this.#attempt;
    this.#attempt = null;
    attempt?.abort();
  }

  async #connect() {
    const attempt = this.#attempt = new AbortController();
    let status = 0;
    let pause = AGAIN_MS;
    try {
      const answer = await this.#request(attempt);
      status = answer.status;
      if (answer.ok) await this.#read(answer.body, attempt);
      else pause = Math.min(1_000 * Number(answer.headers.get("Retry-After")) || AGAIN_MS, LONGEST_MS);
    } catch {
      // The connection is lost, or was given up because nothing came.
    }
    attempt.abort(); // an answer that was not read to its end would keep its connection
    if (this.#attempt !== attempt) return; // closed meanwhile
    this.#tell({ state: "lost", status });
    this.#pause = setTimeout(() => this.#connect(), pause);
  }

  async #request(attempt) {
    const address = new URL(this.#address);
    address.searchParams.set("after", this.#cursor);
    const silent = setTimeout(() => attempt.abort(), SILENT_MS);
    try {
      return await fetch(address, {
        headers: { Accept: "application/x-ndjson" },
        cache: "no-store",
        signal: attempt.signal,
      });
    } finally {
      clearTimeout(silent);
    }
  }

  async #read(body, attempt) {
    const pieces = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let isLive = false;
    for (;;) {
      const silent = setTimeout(() => attempt.abort(), SILENT_MS);
      const { value, done } = await pieces.read().finally(() => clearTimeout(silent));
      if (done || this.#attempt !== attempt) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      if (lines.length && !isLive) this.#tell({ state: "live" });
      isLive ||= lines.length > 0;
      for (const line of lines) this.#take(JSON.parse(line));
    }
  }

  #take({ id, event, reset }) {
    this.#cursor = id;
    this.#tell(event ? { event } : reset ? { reset: true } : {});
  }
}
