// The statistics of the last minute. /v1/stats counts since the start of the process, so recent
// numbers are the difference of two of its responses. Its history has the last hour.

const SAMPLES = 31; // of 2 s each: a minute
const WINDOW = 60; // length of "last minute", in seconds

const samples = [];

// add adds a response of /v1/stats. A restart of the tier clears the history.
export function add(stats) {
  const last = samples.at(-1);
  if (last && (stats.uptime_seconds < last.uptime_seconds || stats.started !== last.started)) samples.length = 0;
  // Everything that a tier has done since a start less than a minute ago is of the last minute.
  if (samples.length === 0 && stats.uptime_seconds < WINDOW) samples.push(beginning(stats));
  samples.push(stats);
  if (samples.length > SAMPLES) samples.shift();
}

// beginning returns what /v1/stats would have returned at the start of the process.
const beginning = ({ started, requests }) => ({
  started, uptime_seconds: 0, tiers: [], origins: [],
  requests: { total: 0, bytes: 0, coalesced: 0, by_status: {}, by_cache: {}, bounds_seconds: requests.bounds_seconds },
});

// recent returns two functions of pick, which returns a counter: its growth in the last minute,
// and its growth per second.
export function recent() {
  const now = latest();
  const from = then();
  const seconds = now.uptime_seconds - from.uptime_seconds;
  const grown = (pick) => (seconds > 0 ? (pick(now) ?? 0) - (pick(from) ?? 0) : NaN);
  return { grown, rate: (pick) => grown(pick) / seconds };
}

// HITS are the cache labels of responses from a cache.
export const HITS = ["memory", "disk", "derived", "stale", "negative"];
export const MISSES = ["original", "origin"];

export const of = (stats, labels, field = "count") =>
  labels.reduce((sum, label) => sum + (stats.requests.by_cache[label]?.[field] ?? 0), 0);

// hour returns the history of a response as functions that return columns, oldest first. ago has the
// seconds since each interval ended, and before them since the first began, which has the first values,
// too: so one interval is a line. rate(counts) is a column of counts per second, column(name) one of values.
export function hour({ history: h }) {
  const last = h.seconds.length - (h.seconds.length > 1 && h.seconds.at(-1) < 5 ? 1 : 0); // a young one says little
  let ago = 0;
  const ends = new Array(h.seconds.length);
  for (let i = h.seconds.length - 1; i >= 0; i--) {
    ends[i] = ago;
    ago += h.seconds[i];
  }
  const cut = (column) => [column[0], ...column.slice(0, last)];
  return {
    ago: [ago, ...ends.slice(0, last)],
    rate: (counts) => cut(counts.map((n, i) => n / h.seconds[i])),
    column: (name) => cut(h[name]),
    sum: (labels) => h.seconds.map((_, i) => labels.reduce((n, label) => n + (h.by_cache[label]?.[i] ?? 0), 0)),
  };
}

// ratio returns the share of hits among the lookups between two responses.
export function ratio(from, to) {
  const hits = of(to, HITS) - (from ? of(from, HITS) : 0);
  const misses = of(to, MISSES) - (from ? of(from, MISSES) : 0);
  return hits + misses > 0 ? hits / (hits + misses) : null;
}

export const latest = () => samples.at(-1);

// then returns the response at the start of the last minute.
export function then() {
  const now = samples.at(-1);
  let start = samples[0];
  for (const s of samples) {
    if (now.uptime_seconds - s.uptime_seconds <= WINDOW) break;
    start = s;
  }
  return start;
}

// quantile estimates the q quantile of the durations of the last minute's requests with these
// labels, in seconds, by interpolation in the histogram buckets. It is Infinity beyond the last
// bound and NaN without requests.
export function quantile(labels, q) {
  const now = latest();
  const from = then();
  const bounds = now.requests.bounds_seconds;
  const counts = new Array(bounds.length + 1).fill(0);
  for (const label of labels) {
    now.requests.by_cache[label]?.buckets.forEach((n, i) => {
      counts[i] += n - (from === now ? 0 : from.requests.by_cache[label]?.buckets[i] ?? 0);
    });
  }
  const total = counts.reduce((a, b) => a + b, 0);
  if (total <= 0) return NaN;
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    if (below + counts[i] >= q * total && counts[i] > 0) {
      if (i === bounds.length) return Infinity;
      const low = i === 0 ? 0 : bounds[i - 1];
      return low + ((q * total - below) / counts[i]) * (bounds[i] - low);
    }
    below += counts[i];
  }
  return NaN;
}
