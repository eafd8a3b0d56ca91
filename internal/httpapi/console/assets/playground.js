// The playground: choose an original and the options of a Spec, and see the image at once.

import { $, el, mark, text } from "./dom.js";
import { askToken, get, hasToken } from "./api.js";
import * as browser from "./browser.js";
import * as options from "./options.js";
import { KINDS, tabs } from "./snippets.js";
import * as stage from "./stage.js";

const form = $("shape");
const field = (name) => form.elements[name];
const value = (name) => field(name).value.trim();

let config = { signing: "off", sources: [], watermarks: [], options: [], formats: [] };
let grammar = null;
let turn = 0; // number of the newest update; results of older ones are dropped
let kind = "URL";
let snippet = null; // the values of the snippets; null if there is no URL
let opened = false;

// sign returns the response of /console/sign for a Spec of the chosen original.
function sign(spec) {
  const pin = value("pin");
  return get("/console/sign?" + new URLSearchParams({
    source: value("source"), name: value("name"), spec,
    version: pin === "live" ? "live" : `${pin}.${value("token")}`,
  }));
}

// follow shows only the fields that apply to the current choices.
function follow() {
  const variant = value("shape") === "variant";
  for (const node of form.querySelectorAll("[data-for=variant]")) node.hidden = !variant;
  const pinned = value("pin") !== "live";
  form.querySelector("[data-for=token]").hidden = !pinned;
  field("token").required = pinned;
  if (grammar) grammar.follow();
}

// spec returns the name of the Spec of the form, which the tier makes canonical.
function spec() {
  if (value("shape") === "orig") return "orig";
  if (value("shape") === "info") return "info.json";
  return `${grammar.shape()}.${value("format")}`;
}

// specs returns the names of the Specs that the views of the stage need.
function specs() {
  const shape = (which) => grammar.shape(which);
  const box = (options) => ["1024x", options].filter(Boolean).join("-") + ".webp";
  return {
    variant: value("shape") === "variant",
    chosen: spec(),
    lossless: shape((n) => options.isGeometry(n) && !["background", "frames"].includes(n)) + ".png",
    formats: ["jpg", "webp", "avif"].map((format) => [format, `${shape((n) => n !== "frames")}.${format}`]),
    whole: box(""),
    framed: box(shape(options.isBefore)),
    crop: grammar.word("crop").slice(4),
    gravity: grammar.word("gravity"),
  };
}

// invalid returns the fault of the form, or "".
function invalid() {
  if (!value("name")) return "Choose an original, or enter the name of one.";
  const wrong = [...form.elements].find((e) => e.willValidate && !e.closest("[hidden]") && !e.checkValidity());
  if (!wrong) return "";
  const label = wrong.closest("label").firstChild.textContent.trim();
  return `${label}: ${wrong.validationMessage}`;
}

function setURL(signed) {
  text($("url"), signed ? signed.url : "No URL.");
  mark($("url"), "data-set", signed ? "yes" : null);
  $("copy").disabled = !signed;
  $("why").hidden = $("open").hidden = !signed;
  if (signed) {
    $("why").href = "#explain=" + encodeURIComponent(signed.path);
    $("open").href = "/console/image" + signed.path;
  } else {
    snippet = null;
  }
  showSnippet();
}

function showSnippet() {
  text($("snippet"), snippet ? KINDS[kind](snippet) : "");
  $("snippets").hidden = !snippet;
}

// larger returns the URLs of two and three times the size, as far as the grammar allows them.
async function larger() {
  const [width, height] = grammar.word("size").split("x").map(Number);
  const rest = grammar.shape((n) => n !== "size");
  const signed = await Promise.all([2, 3].map((n) => {
    const size = [width, height].map((side) => (side ? side * n : "")).join("x");
    return sign([size, rest].filter(Boolean).join("-") + "." + value("format")).catch(() => null);
  }));
  return signed.filter(Boolean).map((s) => s.url);
}

// update signs the form's URL and shows its image. Until then, and after an error, no picture is shown.
async function update() {
  const mine = ++turn;
  const stale = () => mine !== turn;
  follow();
  stage.wait();
  const fail = (message, mood = "bad") => {
    setURL(null);
    stage.fail(message, mood);
  };
  if (config.signing === "off") return fail("Signing is disabled: no admin token is configured (--admin-token).");
  if (config.signing === "token" && !hasToken()) return needToken(fail);
  const wrong = invalid();
  if (wrong) return fail(wrong, value("name") ? "bad" : "");
  try {
    const signed = await sign(spec());
    if (stale()) return;
    const [width, height] = grammar.word("size").split("x").map((n) => Number(n) || 0);
    snippet = { url: signed.url, width, height, larger: [] };
    setURL(signed);
    text($("signing"), signed.note ? `Signed as ${signed.spec}: ${signed.note}.` : "");
    stage.show({ signed, specs: specs(), sign, stale });
    if (value("shape") !== "variant") return;
    const urls = await larger();
    if (stale()) return;
    snippet.larger = urls;
    showSnippet();
  } catch (err) {
    if (!stale()) fail(err.message);
  }
}

function needToken(fail) {
  fail("Signing needs the admin token.", "");
  const button = el("button", { type: "button", class: "main" }, "Enter the token");
  button.addEventListener("click", async () => {
    if (await askToken()) open();
  });
  $("frame").append(button);
}

let typing = 0;

// later updates after a pause. The picture is dimmed at once, since it is not of these options.
function later(pause) {
  clearTimeout(typing);
  turn++;
  stage.wait();
  typing = setTimeout(update, pause);
}

function choose(source, name) {
  field("source").value = source;
  field("name").value = name;
  browser.select(name);
  update();
}

// open lists the chosen source, and selects its first picture.
async function open() {
  if (config.signing === "off" || (config.signing === "token" && !hasToken())) {
    browser.clear("Listing needs the admin token.");
    return update();
  }
  const source = value("source");
  const first = await browser.open(source, "", true);
  if (first && value("source") === source && !value("name")) choose(source, first);
  else {
    browser.select(value("name"));
    update();
  }
}

// show is called when the view is opened; wanted is "" or source/name.
export function show(wanted) {
  const [, source, name] = /^([^/]+)\/(.+)$/s.exec(wanted ?? "") ?? [];
  if (source && config.sources.includes(source)) {
    field("source").value = source;
    field("name").value = name;
  }
  if (!opened || source) open();
  opened = true;
}

// pick sets fields from the stage: a crop or a focal point.
function pick(values) {
  for (const [name, v] of Object.entries(values)) field(name).value = v;
  later(150);
}

function copy(button, content, node) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(content());
      text(button, "Copied");
    } catch { // no clipboard except on https and localhost
      getSelection().selectAllChildren(node);
      text(button, "Selected");
    }
    setTimeout(() => text(button, "Copy"), 1500);
  });
}

export function start(configured) {
  config = configured;
  grammar = options.build($("options"), config);
  field("source").replaceChildren(...config.sources.map((name) => el("option", {}, name)));
  field("format").replaceChildren(...["auto", ...config.formats].map((name) => el("option", {}, name)));
  field("format").value = "webp";
  stage.start(pick);
  browser.start(choose);
  form.addEventListener("input", (event) => {
    if (event.target === field("source")) {
      field("name").value = "";
      return;
    }
    later(event.target.matches("select, [type=checkbox]") ? 0 : event.target === field("name") ? 500 : 250);
  });
  field("source").addEventListener("change", open);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    update();
  });
  form.addEventListener("focusin", (event) => text($("meaning-of"), grammar.meaning(event.target)));
  $("again").addEventListener("click", update);
  copy($("copy"), () => $("url").textContent, $("url"));
  copy($("copy-snippet"), () => $("snippet").textContent, $("snippet"));
  tabs($("snippet-kinds"), (chosen) => {
    kind = chosen;
    showSnippet();
  });
  follow();
}
