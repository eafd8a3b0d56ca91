// The parts that all scenarios share: the feed query, its checks, the users and the summary.
//
//   URL      POST /graphql (http://localhost:8080/graphql)
//   TOKENS   file with a token per line, one for each user; without it all users have test-token
//   SUMMARY  file to write the summary to, as JSON
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

const url = __ENV.URL || 'http://localhost:8080/graphql';
const tokens = __ENV.TOKENS ? open(__ENV.TOKENS).trim().split('\n') : ['test-token'];

const query = `query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl likeCount commentCount author { id username avatarUrl } } cursor hasMore } }`;
const body = JSON.stringify({ query, variables: { limit: 20, cursor: null } });

// Pages with missing parts, which the response lists in errors.
const partial = new Counter('partial_pages');

// Thresholds of every scenario. A response without posts is a failure in spite of its status 200.
export const thresholds = {
  http_req_duration: ['p(95)<500'],
  http_req_failed: ['rate<0.01'],
  'checks{check:status is 200}': ['rate>0.99'],
  'checks{check:has posts}': ['rate>0.99'],
};

// ask sends one query of the current user.
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
    return false; // not JSON, or without a page
  }
}

// summary returns the result of handleSummary: a line of text, and the contents of SUMMARY. The
// line compares with the targets, which are stricter than the thresholds.
export function summary(data) {
  const value = (metric, key) => (data.metrics[metric] ? data.metrics[metric].values[key] : 0);
  const crossed = Object.entries(data.metrics).flatMap(([name, m]) =>
    Object.entries(m.thresholds || {}).filter(([, t]) => !t.ok).map(([t]) => `${name} ${t}`));
  const posts = data.metrics['checks{check:has posts}'];
  const result = {
    requests: value('http_reqs', 'count'),
    rate: value('http_reqs', 'rate'),
    avg: value('http_req_duration', 'avg'),
    p95: value('http_req_duration', 'p(95)'),
    max: value('http_req_duration', 'max'),
    failed: value('http_req_failed', 'passes'), // a k6 rate metric: "passes" counts the samples that are true, here failures
    empty: posts ? posts.values.fails : 0,
    partial: value('partial_pages', 'count'),
    dropped: value('dropped_iterations', 'count'),
    crossed,
  };
  const share = result.requests ? result.failed / result.requests : 1;
  const line = `${result.requests} requests, ${result.rate.toFixed(1)}/s, average ${result.avg.toFixed(1)} ms, ` +
    `p95 ${result.p95.toFixed(1)} ms (target ≤ 350: ${result.p95 <= 350 ? 'met' : 'missed'}), ` +
    `${result.failed} failed (target ≤ 0.1 %: ${share <= 0.001 ? 'met' : 'missed'}), ${result.empty} without posts` +
    (result.partial ? `, ${result.partial} partial` : '') +
    (result.dropped ? `, ${result.dropped} not sent` : '') +
    (crossed.length ? `; thresholds crossed: ${crossed.join(', ')}` : '') + '\n';
  return Object.assign({ stdout: line }, __ENV.SUMMARY ? { [__ENV.SUMMARY]: JSON.stringify(result) } : {});
}
