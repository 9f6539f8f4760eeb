// Lets the open bars of a timeline grow to this moment, and the axis with them, between two looks at the
// server. Bars name their seconds from the axis' beginning (data-from, data-to); the server has drawn them too.
const OVER = 1.02; // times the length, where the present moment has left the axis

export function grow() {
  const chart = document.querySelector(".gantt");
  if (!chart) return;
  const now = Date.now() / 1000 - Number(chart.dataset.begin);
  const open = chart.querySelectorAll("rect[data-from]:not([data-to])");
  const length = Number(chart.querySelector("[data-length]").dataset.length);
  const shown = open.length && now > length ? now * OVER : length;
  if (shown !== length || chart.dataset.shown) moveAll(chart, shown, now);
  else for (const bar of open) place(bar, shown, now);
  chart.dataset.shown = shown === length ? "" : shown;
}

function moveAll(chart, length, now) {
  for (const bar of chart.querySelectorAll("rect[data-from]")) place(bar, length, now);
  for (const tick of chart.querySelectorAll("[data-at]")) {
    const at = percent(Number(tick.dataset.at) / length);
    for (const name of ["x", "x1", "x2"]) if (tick.hasAttribute(name)) tick.setAttribute(name, at);
  }
}

function place(bar, length, now) {
  const from = Number(bar.dataset.from);
  const to = bar.dataset.to ? Number(bar.dataset.to) : Math.max(from, now);
  bar.setAttribute("x", percent(from / length));
  bar.setAttribute("width", percent((to - from) / length));
}

function percent(share) {
  return `${(100 * Math.min(1, Math.max(0, share))).toFixed(3)}%`;
}
