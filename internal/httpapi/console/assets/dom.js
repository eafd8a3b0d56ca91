// Helpers that create and update elements. None parses HTML: text is always set as text.

export const $ = (id) => document.getElementById(id);

// el creates an element: el("p", {class: "sub"}, "text", child, …).
export function el(tag, attrs = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// text sets an element's text if it differs, so that a selection in it is kept.
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

// mark sets or removes an attribute.
export function mark(node, name, value) {
  if (value === undefined || value === null || value === "" || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// list keeps one child of parent for each item, by its key. make(item) returns {node, set}: the
// new element and the function that updates it.
export function list(parent, make) {
  const known = new Map();
  return (items, keyOf) => {
    const seen = new Set();
    let after = null;
    for (const item of items) {
      const key = keyOf(item);
      seen.add(key);
      if (!known.has(key)) known.set(key, make(item));
      const entry = known.get(key);
      const next = after ? after.nextSibling : parent.firstChild;
      if (entry.node !== next) parent.insertBefore(entry.node, next);
      after = entry.node;
      entry.set(item);
    }
    for (const [key, entry] of known) {
      if (!seen.has(key)) {
        entry.node.remove();
        known.delete(key);
      }
    }
  };
}

// facts keeps a list of [name, value] in a dl.
export function facts(parent) {
  const show = list(parent, ([name]) => {
    const value = el("dd");
    return { node: el("div", { class: "pair" }, el("dt", {}, name), value), set: ([, now]) => text(value, now) };
  });
  return (pairs) => show(pairs, ([name]) => name);
}

// none shows a message in parent while items is empty.
export function none(parent, items, message) {
  let note = parent.querySelector(":scope > .empty");
  if (!note) parent.append((note = el("p", { class: "empty" }, message)));
  note.hidden = items.length > 0;
}

const SVG = "http://www.w3.org/2000/svg";

// svg creates an element of an SVG.
export function svg(tag, attrs = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attrs)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// spark creates a small line chart. set takes the values, oldest first, null where one is
// missing; the number of values that fit; and the top of the scale.
export function spark() {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const node = svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  return {
    node,
    set(values, room, top) {
      const most = top ?? Math.max(...values.map((v) => v ?? 0)) * 1.15;
      const points = [];
      values.forEach((v, i) => {
        if (v === null) return;
        const x = 100 - ((values.length - 1 - i) / (room - 1)) * 100;
        points.push([x, most > 0 ? 29 - (v / most) * 26 : 29]);
      });
      if (points.length < 2) {
        area.setAttribute("d", "");
        line.setAttribute("d", "");
        return;
      }
      const d = points.map(([x, y], i) => (i ? "L" : "M") + x.toFixed(2) + " " + y.toFixed(2)).join("");
      line.setAttribute("d", d);
      area.setAttribute("d", `${d}L${points.at(-1)[0].toFixed(2)} 30L${points[0][0].toFixed(2)} 30Z`);
    },
  };
}
