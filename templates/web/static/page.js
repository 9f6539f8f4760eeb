// What every page starts: times in the chosen zone, keys, and, where the page names a feed, its updates.
import { grow } from "./gantt.js";
import { startKeys } from "./keys.js";
import { follow } from "./live.js";
import { startLoading } from "./load.js";
import { startLists } from "./lists.js";
import { startNotifying } from "./notify.js";
import { startTimes, tick } from "./times.js";

startLists();
if (document.body.dataset.feed) {
  follow(document.body); // it keeps the rows as they were served: before all else
  startNotifying();
}
startTimes();
startLoading();
startKeys();
// On a phone the pages' names are wider than the screen: the present one is brought into view.
document.querySelector(".top nav > [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
tick();
grow();
setInterval(() => { if (!document.hidden) { tick(); grow(); } }, 1000);
document.addEventListener("visibilitychange", () => { tick(); grow(); });
