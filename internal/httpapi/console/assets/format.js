// Formats numbers for people. An unknown number is a dash.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NONE = "–";

const known = (n) => typeof n === "number" && Number.isFinite(n);

export const count = (n) => (known(n) ? whole.format(n) : NONE);

// many formats a number of things: 1 original, 2 originals.
export const many = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;

// short formats 1234567 as 1.23 M.
export function short(n) {
  if (!known(n)) return NONE;
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (n >= size) {
      const by = unit === "k" ? n / 1e3 : n / size;
      return by.toPrecision(by >= 100 ? 3 : by >= 10 ? 3 : 3) + " " + unit;
    }
  }
  return whole.format(n);
}

// rate formats a number per second.
export function rate(n) {
  if (!known(n)) return NONE;
  if (n === 0) return "0";
  if (n >= 10_000) return short(n);
  if (n >= 100) return whole.format(n);
  if (n >= 10) return n.toFixed(1);
  return n < 0.01 ? "<0.01" : n.toFixed(2);
}

export function bytes(n) {
  if (!known(n)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return (i === 0 ? whole.format(n) : n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2)) + " " + units[i];
}

export function percent(share) {
  if (!known(share)) return NONE;
  const p = share * 100;
  if (p > 0 && p < 0.1) return "<0.1 %";
  if (p < 100 && p > 99.9) return ">99.9 %";
  return (p === 0 || p === 100 ? p.toFixed(0) : p.toFixed(1)) + " %";
}

// time formats a short duration, in seconds.
export function time(s) {
  if (s === Infinity) return ">10 s";
  if (!known(s)) return NONE;
  if (s < 0.001) return (s * 1e6).toFixed(0) + " µs";
  if (s < 0.1) return (s * 1e3).toFixed(s < 0.01 ? 1 : 0) + " ms";
  if (s < 1) return (s * 1e3).toFixed(0) + " ms";
  return s.toFixed(s < 10 ? 2 : 1) + " s";
}

// long formats an age or uptime, in seconds.
export function long(s) {
  if (!known(s)) return NONE;
  if (s < 60) return Math.floor(s) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 48 * 3600) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " days";
}

// clock formats a time of today as its time of day, and any other with its date.
export function clock(at) {
  const when = new Date(at);
  const day = when.toDateString() === new Date().toDateString() ? {} : { month: "short", day: "numeric" };
  return when.toLocaleString("en-GB", { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
