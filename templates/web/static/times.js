// Moments come as UTC; people read them in their own zone. The full moment stays in the tooltip.
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const DAY = { day: "numeric", month: "short" };
const clock = new Intl.DateTimeFormat([], CLOCK); // made once: a thousand rows have a thousand moments
const day = new Intl.DateTimeFormat([], DAY);
const whole = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });

const counting = [["elapsed", span], ["ago", (seconds) => (seconds < 5 ? "just now" : `${span(seconds)} ago`)]]
  .map(([name, words]) => [document.getElementsByClassName(name), words]); // live: no search each second

export function showTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time:not([title])")) {
    const moment = new Date(time.dateTime);
    time.title = `${whole.format(moment)} (${time.dateTime})`;
    if (time.classList.length) continue; // it is counted
    time.textContent =
      moment.toDateString() === today ? clock.format(moment) : `${day.format(moment)}, ${clock.format(moment)}`;
  }
}

export function timeOf(moment) {
  return clock.format(moment);
}

// What is still going on is counted on, second by second.
export function tick() {
  for (const [times, words] of counting) for (const time of times) count(time, words);
}

function count(time, words) {
  const told = words(Math.max(0, Math.floor((Date.now() - new Date(time.dateTime)) / 1000)));
  if (time.textContent !== told) time.textContent = told;
}

function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
