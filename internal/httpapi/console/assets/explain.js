// The explain view: the response of /v1/explain as a tree.

import { $, el } from "./dom.js";
import { get } from "./api.js";
import { bytes, long } from "./format.js";

const form = $("ask");
const out = $("meaning");

const label = (name) => name.replace(/_(seconds|ms)$/, "").replaceAll("_", " ");

// tree shows any JSON: objects as names and values, the items of an array below each other.
function tree(json) {
  if (Array.isArray(json) && json.some((x) => typeof x === "object" && x !== null)) {
    return el("div", {}, ...json.map((x) => el("div", { class: "item" }, tree(x))));
  }
  if (Array.isArray(json)) return el("span", {}, json.length ? json.join(", ") : "none");
  if (typeof json !== "object" || json === null) return el("span", {}, show(json));
  const node = el("dl", { class: "tree" });
  const parts = Object.entries(json).map(([name, value]) => [name, value, deep(value)]);
  for (const [name, value, isDeep] of parts.sort((a, b) => a[2] - b[2])) {
    if (isDeep) {
      node.append(el("dt", { class: "head" }, label(name)), el("dd", { class: "deep" }, Object.keys(value).length ? tree(value) : "none"));
    } else {
      node.append(el("dt", {}, label(name)), el("dd", {}, typeof value === "number" ? amount(name, value) : tree(value)));
    }
  }
  return node;
}

// amount shows a number in the unit that its name ends in.
function amount(name, n) {
  if (name.endsWith("_seconds")) return n < 0 ? `${long(-n)} ago` : long(n);
  if (name === "bytes" || name.endsWith("_bytes")) return `${bytes(n)} (${n})`;
  if (name.endsWith("_ms")) return `${Number(n.toPrecision(3))} ms`;
  return String(n);
}

// deep reports whether value has fields of its own. Such values are shown last.
const deep = (value) => typeof value === "object" && value !== null && !(Array.isArray(value) && value.every((x) => typeof x !== "object"));

function show(value) {
  if (value === null || value === "") return "–";
  if (value === true) return "yes";
  if (value === false) return "no";
  return String(value);
}

// ask explains a URL or path and shows the result.
export async function ask(url) {
  form.elements.url.value = url;
  out.hidden = false;
  try {
    const json = await get("/v1/explain?" + new URLSearchParams({ url }));
    const { url: same, ...rest } = json;
    const shown = same === json.path ? rest : { ...json };
    let note = null;
    if (!url.includes("/i/") && json.signature?.verdict === "missing" && json.ref) { // of an error, or typed
      note = el("p", { class: "hint" }, "This path is without its signature, so the status that a request gets is not shown.");
      for (const name of ["signature", "status", "why"]) delete shown[name];
    }
    out.replaceChildren(note ?? "", tree(shown), el("details", { class: "meaning-raw" }, el("summary", {}, "As JSON"),
      el("pre", {}, JSON.stringify(json, null, 2))));
  } catch (err) {
    out.replaceChildren(el("p", { class: "bad" }, err.message));
  }
}

export function start() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const url = form.elements.url.value.trim();
    const hash = "#explain=" + encodeURIComponent(url);
    if (location.hash === hash) ask(url);
    else location.hash = hash;
  });
}
