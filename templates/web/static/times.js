// Moments come as UTC; people read them in their own zone. The full moment stays in the tooltip.
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const DAY = { day: "numeric", month: "short" };

export function showTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time:not([title])")) {
    const moment = new Date(time.dateTime);
    time.title = `${moment.toLocaleString()} (${time.dateTime})`;
    if (time.classList.contains("elapsed")) continue;
    const clock = moment.toLocaleTimeString([], CLOCK);
    time.textContent =
      moment.toDateString() === today ? clock : `${moment.toLocaleDateString([], DAY)}, ${clock}`;
  }
  tick();
}

// What is still going on is counted on, second by second.
export function tick() {
  for (const time of document.querySelectorAll("time.elapsed")) {
    time.textContent = span(Math.max(0, Math.floor((Date.now() - new Date(time.dateTime)) / 1000)));
  }
}

function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
