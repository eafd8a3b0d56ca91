// The changes view: takedowns, purges with their receipts, and dead letters.

import { $, el, list, mark, none, text } from "./dom.js";
import { call, get } from "./api.js";
import { bytes, clock, count, many } from "./format.js";

const NAMES = { purge: "Purge", soft_purge: "Soft purge", takedown: "Takedown", lift: "Lift" };

const say = (node, message, mood) => {
  text(node, message);
  mark(node, "data-mood", mood);
};

// receipt describes what a change has removed, and where.
function receipt(r) {
  const parts = [`${many(r.variants, "variant")}, ${many(r.originals, "original")}, ${bytes(r.bytes)}`];
  if (r.nodes.known > 1 || r.nodes.applied < r.nodes.known) parts.push(`applied on ${r.nodes.applied} of ${r.nodes.known} nodes`);
  if (r.superseded) parts.push("a newer decision holds instead");
  if (r.waiting) parts.push(r.waiting);
  return parts.join("; ");
}

// change sends a change and shows its receipt. It resolves to whether it was carried out.
async function change(output, method, path, body) {
  say(output, "Working …");
  try {
    const done = body.dry_run ? "It would remove " : "Done: ";
    say(output, done + receipt(await call(method, path, body)), "good");
    return true;
  } catch (err) {
    say(output, err.message, "bad");
    return false;
  }
}

// target reads a form with the fields by, source and value.
function target(form) {
  const by = form.elements.by.value;
  const value = form.elements.value.value.trim();
  if (by === "name") return { source: form.elements.source.value, name: value };
  return { [by]: value };
}

// follow shows the fields that belong to the choice of by.
function follow(form) {
  const by = form.elements.by.value;
  form.elements.source.closest("label").hidden = by !== "name";
  form.elements.value.placeholder = { name: "2026/11/abc.jpg", tag: "post:p1", path: "/i/k1.…/640x/v.1/posts/abc.jpg.webp" }[by];
}

let next = ""; // the query of the next page of takedowns

const takedowns = list($("takedowns").tBodies[0], ({ source, name, since }) => {
  const lift = el("button", { type: "button", "aria-label": `Lift the takedown of ${source} ${name}` }, "Lift");
  lift.addEventListener("click", async () => {
    lift.disabled = true;
    if (await change($("takedown-said"), "DELETE", "/v1/takedown", { source, name })) await reload();
    lift.disabled = false;
  });
  return {
    node: el("tr", {}, el("td", { class: "name" }, name, el("small", {}, source)), el("td", {}, clock(since)), el("td", { class: "n" }, lift)),
    set() {},
  };
});
let down = [];

async function page(query) {
  try {
    const answer = await get("/v1/takedown" + (query ? "?" + query : ""));
    down = query ? down.concat(answer.takedowns) : answer.takedowns;
    next = answer.next ?? "";
  } catch (err) {
    say($("takedown-said"), err.message, "bad");
  }
  takedowns(down, (t) => `${t.source}/${t.name}`);
  none($("takedowns").parentNode, down, "Nothing is taken down.");
  $("takedowns-more").hidden = next === "";
}

const reload = () => page("");

const changes = list($("changes-made").tBodies[0], (c) => ({
  node: el("tr", {}, el("td", {}, clock(c.at)), el("td", {}, NAMES[c.kind] ?? c.kind),
    el("td", { class: "name" }, c.tag ?? c.path ?? c.name, el("small", {}, c.tag ? `tag, ${many(c.targets, "target")}` : c.source ?? "")),
    el("td", {}, receipt(c.receipt))),
  set() {},
}));

// render shows what /v1/stats says of changes.
export function render(stats) {
  changes(stats.changes, (c) => c.at + c.kind + (c.tag ?? c.path ?? c.name));
  none($("changes-made").parentNode, stats.changes, "No changes since the start.");
}

const letters = list($("dead").tBodies[0], (l) => {
  const settle = (what, label) => {
    const button = el("button", { type: "button", "aria-label": `${label} ${l.what}` }, label);
    button.addEventListener("click", () => settleDead(what, [l.id]));
    return button;
  };
  return {
    node: el("tr", {}, el("td", {}, clock(l.died)), el("td", { class: "name" }, l.what || `job ${l.id}`, el("small", {}, l.reason)),
      el("td", { class: "n" }, count(l.attempts)), el("td", { class: "n buttons" }, settle("retry", "Retry"), settle("discard", "Discard"))),
    set() {},
  };
});

async function settleDead(what, ids) {
  try {
    const { settled } = await call("POST", "/v1/warm/dead", ids ? { do: what, ids } : { do: what });
    say($("dead-said"), what === "retry" ? `${count(settled)} queued again.` : `${count(settled)} discarded.`, "good");
  } catch (err) {
    say($("dead-said"), err.message, "bad");
  }
  await reloadDead();
}

async function reloadDead() {
  let dead = [];
  try {
    ({ dead } = await get("/v1/warm/dead"));
  } catch (err) {
    say($("dead-said"), err.message, "bad");
  }
  letters(dead, (l) => l.id);
  none($("dead").parentNode, dead, "No job has failed for good.");
  $("dead-all").hidden = dead.length < 2;
}

// show is called when the view is opened.
export function show() {
  reload();
  reloadDead();
}

export function start(config) {
  for (const form of [$("takedown"), $("purge")]) {
    form.elements.source.replaceChildren(...config.sources.map((name) => el("option", {}, name)));
    form.elements.by.addEventListener("change", () => follow(form));
    follow(form);
  }
  $("takedown").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await change($("takedown-said"), "POST", "/v1/takedown", target($("takedown")))) await reload();
  });
  const purge = (more) => change($("purge-said"), "POST", "/v1/purge", { ...target($("purge")), ...more });
  $("purge").addEventListener("submit", (event) => {
    event.preventDefault();
    purge({ soft: $("purge").elements.soft.checked });
  });
  $("dry-run").addEventListener("click", () => $("purge").reportValidity() && purge({ dry_run: true }));
  $("takedowns-more").addEventListener("click", () => page(next));
  $("dead-all").addEventListener("click", () => settleDead("retry"));
}
