// The status view.

import { $, el, facts, list, mark, none, spark, text } from "./dom.js";
import { bytes, count, long, percent, rate, short, time } from "./format.js";
import { add, HITS, hour, latest, MISSES, quantile, ratio, recent, then } from "./history.js";
import * as activity from "./activity.js";

const CACHES = ["memory", "disk", "derived", "original", "origin", "stale", "negative", "none"];
const FROM = {
  memory: "memory", disk: "disk", derived: "shared store", original: "made from cached original",
  origin: "made from fetched original", stale: "stale", negative: "cached error", none: "no cache",
};
const FINE = ["ok", "not_modified", "not_found", "changed", "canceled", "unread", "name", "too_large"];

const sum = (counts) => Object.values(counts ?? {}).reduce((a, b) => a + b, 0);
const named = (counts) => Object.entries(counts ?? {}).filter(([, n]) => n > 0).map(([name, n]) => `${count(n)} ${name.replaceAll("_", " ")}`).join(", ");
const ofStatus = (digit) => (s) => Object.entries(s.requests.by_status).reduce((n, [code, k]) => n + (code.startsWith(digit) && code !== "499" ? k : 0), 0);

// Each tile has a name, a current number with its unit, a line of text and a chart of the number.
const TILES = [
  {
    name: "Requests", unit: "/s",
    now: () => rate(recent().rate((s) => s.requests.total)),
    sub: (s) => `${short(s.requests.total)} since start`,
    course: (h) => h.rate(h.sum(CACHES)),
  },
  {
    name: "Hit ratio", top: 1.1,
    now: () => percent(ratio(then(), latest()) ?? NaN),
    sub: (s) => `${percent(ratio(null, s) ?? NaN)} since start`,
    course: (h) => {
      const hits = h.rate(h.sum(HITS));
      return h.rate(h.sum(MISSES)).map((n, i) => (hits[i] + n > 0 ? hits[i] / (hits[i] + n) : null));
    },
  },
  {
    name: "Hit latency, p99",
    now: () => time(quantile(HITS, 0.99)),
    sub: () => `median ${time(quantile(HITS, 0.5))}; of misses ${time(quantile(MISSES, 0.5))}`,
    course: (h) => h.column("p50_seconds"),
  },
  {
    name: "Sent", unit: "/s",
    now: () => bytes(recent().rate((s) => s.requests.bytes)),
    sub: (s) => `${bytes(s.requests.bytes)} since start`,
    course: (h, s) => h.rate(s.history.bytes),
  },
  {
    name: "Errors (5xx)", unit: "/min",
    now: () => count(Math.round(recent().rate(ofStatus("5")) * 60)),
    sub: () => `client errors (4xx) ${count(Math.round(recent().rate(ofStatus("4")) * 60))} /min`,
    course: (h, s) => h.rate(s.history.status_5xx),
    mood: () => (recent().grown(ofStatus("5")) > 0 ? "bad" : null),
  },
];

const tiles = list($("tiles"), (tile) => {
  const value = el("span");
  const sub = el("p", { class: "sub" });
  const line = spark();
  const node = el("article", { class: "tile" }, el("h2", {}, tile.name),
    el("p", { class: "value" }, value, tile.unit ? el("small", {}, tile.unit) : null), sub, line.node);
  return {
    node,
    set() {
      text(value, tile.now());
      text(sub, tile.sub(latest()));
      const values = tile.course(hour(latest()), latest());
      line.set(values, Math.max(10, values.length), tile.top);
      mark(node, "data-mood", tile.mood?.());
    },
  };
});

const answers = list($("answers").tBodies[0], (label) => {
  const cells = ["n", "n", "n", "n", "n"].map((c) => el("td", { class: c }));
  const node = el("tr", {}, el("td", {}, el("i", { class: "dot", "data-cache": label }), FROM[label] ?? label), ...cells);
  return {
    node,
    set() {
      const pick = (s) => s.requests.by_cache[label]?.count;
      const { grown, rate: each } = recent();
      const all = grown((s) => s.requests.total);
      const values = [rate(each(pick)), percent(grown(pick) / all), time(quantile([label], 0.5)), time(quantile([label], 0.99)), short(pick(latest()) ?? 0)];
      values.forEach((v, i) => text(cells[i], v));
      mark(node, "data-quiet", !pick(latest()));
    },
  };
});

const mix = list($("mix"), (label) => {
  const node = el("i", { "data-cache": label });
  return {
    node,
    set() {
      const n = recent().grown((s) => s.requests.by_cache[label]?.count);
      node.style.flex = `${n > 0 ? n : 0} 0 0`;
      node.hidden = !(n > 0);
      node.title = label;
    },
  };
});

// item creates a block with a name, a badge, text to the right, and a line of text below.
function item(name) {
  const badge = el("span", { class: "badge" });
  const right = el("p");
  const sub = el("p", { class: "sub" });
  const body = el("div");
  const node = el("section", { class: "item" }, el("header", {}, el("h3", {}, name, badge), right), body, sub);
  return {
    node, body, sub, right,
    badge(label, mood) {
      text(badge, label);
      badge.hidden = label === "";
      mark(badge, "data-mood", mood);
    },
  };
}

const byName = (field, name) => (s) => s[field].find((x) => x.name === name);

const tiers = list($("tiers"), ({ name }) => {
  const part = item(name);
  const bar = el("i", { "data-cache": name });
  const fill = el("div", { class: "fill" }, bar);
  part.body.append(fill);
  return {
    node: part.node,
    set(tier) {
      const at = byName("tiers", name);
      const { grown, rate: each } = recent();
      const hits = grown((s) => at(s)?.hits), misses = grown((s) => at(s)?.misses);
      part.badge(tier.state || (tier.errors > 0 ? `${count(tier.errors)} errors` : ""), tier.state ? "bad" : "warn");
      text(part.right, tier.budget_bytes ? `${bytes(tier.bytes)} of ${bytes(tier.budget_bytes)}` : bytes(tier.bytes));
      fill.hidden = !tier.budget_bytes;
      bar.style.width = `${Math.min(100, (100 * tier.bytes) / (tier.budget_bytes || 1))}%`;
      const evicted = each((s) => sum(at(s)?.evictions));
      text(part.sub, [
        `${short(tier.entries)} ${tier.entries === 1 ? "entry" : "entries"}`,
        hits + misses > 0 ? `${percent(hits / (hits + misses))} of ${rate(each((s) => (at(s)?.hits ?? 0) + (at(s)?.misses ?? 0)))} lookups/s hit` : "no lookups in the last minute",
        evicted > 0 ? `${rate(evicted)} evictions/s` : "",
      ].filter(Boolean).join(" · "));
    },
  };
});

const BREAKER = { "": ["", null], closed: ["up", "good"], "half-open": ["retrying", "warn"], open: ["down, breaker open", "bad"] };

const origins = list($("origins"), ({ name }) => {
  const part = item(name);
  return {
    node: part.node,
    set(origin) {
      const at = byName("origins", name);
      const { grown, rate: each } = recent();
      const requests = grown((s) => sum(at(s)?.requests));
      const faults = Object.keys(origin.requests).filter((o) => !FINE.includes(o))
        .map((o) => [o.replaceAll("_", " "), grown((s) => at(s)?.requests[o])]).filter(([, n]) => n > 0);
      part.badge(...(BREAKER[origin.breaker] ?? [origin.breaker, null]));
      text(part.right, requests > 0 ? `${rate(each((s) => sum(at(s)?.requests)))} /s, mean ${time(grown((s) => at(s)?.seconds) / requests)}` : "no requests");
      text(part.sub, faults.length ? "last minute: " + faults.map(([o, n]) => `${count(n)} ${o}`).join(", ") : named(origin.requests));
      mark(part.sub, "class", faults.length ? "sub bad" : "sub");
    },
  };
});

const resizing = item("Processes");
const squares = el("div", { class: "workers", "aria-hidden": "true" });
resizing.body.append(squares);
const queue = item("Waiting");
const jobs = item("Variants");

function renderResize({ workers, queue: waitingBy, restarts, jobs: made }) {
  const states = Object.entries(workers).flatMap(([state, n]) => new Array(n).fill(state)).sort();
  if (squares.childNodes.length !== states.length) squares.replaceChildren(...states.map(() => el("i")));
  states.forEach((state, i) => mark(squares.childNodes[i], "data-state", state));
  resizing.badge("", null);
  text(resizing.right, named(workers) || "none");
  const replaced = named(restarts);
  text(resizing.sub, replaced ? `replaced since start: ${replaced}` : "");
  const waiting = sum(waitingBy);
  queue.badge("", null);
  text(queue.right, waiting ? named(waitingBy) : "empty");
  const { rate: each } = recent();
  jobs.badge("", null);
  text(jobs.right, `${rate(each((s) => sum(s.resize?.jobs)))} /s`);
  text(jobs.sub, `since start: ${named(made) || "none"}`);
}

const process = facts($("process"));

function renderProcess(s) {
  const p = s.process;
  process([
    ["Version", s.version + (s.revision ? ` (${s.revision.slice(0, 12)})` : "")],
    ["Built with", s.go_version],
    ["Started", `${new Date(s.started).toLocaleString()}, ${long(s.uptime_seconds)} ago`],
    ["Memory", bytes(p.rss_bytes || NaN) + (p.memory_limit_bytes ? `; Go memory limit ${bytes(p.memory_limit_bytes)}` : "")],
    ["Goroutines", count(p.goroutines)],
    ["Coalesced", `${count(s.requests.coalesced)} requests waited for the fill of another`],
  ]);
}

// render shows a response of /v1/stats.
export function render(stats) {
  add(stats);
  const same = (x) => x;
  tiles(TILES, (t) => t.name);
  answers(CACHES, same);
  mix(CACHES, same);
  tiers(stats.tiers ?? [], (t) => t.name);
  none($("tiers"), stats.tiers ?? [], "No cache tiers.");
  origins(stats.origins ?? [], (o) => o.name);
  none($("origins"), stats.origins ?? [], "No sources.");
  if (stats.resize && !resizing.node.isConnected) $("resizing").append(resizing.node, queue.node, jobs.node);
  none($("resizing"), stats.resize ? [1] : [], "No resize processes.");
  if (stats.resize) renderResize(stats.resize);
  renderProcess(stats);
  activity.render(stats);
}
