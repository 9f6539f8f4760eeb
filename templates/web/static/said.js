// What is said to those who do not see the page: one polite sentence at a time, and seldom.
const QUIET_MS = 15_000; // between two sentences: a reader that is interrupted all the time is turned off
const MOST = 3; // names in a sentence

let last = -Infinity;
let timer = 0;
let failed = [];
let words = "";

export function say(sentence) {
  words = sentence;
  plan();
}

export function sayFailed(name) {
  failed.push(name);
  plan();
}

function plan() {
  if (!timer) timer = setTimeout(speak, Math.max(500, last + QUIET_MS - performance.now()));
}

function speak() {
  timer = 0;
  last = performance.now();
  const place = document.getElementById("said");
  if (place) place.textContent = [summary(), words].filter(Boolean).join(". ");
  failed = [];
  words = "";
}

function summary() {
  if (!failed.length) return "";
  const names = [...new Set(failed)];
  const more = names.length > MOST ? ` and ${names.length - MOST} more` : "";
  return `${failed.length} run${failed.length === 1 ? "" : "s"} failed: ${names.slice(0, MOST).join(", ")}${more}`;
}
