// The source browser: folders and originals of a source, a page at a time.

import { $, el, mark, text } from "./dom.js";
import { get } from "./api.js";
import { bytes } from "./format.js";

const PAGE = 24;
const DEEPEST = 6; // folders that are opened to find the first picture

const grid = $("originals");
const more = $("originals-more");

let source = "";
let folder = "";
let next = "";
let turn = 0; // number of the newest listing; responses to older ones are dropped
let pick = () => {};

const last = (name) => name.replace(/\/$/, "").split("/").at(-1);

function message(words, mood) {
  text($("originals-said"), words);
  mark($("originals-said"), "class", mood === "bad" ? "hint bad" : "hint");
}

const query = (after) => "/v1/originals?" + new URLSearchParams({ source, folder, limit: PAGE, ...(after && { after }) });

function crumbs() {
  const parts = folder.split("/").filter(Boolean);
  const button = (label, to) => {
    const node = el("button", { type: "button", class: "link" }, label);
    node.addEventListener("click", () => open(source, to));
    return node;
  };
  $("crumbs").replaceChildren(button(source, ""), ...parts.flatMap((part, i) => [" / ", button(part, parts.slice(0, i + 1).join("/") + "/")]));
}

function folderNode(name) {
  const node = el("button", { type: "button", class: "thumb" }, el("span", { class: "folder", "aria-hidden": "true" }, "▸"), el("span", {}, last(name)));
  node.addEventListener("click", () => open(source, name));
  return el("li", {}, node);
}

function originalNode(o) {
  const img = el("img", { alt: "", loading: "lazy", width: 120, height: 120 });
  if (o.thumbnail) img.src = "/console/image" + o.thumbnail;
  img.addEventListener("error", () => img.replaceWith(el("span", { class: "folder", "aria-hidden": "true" }, "–")));
  const node = el("button", { type: "button", class: "thumb", title: `${o.name}, ${bytes(o.bytes)}`, "data-name": o.name, "aria-pressed": "false" }, img, el("span", {}, last(o.name)));
  node.addEventListener("click", () => pick(source, o.name));
  return el("li", {}, node);
}

function add(page) {
  grid.append(...page.folders.map(folderNode), ...page.originals.map(originalNode));
  next = page.next ?? "";
  more.hidden = next === "";
}

// open shows a folder of a source. With descend it opens first folders until there is a picture, and
// resolves to the name of that picture.
export async function open(from, to, descend = false) {
  const mine = ++turn;
  for (let depth = 0; ; depth++) {
    source = from;
    folder = to;
    grid.replaceChildren();
    more.hidden = true;
    crumbs();
    message("Loading …");
    let page;
    try {
      page = await get(query());
    } catch (err) {
      if (mine === turn) message(err.message, "bad");
      return "";
    }
    if (mine !== turn) return "";
    const found = page.originals.find((o) => /\.(jpe?g|png|webp|avif|gif|heic|jxl)$/i.test(o.name));
    if (descend && !found && page.folders.length > 0 && depth < DEEPEST) {
      to = page.folders[0];
      continue;
    }
    add(page);
    message(page.folders.length + page.originals.length ? "" : "This folder is empty.");
    return found?.name ?? "";
  }
}

// select marks the chosen original.
export function select(name) {
  for (const node of grid.querySelectorAll("[data-name]")) mark(node, "aria-pressed", String(node.dataset.name === name));
}

// clear empties the list, with a reason.
export function clear(reason) {
  turn++;
  grid.replaceChildren();
  $("crumbs").replaceChildren();
  more.hidden = true;
  message(reason);
}

export function start(onPick) {
  pick = onPick;
  more.addEventListener("click", async () => {
    const mine = ++turn;
    more.disabled = true;
    try {
      const page = await get(query(next));
      if (mine === turn) add(page);
    } catch (err) {
      message(err.message, "bad");
    }
    more.disabled = false;
  });
}
