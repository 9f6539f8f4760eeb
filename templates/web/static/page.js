// What every page starts: times in the reader's own zone, and, where the page names a feed, its updates.
import { follow } from "./live.js";
import { showTimes, tick } from "./times.js";

if (document.body.dataset.feed) follow(document.body);
showTimes(document);
// On a phone the pages' names are wider than the screen: the present one is brought into view.
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
setInterval(tick, 1000);
