// Asking the tier. The admin token lives in this page's memory only.

let token = "";

export const setToken = (value) => (token = value.trim());

// Refused is thrown for an error response; message is shown to the user.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// get returns the JSON of an answer, or throws Refused.
export async function get(path) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  let answer;
  try {
    answer = await fetch(path, { headers, cache: "no-store" });
  } catch {
    throw new Refused(0, "The tier does not answer.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new Refused(answer.status, body?.error ?? body?.detail ?? body?.title ?? `The tier answers ${answer.status}.`);
  }
  if (body === null) throw new Refused(answer.status, "The answer is no JSON.");
  return body;
}
