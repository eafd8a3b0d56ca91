// The stage of the playground: one of several views of the chosen original and Spec.

import { $, el, mark, text } from "./dom.js";
import { bytes, time } from "./format.js";
import { cropper, focuser } from "./drag.js";

const frame = $("frame");
const ACCEPT = "image/avif,image/webp,image/*,*/*;q=0.8";

let view = "result";
let shown = null; // the arguments of the last show
let blobs = []; // object URLs of the pictures in the frame
let pick = () => {};

// wait dims the pictures, because they do not show the current options.
export const wait = () => mark(frame, "data-state", "busy");

// put replaces the pictures, and frees the old ones.
function put(state, made, ...nodes) {
  blobs.forEach(URL.revokeObjectURL);
  blobs = made;
  mark(frame, "data-state", state);
  frame.replaceChildren(...nodes);
}

// fail shows a message instead of a picture.
export function fail(message, mood) {
  shown = null;
  put("wrong", [], el("p", { class: mood === "bad" ? "bad" : null }, message));
  $("headline").replaceChildren();
  $("response").hidden = true;
}

// detail returns the source of a response, from its Cache-Status (RFC 9211).
const detail = (headers) => /detail=([a-z]+)/.exec(headers.get("Cache-Status") ?? "")?.[1] ?? "";

// request requests a path as a browser that supports AVIF and WebP does. made collects the object
// URLs of pictures.
async function request(path, made) {
  const start = performance.now();
  let answer, body;
  try {
    answer = await fetch("/console/image" + path, { cache: "no-store", headers: { Accept: ACCEPT } });
    body = await answer.blob();
  } catch {
    return { node: el("p", { class: "bad" }, "There was no response, or it was incomplete."), facts: [] };
  }
  const seconds = (performance.now() - start) / 1000;
  const type = answer.headers.get("Content-Type") ?? "";
  const badge = el("span", { class: "badge", "data-mood": answer.ok ? "good" : "bad" }, `${answer.status} ${detail(answer.headers)}`.trim());
  const result = { answer, ok: false, facts: [badge, el("b", {}, bytes(body.size)), el("span", {}, time(seconds)), el("span", {}, type)] };
  if (type.includes("json")) {
    const json = JSON.parse(await body.text());
    result.ok = answer.ok;
    result.node = answer.ok ? el("pre", {}, JSON.stringify(json, null, 2)) : problem(answer, json);
    return result;
  }
  const img = new Image();
  made.push((img.src = URL.createObjectURL(body)));
  try {
    await img.decode();
  } catch {
    result.node = el("p", {}, `This browser cannot show ${type || "this response"}. The response is complete; “Open” downloads it.`);
    return result;
  }
  img.width = Math.round(img.naturalWidth / Math.min(2, window.devicePixelRatio)); // one pixel per screen pixel
  img.draggable = false;
  result.facts.push(el("span", {}, `${img.naturalWidth} × ${img.naturalHeight}`));
  return { ...result, ok: true, node: img };
}

function problem(answer, body) {
  return el("div", { class: "problem" }, el("h3", { class: "bad" }, `${answer.status} ${body?.title ?? "No image"}`),
    el("p", {}, body?.detail ?? body?.error ?? ""),
    body?.request_id ? el("p", { class: "hint" }, "request " + body.request_id) : null);
}

// named gives a picture its text alternative.
function named(result, alt) {
  if (result.ok && result.node.tagName === "IMG") result.node.alt = alt;
  return result.node;
}

// edit puts the variant beside the picture on which it is changed.
const edit = (tool, after, signed) => el("div", { class: "edit" }, tool,
  el("figure", {}, named(after, "The variant " + signed.spec), el("figcaption", {}, "Result")));

// Each view returns {nodes, facts, answer} for the frame and the line below it.
const VIEWS = {
  async result({ signed }, made) {
    const got = await request(signed.path, made);
    return { nodes: [named(got, "The variant " + signed.spec)], facts: got.facts, answer: got.answer, plain: true };
  },

  async compare({ signed, specs, sign }, made) {
    const [after, before] = await Promise.all([
      request(signed.path, made),
      sign(specs.lossless).then((s) => request(s.path, made)),
    ]);
    if (!after.ok || !before.ok) return { nodes: [(after.ok ? before : after).node], facts: after.facts, answer: after.answer };
    const slider = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Share of the original that is shown, in percent" });
    const pair = el("div", { class: "pair-of" }, named(before, "The original, at the same size and without loss"), named(after, "The variant " + signed.spec),
      el("span", { class: "tag" }, "original"), el("span", { class: "tag right" }, "variant"));
    const move = () => pair.style.setProperty("--at", slider.value + "%");
    slider.addEventListener("input", move);
    move();
    return { nodes: [el("div", { class: "compare" }, pair, slider)], facts: after.facts, answer: after.answer };
  },

  async formats({ specs, sign }, made) {
    const cells = await Promise.all(specs.formats.map(async ([format, spec]) => {
      try {
        const got = await request((await sign(spec)).path, made);
        return el("figure", {}, named(got, "The variant as " + format), el("figcaption", {}, el("h3", {}, format), ...got.facts));
      } catch (err) {
        return el("figure", {}, el("p", { class: "bad" }, err.message), el("figcaption", {}, el("h3", {}, format)));
      }
    }));
    return { nodes: [el("div", { class: "formats" }, ...cells)], facts: [el("span", {}, "The time includes making the image, if no cache had it.")] };
  },

  async crop({ signed, specs, sign }, made) {
    const [got, after] = await Promise.all([sign(specs.whole).then((s) => request(s.path, made)), request(signed.path, made)]);
    if (!got.ok) return { nodes: [got.node], facts: got.facts };
    named(got, "The whole original");
    return {
      nodes: [edit(cropper(got.node, specs.crop, (crop) => pick({ crop })), after, signed)],
      facts: [el("span", {}, "Drag to draw the crop, or drag it. Arrow keys move it, Shift and arrow keys resize it, Delete removes it.")],
    };
  },

  async focus({ signed, specs, sign }, made) {
    const [got, after] = await Promise.all([sign(specs.framed).then((s) => request(s.path, made)), request(signed.path, made)]);
    if (!got.ok) return { nodes: [got.node], facts: got.facts };
    named(got, "The original as cropped and rotated");
    return {
      nodes: [edit(focuser(got.node, specs.gravity, (x, y) => pick({ fit: "cover", gravity: "at", focusx: x, focusy: y })), after, signed)],
      facts: [el("span", {}, "Click what has to stay visible. Arrow keys move the point. This sets fit to cover, which needs a width and a height.")],
    };
  },
};

function headers(answer) {
  $("response").hidden = !answer;
  if (answer) $("headers").replaceChildren(...[...answer.headers].flatMap(([name, v]) => [el("dt", {}, name), el("dd", {}, v)]));
}

// show shows a signed URL in the chosen view. It takes {signed, specs, sign, stale}.
export async function show(args) {
  shown = args;
  const mine = args.specs.variant ? view : "result"; // the other views are of variants
  const dragged = frame.querySelector("[data-drag]") && document.activeElement === frame.querySelector("[data-drag]");
  wait();
  const made = [];
  const drop = () => made.forEach(URL.revokeObjectURL);
  try {
    const { nodes, facts, answer } = await VIEWS[mine](args, made);
    if (args.stale() || shown !== args) return drop();
    put(nodes[0].tagName === "IMG" || mine !== "result" ? "picture" : nodes[0].tagName === "PRE" ? "text" : "wrong", made, ...nodes);
    $("headline").replaceChildren(...facts);
    headers(answer);
    if (dragged) frame.querySelector("[data-drag]")?.focus();
  } catch (err) {
    drop();
    if (!args.stale() && shown === args) fail(err.message, "bad");
  }
}

export function start(onPick) {
  pick = onPick;
  $("views").addEventListener("change", (event) => {
    view = event.target.value;
    if (shown) show({ ...shown });
  });
}
