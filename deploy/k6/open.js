// 50 requests per second for 5 minutes (DURATION), however long responses take (an open model).
// In a closed model users wait for responses, so a slow server gets fewer requests.
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
  // A request that was not sent because all users were waiting counts as a failure of the server.
  thresholds: Object.assign({ dropped_iterations: ['count<1'] }, thresholds),
};

export default function () {
  ask();
}

export function handleSummary(data) {
  return summary(data);
}
