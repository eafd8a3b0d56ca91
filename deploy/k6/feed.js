// What all scenarios share: the feed query, its checks, who asks, and a summary.
//
//   URL      POST /graphql (http://localhost:8080/graphql)
//   TOKENS   a file with a token per line: each user has one of their own; else all have test-token
//   SUMMARY  a file that gets the summary as JSON
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

const url = __ENV.URL || 'http://localhost:8080/graphql';
const tokens = __ENV.TOKENS ? open(__ENV.TOKENS).trim().split('\n') : ['test-token'];

const query = `query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl likeCount commentCount author { id username avatarUrl } } cursor hasMore } }`;
const body = JSON.stringify({ query, variables: { limit: 20, cursor: null } });

// Pages of which something is missing, which the answer says in errors.
const partial = new Counter('partial_pages');

// What every scenario must hold. An answer without posts is a failure that HTTP knows nothing of.
export const thresholds = {
  http_req_duration: ['p(95)<500'],
  http_req_failed: ['rate<0.01'],
  'checks{check:status is 200}': ['rate>0.99'],
  'checks{check:has posts}': ['rate>0.99'],
};

// ask plays one query of the user that this is.
export function ask() {
  const token = tokens[(exec.vu.idInTest - 1) % tokens.length];
  const res = http.post(url, body, {
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
  });
  check(res, {
    'status is 200': (r) => r.status === 200,
    'response time < 500ms': (r) => r.timings.duration < 500,
    'has posts': (r) => r.status === 200 && hasPosts(r),
  });
}

function hasPosts(res) {
  try {
    if (res.json('errors')) partial.add(1);
    return res.json('data.feed.posts').length > 0;
  } catch (_) {
    return false; // no JSON, or no page in it
  }
}

// summary is what handleSummary returns: a line for people, and SUMMARY. It reports against
// the figures that are wanted beside those that must hold.
export function summary(data) {
  const value = (metric, key) => (data.metrics[metric] ? data.metrics[metric].values[key] : 0);
  const crossed = Object.entries(data.metrics).flatMap(([name, m]) =>
    Object.entries(m.thresholds || {}).filter(([, t]) => !t.ok).map(([t]) => `${name} ${t}`));
  const posts = data.metrics['checks{check:has posts}'];
  const said = {
    requests: value('http_reqs', 'count'),
    rate: value('http_reqs', 'rate'),
    avg: value('http_req_duration', 'avg'),
    p95: value('http_req_duration', 'p(95)'),
    max: value('http_req_duration', 'max'),
    failed: value('http_req_failed', 'passes'), // requests of which it is true that they failed
    empty: posts ? posts.values.fails : 0,
    partial: value('partial_pages', 'count'),
    dropped: value('dropped_iterations', 'count'),
    crossed,
  };
  const share = said.requests ? said.failed / said.requests : 1;
  const line = `${said.requests} requests, ${said.rate.toFixed(1)}/s, average ${said.avg.toFixed(1)} ms, ` +
    `p95 ${said.p95.toFixed(1)} ms (wanted ≤ 350: ${said.p95 <= 350 ? 'yes' : 'no'}), ` +
    `${said.failed} failed (wanted ≤ 0.1 %: ${share <= 0.001 ? 'yes' : 'no'}), ${said.empty} without posts` +
    (said.partial ? `, ${said.partial} partial` : '') +
    (said.dropped ? `, ${said.dropped} never sent` : '') +
    (crossed.length ? `; NOT held: ${crossed.join(', ')}` : '') + '\n';
  return Object.assign({ stdout: line }, __ENV.SUMMARY ? { [__ENV.SUMMARY]: JSON.stringify(said) } : {});
}
