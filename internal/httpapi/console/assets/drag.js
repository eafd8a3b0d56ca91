// A crop and a focal point that are set on a picture, with a pointer or with the keyboard.

import { el } from "./dom.js";

const clamp = (v, low, high) => Math.max(low, Math.min(high, v));

// place returns where a pointer is on a node, in shares of its sides.
function place(node, event) {
  const box = node.getBoundingClientRect();
  return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
}

// drag calls move for each position until the pointer is released, and then end.
function drag(node, event, move, end) {
  event.preventDefault();
  node.setPointerCapture(event.pointerId);
  const moved = (e) => move(...place(node, e));
  node.addEventListener("pointermove", moved);
  const ended = () => {
    node.removeEventListener("pointermove", moved);
    end();
  };
  node.addEventListener("pointerup", ended, { once: true });
  node.addEventListener("pointercancel", ended, { once: true });
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const SMALLEST = 20; // sides of a crop, in thousandths

// cropper shows a picture with a rectangle. crop is "left x top x width x height" in thousandths, or "";
// done is called with such a text.
export function cropper(img, crop, done) {
  let [left, top, width, height] = crop ? crop.split("x").map(Number) : [0, 0, 1000, 1000];
  const rect = el("div", { class: "rect", tabindex: 0, role: "group", "aria-roledescription": "crop", "data-drag": "" });
  const node = el("div", { class: "drag" }, img, rect);

  const text = () => (width === 1000 && height === 1000 ? "" : [left, top, width, height].join("x"));
  function draw() {
    rect.style.left = left / 10 + "%";
    rect.style.top = top / 10 + "%";
    rect.style.width = width / 10 + "%";
    rect.style.height = height / 10 + "%";
    rect.setAttribute("aria-label", `Crop: left ${left / 10} %, top ${top / 10} %, width ${width / 10} %, height ${height / 10} %`);
  }
  function set(l, t, w, h) {
    width = Math.round(clamp(w, SMALLEST, 1000));
    height = Math.round(clamp(h, SMALLEST, 1000));
    left = Math.round(clamp(l, 0, 1000 - width));
    top = Math.round(clamp(t, 0, 1000 - height));
    draw();
  }

  node.addEventListener("pointerdown", (event) => {
    const [x, y] = place(node, event).map((v) => v * 1000);
    const whole = width === 1000 && height === 1000;
    const inside = !whole && x > left && x < left + width && y > top && y < top + height;
    const was = [left, top, width, height];
    let moved = false;
    drag(node, event, (sx, sy) => {
      const [to, down] = [sx * 1000, sy * 1000];
      moved ||= Math.abs(to - x) + Math.abs(down - y) > 8;
      if (!moved) return;
      if (inside) set(was[0] + to - x, was[1] + down - y, was[2], was[3]);
      else set(Math.min(x, to), Math.min(y, down), Math.abs(to - x), Math.abs(down - y));
    }, () => moved && done(text()));
  });
  rect.addEventListener("keydown", (event) => {
    const step = STEPS[event.key]?.map((v) => v * 10);
    if (event.key === "Delete" || event.key === "Backspace") set(0, 0, 1000, 1000);
    else if (step && event.shiftKey) set(left, top, width + step[0], height + step[1]);
    else if (step) set(left + step[0], top + step[1], width, height);
    else return;
    event.preventDefault();
    done(text());
  });
  draw();
  return node;
}

// focuser shows a picture with a point. gravity is "at30x70" or another gravity; done is called with x
// and y in percent.
export function focuser(img, gravity, done) {
  let [x, y] = /^at([0-9]+)x([0-9]+)$/.exec(gravity)?.slice(1).map(Number) ?? [50, 50];
  const point = el("div", { class: "point", tabindex: 0, role: "group", "aria-roledescription": "focal point", "data-drag": "" });
  const node = el("div", { class: "drag" }, img, point);
  function set(nx, ny) {
    x = Math.round(clamp(nx, 0, 100));
    y = Math.round(clamp(ny, 0, 100));
    point.style.left = x + "%";
    point.style.top = y + "%";
    point.setAttribute("aria-label", `Focal point: ${x} % from the left, ${y} % from the top`);
  }
  node.addEventListener("pointerdown", (event) => {
    const [px, py] = place(node, event);
    set(px * 100, py * 100);
    drag(node, event, (sx, sy) => set(sx * 100, sy * 100), () => done(x, y));
  });
  point.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    set(x + 2 * step[0], y + 2 * step[1]);
    done(x, y);
  });
  set(x, y);
  return node;
}
