// 50 requests a second whatever the answers take (an open model): 5 minutes (DURATION). Users
// that wait for answers ask less of a slow server; those who do not know of each other do not.
//   k6 run -e URL=http://127.0.0.1:8080/graphql deploy/k6/open.js
import { ask, summary, thresholds } from './feed.js';

export const options = {
  scenarios: {
    open: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 50),
      timeUnit: '1s',
      duration: __ENV.DURATION || '5m',
      preAllocatedVUs: 200,
      maxVUs: 1000,
    },
  },
  // A request that could not be sent because all users waited is a failure of the server.
  thresholds: Object.assign({ dropped_iterations: ['count<1'] }, thresholds),
};

export default function () {
  ask();
}

export function handleSummary(data) {
  return summary(data);
}
