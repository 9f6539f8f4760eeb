// Moments come as UTC. They are shown in one zone, which the page names: the reader's own, UTC, or that of the
// rules file. Always by 24 hours; the whole moment with its offset stands in the tooltip.
const KEY = "windsock-zone";
const AGES_MS = 10_000; // between two counts of "5 min ago": a list has ten thousand of them
const OWN = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const DAY = { day: "numeric", month: "short" };
const ISO = { year: "numeric", month: "2-digit", day: "2-digit", ...CLOCK, timeZoneName: "longOffset" };

const rules = document.body.dataset.zone;
const zones = new Map([["local", OWN]]);
for (const [name, zone] of [["utc", "UTC"], ["rules", rules]]) {
  if (zone && isKnown(zone) && ![...zones.values()].includes(zone)) zones.set(name, zone);
}
let formats = formatsOf(chosen()); // made once: a thousand rows have a thousand moments
let counted = 0; // when ages were counted last

const seconds = [["elapsed", span], ["ago", (past) => (past < 5 ? "just now" : `${span(past)} ago`)]]
  .map(([name, words]) => [document.getElementsByClassName(name), words]); // live: no search each second
const ages = document.getElementsByClassName("age");

export function startTimes() {
  showTimes(document);
  showSwitch();
  for (const input of document.querySelectorAll('.filters [type="datetime-local"]')) startInput(input);
  addEventListener("storage", ({ key }) => key === KEY && changeZone()); // another window has switched
}

export function showTimes(root) {
  const today = formats.date.format(new Date());
  for (const time of root.querySelectorAll("time:not([title])")) show(time, today);
}

export function timeOf(moment) {
  return formats.clock.format(moment);
}

// What still goes on is counted each second, how old something is more seldom.
export function tick() {
  for (const [times, words] of seconds) for (const time of times) count(time, words);
  if (Date.now() - counted < AGES_MS) return;
  counted = Date.now();
  for (const time of ages) count(time, age);
}

function show(time, today) {
  const moment = new Date(time.dateTime);
  time.title = `${iso(moment)} (${formats.zone})`;
  if (time.className === "age") count(time, age);
  if (time.classList.length) return; // it is counted
  const clock = formats.clock.format(moment);
  const date = formats.date.format(moment);
  const isThisYear = date.slice(-4) === today.slice(-4);
  time.textContent = date === today ? clock : `${(isThisYear ? formats.day : formats.dated).format(moment)}, ${clock}`;
}

function showSwitch() {
  const place = document.getElementById("zone");
  if (!place) return;
  const select = document.createElement("select");
  select.setAttribute("aria-label", "Time zone");
  const words = { local: `${OWN} (local)`, utc: "UTC", rules: `${rules} (mails)` };
  for (const name of zones.keys()) select.add(new Option(words[name], name));
  select.value = chosen();
  select.addEventListener("change", () => { keep(select.value); changeZone(); });
  place.replaceChildren(select);
}

function changeZone() {
  const inputs = [...document.querySelectorAll("[data-moment]")].map((input) => [input, utcOf(input.value)]);
  formats = formatsOf(chosen());
  for (const time of document.querySelectorAll("time[title]")) time.removeAttribute("title");
  showTimes(document);
  for (const [input, moment] of inputs) showInput(input, moment);
  const select = document.querySelector("#zone select");
  if (select) select.value = chosen();
}

// The server writes and takes a form's moments in UTC; people write them in the page's zone.
function startInput(input) {
  input.dataset.moment = "";
  showInput(input, input.value ? new Date(`${input.value}Z`) : null);
  input.form.addEventListener("formdata", ({ formData }) => {
    const moment = utcOf(input.value);
    if (moment) formData.set(input.name, moment.toISOString());
  });
}

function showInput(input, moment) {
  input.value = moment ? iso(moment).slice(0, 16) : "";
  input.closest("label").querySelector(".zone-name").textContent = formats.zone;
}

// The moment that a clock on the wall of the page's zone means.
function utcOf(wall) {
  if (!wall) return null;
  const naive = new Date(`${wall}Z`).getTime();
  let moment = naive;
  for (let round = 0; round < 2; round++) moment = naive - offset(new Date(moment)); // again: around a change of the clocks
  return new Date(moment);
}

function offset(moment) {
  return new Date(`${iso(moment).slice(0, 19)}Z`) - Math.floor(moment / 1000) * 1000;
}

function iso(moment) {
  const of = Object.fromEntries(formats.iso.formatToParts(moment).map(({ type, value }) => [type, value]));
  const zone = of.timeZoneName.slice(3) || "+00:00"; // GMT, GMT+01:00
  return `${of.year}-${of.month}-${of.day}T${of.hour}:${of.minute}:${of.second}${zone}`;
}

function formatsOf(name) {
  const timeZone = zones.get(name);
  const of = (locale, options) => new Intl.DateTimeFormat(locale, { ...options, timeZone });
  return {
    zone: timeZone,
    clock: of([], CLOCK),
    day: of([], DAY),
    dated: of([], { ...DAY, year: "numeric" }),
    date: of("en-GB", { ...DAY, year: "numeric" }),
    iso: of("en-GB", ISO),
  };
}

function isKnown(timeZone) {
  try {
    return Boolean(new Intl.DateTimeFormat([], { timeZone }));
  } catch {
    return false; // this browser's list of zones is older than the server's
  }
}

function chosen() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEY);
  } catch { /* storage is blocked: the reader's own zone, each time */ }
  return zones.has(kept) ? kept : "local";
}

function keep(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch { /* see above */ }
}

function count(time, words) {
  const text = words(Math.floor((Date.now() - new Date(time.dateTime)) / 1000));
  if (time.textContent !== text) time.textContent = text;
}

function age(past) {
  const minutes = Math.floor(Math.abs(past) / 60);
  if (!minutes) return past < 0 ? "in less than 1 min" : "just now";
  const text = minutes < 60 ? `${minutes} min` : minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
  return past < 0 ? `in ${text}` : `${text} ago`;
}

function span(past) {
  const whole = Math.max(0, past);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
