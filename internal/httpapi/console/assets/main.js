// The three views and the page header.

import { $, mark, text } from "./dom.js";
import { get } from "./api.js";
import { long } from "./format.js";
import * as status from "./status.js";
import * as playground from "./playground.js";
import * as explain from "./explain.js";

const INTERVAL = 2000; // between two requests for /v1/stats, in ms

// show opens the view that the URL's fragment names: #status, #playground, #explain=URL.
function show() {
  const [name, rest] = location.hash.slice(1).split(/=(.*)/s);
  const view = ["status", "playground", "explain"].includes(name) ? name : "status";
  for (const node of document.querySelectorAll(".view")) node.hidden = node.id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    mark(link, "aria-current", link.getAttribute("href") === "#" + view ? "page" : null);
  }
  if (view === "explain" && rest) explain.ask(decodeURIComponent(rest));
  window.scrollTo(0, 0);
}

const MOODS = { ok: "good", starting: "warn", degraded: "warn", draining: "warn" };

function head(stats) {
  const { status: state, reasons } = stats.health;
  text($("health"), state);
  mark($("health"), "data-mood", MOODS[state] ?? "bad");
  mark($("health"), "title", (reasons ?? []).join("; "));
  text($("about"), `${stats.version}${stats.dev ? " · dev" : ""} · up ${long(stats.uptime_seconds)}`);
  const notice = (reasons ?? []).join("; ");
  text($("notice"), notice);
  $("notice").hidden = notice === "";
}

let answered = 0;

async function tick() {
  try {
    const stats = await get("/v1/stats");
    answered = Date.now();
    head(stats);
    status.render(stats);
  } catch (err) {
    const since = answered ? ` The numbers are ${long((Date.now() - answered) / 1000)} old.` : "";
    text($("notice"), err.message + since);
    $("notice").hidden = false;
    text($("health"), "no answer");
    mark($("health"), "data-mood", "bad");
  }
  setTimeout(tick, INTERVAL);
}

addEventListener("hashchange", show);
show();
tick();
playground.start();
explain.start();
