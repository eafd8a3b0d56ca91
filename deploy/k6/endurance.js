// 50 users for 2 hours (DURATION). make load ONLY=endurance LOAD=full also checks the gateway
// meanwhile: memory grows by less than 5 %, connections do not grow, GC pauses stay below 10 ms.
//   k6 run -e URL=http://127.0.0.1:8080/graphql deploy/k6/endurance.js
import { sleep } from 'k6';
import { ask, summary, thresholds } from './feed.js';

export const options = {
  vus: Number(__ENV.USERS || 50),
  duration: __ENV.DURATION || '2h',
  thresholds,
};

export default function () {
  ask();
  sleep(1);
}

export function handleSummary(data) {
  return summary(data);
}
