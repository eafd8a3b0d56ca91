// The playground: a form that makes a signed URL, and shows its image.

import { $, el, mark, text } from "./dom.js";
import { get, setToken } from "./api.js";
import { bytes, time } from "./format.js";

const form = $("shape");
const field = (name) => form.elements[name];
const value = (name) => field(name).value.trim();

let signing = "off";
let url = null; // the last response of /console/sign: {path, url, spec, note}
let shown = false; // whether an image has been requested
let blob = null;

// spec returns the name of the form's Spec. The tier checks it and makes it canonical.
export function spec() {
  const kind = value("shape");
  if (kind === "orig") return "orig";
  if (kind === "info") return "info.json";
  const options = [`${value("width")}x${value("height")}`];
  const fit = value("fit");
  options.push(fit);
  if (fit === "cover") {
    const gravity = value("gravity");
    options.push(gravity === "at" ? `at${value("focusx") || 50}x${value("focusy") || 50}` : gravity);
  }
  const checked = (name) => (field(name).checked ? name : "");
  options.push(checked("up"));
  if (value("crop")) options.push("crop" + value("crop"));
  options.push(checked("trim"), value("rotate"), value("mirror"), checked("gray"));
  if (value("blur")) options.push("blur" + value("blur"));
  options.push(checked("sharp"));
  if (value("background")) options.push("bg" + value("background").toLowerCase());
  if (value("watermark")) options.push("wm." + value("watermark"));
  options.push(checked("still"), checked("credit"), checked("p3"));
  if (value("quality")) options.push("q" + value("quality"));
  return options.filter(Boolean).join("-") + "." + value("format");
}

// fit shows only the fields that apply to the current choices.
function fit() {
  const variant = value("shape") === "variant";
  const cover = variant && value("fit") === "cover";
  const shows = {
    variant, cover, at: cover && value("gravity") === "at",
    token: value("pin") !== "live",
    watermarks: field("watermark").options.length > 1,
    admin: signing === "token",
  };
  for (const node of form.querySelectorAll("[data-for]")) node.hidden = !shows[node.dataset.for];
  field("token").required = shows.token;
}

function say(message, mood) {
  text($("signing"), message);
  mark($("signing"), "class", mood === "bad" ? "hint bad" : "hint");
}

function setURL(signed) {
  url = signed;
  text($("url"), signed ? signed.url : "Enter the name of an image to get its URL.");
  mark($("url"), "data-set", signed ? "yes" : null);
  $("copy").disabled = !signed;
}

let turn = 0; // number of the newest request; responses to older ones are dropped

// sign updates the URL and returns whether there is one.
async function sign() {
  const mine = ++turn;
  if (!value("name") || (value("pin") !== "live" && !value("token"))) {
    setURL(null);
    say("", "");
    return false;
  }
  if (signing === "token" && !$("admin").value) {
    setURL(null);
    say("Signing requires the admin token.", "bad");
    return false;
  }
  const pin = value("pin");
  const query = new URLSearchParams({
    source: value("source"), name: value("name"), spec: spec(),
    version: pin === "live" ? "live" : `${pin}.${value("token")}`,
  });
  try {
    const signed = await get("/console/sign?" + query);
    if (mine !== turn) return false;
    setURL(signed);
    say(signed.note ? `Signed as ${signed.spec}: ${signed.note}.` : "", "");
    return true;
  } catch (err) {
    if (mine !== turn) return false;
    setURL(null);
    say(err.status === 401 ? "Wrong admin token." : err.message, "bad");
    return false;
  }
}

function frame(state, ...children) {
  mark($("frame"), "data-state", state);
  if (children.length) $("frame").replaceChildren(...children);
}

// detail returns the source of a response, from its Cache-Status (RFC 9211).
const detail = (headers) => /detail=([a-z]+)/.exec(headers.get("Cache-Status") ?? "")?.[1] ?? "";

function headline(answer, took, size, dimensions) {
  const badge = el("span", { class: "badge", "data-mood": answer.ok ? "good" : "bad" }, `${answer.status} ${detail(answer.headers)}`.trim());
  const parts = [badge, el("b", {}, time(took / 1000)), el("span", {}, bytes(size))];
  if (dimensions) parts.push(el("span", {}, dimensions));
  const type = answer.headers.get("Content-Type");
  if (type) parts.push(el("span", {}, type));
  $("headline").replaceChildren(...parts);
  $("headers").replaceChildren(...[...answer.headers].flatMap(([name, v]) => [el("dt", {}, name), el("dd", {}, v)]));
  $("answer").hidden = false;
  $("why").href = "#explain=" + encodeURIComponent(url.path);
  $("open").href = "/console/image" + url.path;
}

// picture returns the element of a decoded image, and its dimensions.
async function picture(body) {
  if (blob) URL.revokeObjectURL(blob);
  blob = URL.createObjectURL(body);
  const img = new Image();
  img.alt = "The variant";
  img.src = blob;
  await img.decode();
  const scale = Math.min(2, window.devicePixelRatio);
  img.width = Math.round(img.naturalWidth / scale); // one image pixel per screen pixel
  return [img, `${img.naturalWidth} × ${img.naturalHeight}`];
}

function problem(answer, body) {
  const title = body?.title ?? "No image";
  return el("div", { class: "problem" }, el("h3", { class: "bad" }, `${answer.status} ${title}`),
    el("p", {}, body?.detail ?? body?.error ?? ""),
    body?.request_id ? el("p", { class: "hint" }, "request " + body.request_id) : null);
}

// show requests the URL as a browser that supports AVIF and WebP does.
async function show() {
  if (!url) return;
  const requested = url;
  shown = true;
  frame("busy");
  const start = performance.now();
  let answer, body;
  try {
    answer = await fetch("/console/image" + requested.path, { cache: "no-store", headers: { Accept: "image/avif,image/webp,image/*,*/*;q=0.8" } });
    body = await answer.blob();
  } catch {
    frame("wrong", el("p", {}, "There was no response, or it was incomplete."));
    return;
  }
  const took = performance.now() - start;
  if (requested !== url) return; // the form has changed since
  const type = answer.headers.get("Content-Type") ?? "";
  if (type.includes("json")) {
    const json = JSON.parse(await body.text());
    headline(answer, took, body.size);
    if (answer.ok) frame("text", el("pre", {}, JSON.stringify(json, null, 2)));
    else frame("wrong", problem(answer, json));
    return;
  }
  try {
    const [img, dimensions] = await picture(body);
    headline(answer, took, body.size, dimensions);
    frame("picture", img);
  } catch {
    headline(answer, took, body.size);
    frame("wrong", el("p", {}, `This browser cannot show ${type || "this response"}. The response is complete; “Open” downloads it.`));
  }
}

let typing = 0;

export async function start() {
  form.addEventListener("input", (event) => {
    if (event.target === $("admin")) setToken($("admin").value);
    fit();
    clearTimeout(typing);
    typing = setTimeout(async () => {
      // A changed option loads the image at once; typing a name does not.
      const chosen = event.target.matches("select, [type=checkbox], [type=number]");
      if ((await sign()) && shown && chosen) show();
    }, 200);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearTimeout(typing);
    if (!(await sign())) return;
    await show();
    const top = $("frame").getBoundingClientRect().top; // on a phone the image is below the form
    if (top > innerHeight / 2) document.querySelector(".result").scrollIntoView({ behavior: "smooth" });
  });
  $("again").addEventListener("click", show);
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(url.url);
    } catch { // no clipboard except on https and localhost
      getSelection().selectAllChildren($("url"));
    }
    text($("copy"), "Copied");
    setTimeout(() => text($("copy"), "Copy"), 1500);
  });

  const config = await get("/console/config").catch(() => ({ signing: "off", sources: [], watermarks: [] }));
  signing = config.signing;
  field("source").replaceChildren(...config.sources.map((name) => el("option", {}, name)));
  field("watermark").append(...config.watermarks.map((name) => el("option", {}, name)));
  fit();
  if (signing === "off") {
    say("Signing is disabled: no admin token is configured (--admin-token).", "bad");
    form.querySelector("button.main").disabled = true;
  }
}
