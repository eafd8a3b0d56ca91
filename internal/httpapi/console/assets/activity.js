// The second half of the status view: charts of the last hour, what was requested most, what failed,
// warming and the fleet. All of it is kept by the tier, so a reload loses nothing.

import { $, el, facts, list, mark, none, text } from "./dom.js";
import { chart } from "./charts.js";
import { bytes, clock, count, long, many, percent, rate, short, time } from "./format.js";
import { HITS, hour, MISSES } from "./history.js";

const perSecond = (n) => rate(n) + " /s";

const CHARTS = [
  {
    title: "Requests", format: perSecond, stacked: true,
    series: [
      { name: "memory", color: "memory" }, { name: "disk", color: "disk" }, { name: "shared store", color: "derived" },
      { name: "made", color: "origin" }, { name: "other", color: "none" },
    ],
    columns: (h) => [["memory"], ["disk"], ["derived"], MISSES, ["stale", "negative", "none"]].map((labels) => h.rate(h.sum(labels))),
  },
  {
    title: "Hit ratio", format: percent, stacked: true, top: 1,
    series: [
      { name: "memory", color: "memory" }, { name: "disk", color: "disk" }, { name: "shared store", color: "derived" },
      { name: "stale, errors", color: "stale" },
    ],
    columns: (h) => {
      const all = h.rate(h.sum([...HITS, ...MISSES]));
      return [["memory"], ["disk"], ["derived"], ["stale", "negative"]].map((labels) =>
        h.rate(h.sum(labels)).map((n, i) => (all[i] > 0 ? n / all[i] : null)));
    },
  },
  {
    title: "Latency", format: time,
    series: [{ name: "median", color: "memory" }, { name: "p99", color: "origin" }],
    columns: (h) => [h.column("p50_seconds"), h.column("p99_seconds")],
  },
  {
    title: "Errors", format: perSecond, stacked: true,
    series: [{ name: "5xx", color: "bad" }, { name: "4xx", color: "original" }],
    columns: (h, s) => [h.rate(s.history.status_5xx), h.rate(s.history.status_4xx)],
  },
  {
    title: "Origin latency", format: time,
    series: [{ name: "median", color: "disk" }, { name: "p99", color: "origin" }],
    columns: (h) => [h.column("origin_p50_seconds"), h.column("origin_p99_seconds")],
  },
  {
    title: "Resize queue", format: count, stacked: true,
    series: [{ name: "waiting jobs", color: "stale" }],
    columns: (h) => [h.column("queue_jobs")],
  },
];

const charts = CHARTS.map((spec) => ({ spec, drawn: chart(spec) }));
$("charts").append(...charts.map((c) => c.drawn.node));

const top = list($("top").tBodies[0], ({ source, name }) => {
  const bar = el("i");
  const cells = ["n", "n", "n"].map((c) => el("td", { class: c }));
  const node = el("tr", {}, el("td", { class: "name" },
    el("a", { href: "#playground=" + encodeURIComponent(`${source}/${name}`) }, name), el("small", {}, source), el("div", { class: "fill" }, bar)), ...cells);
  return {
    node,
    set({ requests, misses, bytes: size, share }) {
      bar.style.width = `${100 * share}%`;
      [short(requests), percent(misses / requests), bytes(size)].forEach((v, i) => text(cells[i], v));
    },
  };
});

const errors = list($("errors").tBodies[0], (e) => ({
  node: el("tr", {}, el("td", {}, clock(e.at)),
    el("td", {}, el("span", { class: "badge", "data-mood": e.status >= 500 ? "bad" : "warn" }, String(e.status))),
    el("td", { class: "name" }, el("a", { href: "#explain=" + encodeURIComponent(e.path) }, e.path), el("small", {}, `${e.code}: ${e.detail}`)),
    el("td", { class: "n" }, time(e.seconds)),
    el("td", {}, el("code", {}, e.request_id))),
  set() {},
}));

const warming = facts($("warming"));
const fleet = facts($("fleet-facts"));
const logs = facts($("fleet-logs"));
const nodes = list($("fleet-nodes"), ({ id }) => {
  const badge = el("span", { class: "badge" });
  return {
    node: el("li", {}, el("code", {}, id), badge),
    set({ silent_seconds: silent, own }) {
      text(badge, silent > 6 ? `silent for ${long(silent)}` : own ? "this node" : "up");
      mark(badge, "data-mood", silent > 6 ? "bad" : "good");
    },
  };
});

const amount = (a) => `${many(a.variants, "variant")}, ${long(a.cpu_seconds)} of CPU, ${bytes(a.bytes)}`;
const outcomes = (counts) => Object.entries(counts ?? {}).map(([name, n]) => `${count(n)} ${name.replaceAll("_", " ")}`).join(", ") || "none";

function renderWarming(p) {
  warming([
    ["Queue", p.available ? `${many(p.queue_jobs, "job")}, oldest ${long(p.lag_seconds)}` : "does not answer"],
    ["Paths of pages", `${count(p.page_paths)} waiting; ${outcomes(p.paths)}`],
    ["Events", outcomes(p.events)],
    ["Jobs", outcomes(p.jobs)],
    ["Made", many(p.made_variants, "variant")],
    ["Used", amount(p.used)],
    ["Wasted", amount(p.wasted)],
  ]);
  text($("dead-count"), p.dead_letters ? many(p.dead_letters, "dead letter") : "No dead letters");
  mark($("dead-count"), "data-mood", p.dead_letters ? "bad" : "good");
}

function renderFleet(f) {
  $("fleet").hidden = !f;
  if (!f) return;
  fleet([
    ["Pending receipts", count(f.pending_receipts)],
    ["Unsent changes", count(f.unsent) + (f.waiting ? `: ${f.waiting}` : "")],
    ["Purges to repeat", count(f.purges_to_repeat)],
    ...(f.error ? [["Cluster", f.error]] : []),
  ]);
  logs(f.logs.map((l) => [l.name, l.last ? `${count(l.applied)} of ${count(l.last)} applied` : `${count(l.applied)} applied`]));
  nodes(f.nodes.map((n) => ({ ...n, own: n.id === f.node })), (n) => n.id);
}

// render shows a response of /v1/stats.
export function render(stats) {
  const h = hour(stats);
  for (const { spec, drawn } of charts) drawn.set(h.ago, spec.columns(h, stats));
  const all = stats.top_originals.originals.slice(0, 10);
  top(all.map((o) => ({ ...o, share: o.requests / all[0].requests })), (o) => `${o.source}/${o.name}`);
  none($("top").parentNode, all, "No requests yet.");
  text($("top-since"), `since ${clock(stats.top_originals.since)}`);
  errors(stats.errors.slice(0, 20), (e) => `${e.request_id} ${e.at}`);
  none($("errors").parentNode, stats.errors, "No errors.");
  renderWarming(stats.prefetch);
  renderFleet(stats.fleet);
}
