// Parts of a page that are fetched when somebody wants them: Airflow is asked for a log when its details are
// opened, and for what it knows of a run when that comes into sight. Without a script they are links.
export function startLoading() {
  // `toggle` does not bubble: it is caught on its way down.
  document.addEventListener("toggle", (event) => {
    if (event.target.open && event.target.matches("details[data-load]")) load(event.target);
  }, true);
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watch.unobserve(entry.target);
      load(entry.target);
    }
  });
  for (const place of document.querySelectorAll("p[data-load]")) watch.observe(place);
}

async function load(place) {
  if (place.getAttribute("aria-busy")) return;
  place.setAttribute("aria-busy", "true");
  try {
    show(place, await part(place.dataset.load));
  } catch {
    show(place, told("The server cannot be reached; close and open this to try again."));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

async function part(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.querySelector("[data-part]") ?? told(answer.redirected ? "You are signed out." : "It is not there any more.");
}

function show(place, part) {
  const shown = document.importNode(part, true);
  if (!place.matches("details")) {
    place.replaceWith(shown);
    return;
  }
  place.replaceChildren(place.querySelector("summary"), shown);
  place.dataset.loaded = "yes";
  const log = shown.querySelector("pre.log");
  if (log) log.scrollTop = log.scrollHeight; // its end is what one came for
}

function told(words) {
  const line = document.createElement("p");
  line.className = "problem";
  line.textContent = words;
  return line;
}
