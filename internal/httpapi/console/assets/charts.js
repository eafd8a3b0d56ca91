// Charts of the last hour, as SVG. Each shows its values in words too: in the legend, and at the
// position of the pointer or of the arrow keys.

import { el, svg, text } from "./dom.js";
import { long } from "./format.js";

const WIDTH = 300;
const HEIGHT = 100;
const FIRST = 300; // seconds that the axis shows at least

// ceiling returns a round number of at least n for the top of an axis.
function ceiling(n) {
  if (!(n > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((k) => k * size >= n * 1.02) * size || 10 * size;
}

// runs splits points at gaps (null).
function runs(points) {
  const out = [[]];
  for (const p of points) {
    if (p === null) out.push([]);
    else out.at(-1).push(p);
  }
  return out.filter((run) => run.length > 0);
}

const line = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// chart creates a figure. series are [{name, color}]; format shows a value; stacked adds the series up;
// top is the fixed top of the axis. set takes the ends of the intervals as seconds ago, oldest first,
// and the values of each series, null where one is missing.
export function chart({ title, series, format, stacked = false, top }) {
  const axis = el("span", { class: "axis" });
  const from = el("span");
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const shapes = series.map((s) => ({
    area: svg("path", { class: "fillin", "data-color": s.color }),
    line: svg("path", { class: "stroke", "data-color": s.color }),
  }));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    ...[0, 0.5].map((y) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y * HEIGHT, y2: y * HEIGHT })),
    ...shapes.flatMap((s) => (stacked ? [s.area] : [s.line])), cursor);
  const legend = series.map((s) => {
    const value = el("b");
    return { value, node: el("li", {}, el("i", { class: "dot", "data-color": s.color }), s.name, value) };
  });
  const when = el("li", { class: "when" });
  const plot = el("div", { class: "plot", tabindex: 0, role: "group", "aria-label": title + ", last hour. Arrow keys read values." }, picture, axis);
  const node = el("figure", { class: "chart" }, el("figcaption", {}, title), plot,
    el("div", { class: "times", "aria-hidden": "true" }, from, el("span", {}, "now")),
    el("ul", { class: "legend", "aria-live": "off" }, ...legend.map((l) => l.node), when));

  let data = { ago: [], columns: [] };
  let at = null; // the index that is read; null is the newest

  const x = (ago, span) => WIDTH - (ago / span) * WIDTH;

  function readout() {
    const i = at ?? data.ago.length - 1;
    legend.forEach((l, k) => text(l.value, data.ago.length ? format(data.columns[k][i] ?? NaN) : ""));
    text(when, at === null ? "" : data.ago[i] < 2 ? "now" : `${long(data.ago[i])} ago`);
    cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) {
      const place = x(data.ago[i], data.span);
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
    }
  }

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const ago = (1 - (event.clientX - box.left) / box.width) * data.span;
    const near = (i) => Math.abs(data.ago[i] - ago);
    at = data.ago.reduce((best, _, i) => (best === null || near(i) < near(best) ? i : best), null);
    readout();
  });
  const release = () => {
    at = null;
    readout();
  };
  plot.addEventListener("pointerleave", release);
  plot.addEventListener("blur", release);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !data.ago.length) return;
    event.preventDefault();
    at = Math.max(0, Math.min(data.ago.length - 1, (at ?? data.ago.length - 1) + step));
    legend[0].node.parentNode.setAttribute("aria-live", "polite");
    readout();
  });

  return {
    node,
    set(ago, columns) {
      const span = Math.max(FIRST, ago[0] ?? 0);
      if (at !== null && data.ago.length && ago.length !== data.ago.length) at = Math.min(at, ago.length - 1);
      data = { ago, columns, span };
      const sums = ago.map(() => 0);
      const values = columns.map((column) => column.map((v, i) => (stacked ? (sums[i] += v ?? 0) : v)));
      const most = top ?? ceiling(Math.max(0, ...values.flat().filter((v) => v !== null)));
      text(axis, format(most));
      text(from, `${Math.round(span / 60)} min ago`);
      const place = (v, i) => (v === null ? null : [x(ago[i], span), HEIGHT - (Math.min(v, most) / most) * HEIGHT]);
      values.forEach((column, k) => {
        const points = column.map(place);
        if (!stacked) {
          shapes[k].line.setAttribute("d", runs(points).map(line).join(""));
          return;
        }
        const base = k === 0 ? points.map((p) => [p[0], HEIGHT]) : values[k - 1].map(place);
        const edge = points.concat(base.slice().reverse());
        shapes[k].area.setAttribute("d", points.length > 1 ? line(edge) + "Z" : "");
      });
      readout();
    },
  };
}
