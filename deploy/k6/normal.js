// 100 users who query the feed, read for a second, and query again, for 5 minutes (DURATION).
//   k6 run -e URL=http://127.0.0.1:8080/graphql deploy/k6/normal.js
import { sleep } from 'k6';
import { ask, summary, thresholds } from './feed.js';

export const options = {
  vus: Number(__ENV.USERS || 100),
  duration: __ENV.DURATION || '5m',
  thresholds,
};

export default function () {
  ask();
  sleep(1);
}

export function handleSummary(data) {
  return summary(data);
}
