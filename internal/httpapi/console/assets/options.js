// The options of the playground's form, made from the grammar's own table (resize.Options), which
// /console/config returns. A group of the table becomes one control:
//
//	one word without a number   a checkbox
//	one word with a number      a number
//	several words               a choice
//
// The groups with two numbers or with names from the configuration have controls of their own.

import { el } from "./dom.js";

const field = (label, ...inputs) => el("label", {}, label, ...inputs);
const choice = (name, options) => el("select", { name }, ...options.map(([value, label]) => el("option", { value }, label)));
const number = (name, min, max, attrs = {}) => el("input", { name, type: "number", min, max, step: 1, inputmode: "numeric", ...attrs });

// prefix returns the part of a word before its number.
const prefix = (word) => word.replace(/[0-9].*$/, "");

// range reads "1–100" in a limit.
const range = (limit) => /^([0-9]+)–([0-9]+)/.exec(limit ?? "")?.slice(1).map(Number) ?? [0, 100000];

// Each control has its nodes, word() and the inputs that word() reads.
const special = {
  size({ limit }) {
    const [min, max] = range(limit);
    const width = number("width", min, max, { value: 640, placeholder: "auto" });
    const height = number("height", min, max, { placeholder: "auto" });
    return { nodes: [field("Width", width), field("Height", height)], word: () => `${width.value}x${height.value}` };
  },
  gravity({ words }) {
    const select = choice("gravity", [["", "centre"], ...words.filter((w) => !/[0-9]/.test(w)).map((w) => [w, w]), ["at", "focal point"]]);
    const x = number("focusx", 0, 100, { value: 50 });
    const y = number("focusy", 0, 100, { value: 50 });
    return {
      nodes: [field("Gravity", select), field("Focus x %", x), field("Focus y %", y)],
      word: () => (select.value === "at" ? `at${x.value || 50}x${y.value || 50}` : select.value),
    };
  },
  crop() {
    const text = el("input", { name: "crop", pattern: "[0-9]+x[0-9]+x[0-9]+x[0-9]+", placeholder: "0x0x1000x1000", spellcheck: "false" });
    const label = field("Crop ‰", text);
    label.className = "grow";
    return { nodes: [label], word: () => text.value && "crop" + text.value };
  },
  background() {
    const text = el("input", { name: "background", pattern: "[0-9a-fA-F]{6}", maxlength: 6, placeholder: "ffffff", spellcheck: "false" });
    return { nodes: [field("Background", text)], word: () => text.value && "bg" + text.value.toLowerCase() };
  },
  watermark(_, config) {
    const select = choice("watermark", [["", "none"], ...config.watermarks.map((name) => ["wm." + name, name])]);
    select.disabled = config.watermarks.length === 0;
    return { nodes: [field("Watermark", select)], word: () => select.value };
  },
};

const label = (name) => name[0].toUpperCase() + name.slice(1);

function plain(option) {
  const [word] = option.words;
  if (option.words.length > 1) {
    const select = choice(option.name, [["", option.name === "fit" ? "inside" : "none"], ...option.words.map((w) => [w, w])]);
    return { nodes: [field(label(option.name), select)], word: () => select.value };
  }
  if (option.pattern.includes("[0-9]")) {
    const input = number(option.name, ...range(option.limit), { placeholder: option.name === "quality" ? "default" : "none" });
    return { nodes: [field(label(option.name), input)], word: () => input.value && prefix(word) + input.value };
  }
  const box = el("input", { name: option.name, type: "checkbox" });
  return { check: el("label", {}, box, word), word: () => (box.checked ? word : "") };
}

// geometry are the groups that decide which part of the original is shown at which size.
const geometry = ["size", "fit", "gravity", "up", "crop", "trim", "rotation", "mirror", "background", "frames"];
// before are the options that come before the box and its gravity.
const before = ["crop", "trim", "rotation", "mirror"];

// build adds the controls to a fieldset. The result has word(name), shape(which), which is the shape of
// the options with these names, and meaning(element), the explanation of the option of a control.
export function build(parent, config) {
  const groups = config.options.map((option) => ({ option, control: (special[option.name] ?? plain)(option, config) }));
  const main = el("div", { class: "fields" });
  const more = el("div", { class: "fields" });
  const checks = el("div", { class: "checks" });
  const byNode = new Map();
  for (const { option, control } of groups) {
    for (const node of control.nodes ?? [control.check]) byNode.set(node, option);
    if (control.check) checks.append(control.check);
    else (["size", "fit", "gravity"].includes(option.name) ? main : more).append(...control.nodes);
  }
  parent.append(main, more, checks);
  const control = (name) => groups.find((g) => g.option.name === name).control;
  const word = (name) => (name === "gravity" && control("fit").word() !== "cover" ? "" : control(name).word());
  return {
    word,
    // follow shows the controls that apply.
    follow() {
      const [gravity, x, y] = control("gravity").nodes;
      gravity.hidden = word("fit") !== "cover";
      x.hidden = y.hidden = !word("gravity").startsWith("at");
    },
    shape: (which) => groups.map((g) => g.option.name).filter((name) => !which || which(name)).map(word).filter(Boolean).join("-"),
    meaning(input) {
      const option = byNode.get(input.closest("label"));
      if (!option) return "";
      const plainText = (text) => text.replaceAll("`", "");
      return plainText([option.meaning, option.limit && `Limits: ${option.limit}.`, option.goes && `Only with ${option.goes}.`].filter(Boolean).join(" "));
    },
  };
}

export const isGeometry = (name) => geometry.includes(name);
export const isBefore = (name) => before.includes(name);
