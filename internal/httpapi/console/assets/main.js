// The four views, the page header, and the poll for /v1/stats.

import { $, mark, text } from "./dom.js";
import * as api from "./api.js";
import { long } from "./format.js";
import * as changes from "./changes.js";
import * as explain from "./explain.js";
import * as playground from "./playground.js";
import * as status from "./status.js";

const INTERVAL = 2000; // between two requests for /v1/stats, in ms
const VIEWS = ["status", "changes", "playground", "explain"];

// show opens the view that the URL's fragment names: #status, #changes, #playground=SOURCE/NAME,
// #explain=URL.
function show() {
  const [name, rest] = location.hash.slice(1).split(/=(.*)/s);
  const view = VIEWS.includes(name) ? name : "status";
  for (const node of document.querySelectorAll(".view")) node.hidden = node.id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    mark(link, "aria-current", link.getAttribute("href") === "#" + view ? "page" : null);
  }
  document.title = `${view[0].toUpperCase()}${view.slice(1)} – imagetier`;
  if (view === "changes") changes.show();
  if (view === "playground") playground.show(decode(rest));
  if (view === "explain" && rest) explain.ask(decode(rest));
  window.scrollTo(0, 0);
}

// decode decodes a part of the fragment, which may be typed by hand.
function decode(part) {
  try {
    return decodeURIComponent(part ?? "");
  } catch {
    return part;
  }
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

// tick refreshes the page while it is visible; the tier keeps the history.
async function tick() {
  if (!document.hidden || !answered) await refresh();
  setTimeout(tick, INTERVAL);
}

async function refresh() {
  try {
    const stats = await api.get("/v1/stats");
    answered = Date.now();
    head(stats);
    status.render(stats);
    changes.render(stats);
  } catch (err) {
    const since = answered ? ` The numbers are ${long((Date.now() - answered) / 1000)} old.` : "";
    text($("notice"), err.message + since);
    $("notice").hidden = false;
    text($("health"), "no answer");
    mark($("health"), "data-mood", "bad");
  }
}

tick();
api.start();
explain.start();
const config = await api.get("/console/config").catch(() => ({ signing: "off", sources: [], watermarks: [], options: [], formats: [] }));
playground.start(config);
changes.start(config);
addEventListener("hashchange", show);
show();
