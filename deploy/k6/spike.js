// 0 to 500 users within a minute (RAMP), each with a request every two seconds, then 9 minutes
// (HOLD) at 250 requests per second.
//   k6 run -e URL=http://127.0.0.1:8080/graphql deploy/k6/spike.js
import { sleep } from 'k6';
import { ask, summary, thresholds } from './feed.js';

const users = Number(__ENV.USERS || 500);
const pause = Number(__ENV.PAUSE || 2); // seconds between the starts of two requests of a user

export const options = {
  scenarios: {
    spike: {
      executor: 'ramping-vus',
      startVUs: 0,
      stages: [
        { duration: __ENV.RAMP || '1m', target: users },
        { duration: __ENV.HOLD || '9m', target: users },
      ],
      gracefulRampDown: '10s',
    },
  },
  thresholds,
};

export default function () {
  const began = Date.now();
  ask();
  sleep(Math.max(0, pause - (Date.now() - began) / 1000));
}

export function handleSummary(data) {
  return summary(data);
}
