// Requests to the tier. The admin token is kept in the memory of this page only.

let token = "";

export const setToken = (value) => (token = value.trim());

// Refused is thrown for an error response; message is shown to the user.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// get returns the JSON of a response, or throws Refused.
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
    throw new Refused(answer.status, body?.error ?? body?.detail ?? body?.title ?? `The tier responded with status ${answer.status}.`);
  }
  if (body === null) throw new Refused(answer.status, "The response is not JSON.");
  return body;
}
