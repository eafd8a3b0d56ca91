// Requests to the tier. The admin token is kept in the memory of this page only: it is asked for once,
// when the first request needs it.

import { $ } from "./dom.js";

let token = "";

export const hasToken = () => token !== "";

// Refused is thrown for an error response; message is shown to the user.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// get returns the JSON of a response, or throws Refused.
export const get = (path) => call("GET", path);

// call sends a request, with a JSON body if there is one. If it needs a token, the user is asked for it.
export async function call(method, path, body) {
  for (;;) {
    const sent = token;
    const answer = await send(method, path, body);
    if (answer.status !== 401) return read(answer);
    // Another request may have asked for the token meanwhile.
    if (sent === token && !(await askToken(sent ? "Wrong admin token." : ""))) return read(answer);
  }
}

async function send(method, path, body) {
  const headers = {};
  if (token) headers.Authorization = "Bearer " + token;
  if (body) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Refused(0, "The tier does not answer.");
  }
}

async function read(answer) {
  const json = await answer.json().catch(() => null);
  if (!answer.ok) {
    const message = json?.error ?? json?.detail ?? json?.title ?? `The tier responded with status ${answer.status}.`;
    throw new Refused(answer.status, message);
  }
  if (json === null) throw new Refused(answer.status, "The response is not JSON.");
  return json;
}

let asking = null; // one dialog for all requests that wait for the token

// askToken shows the dialog, and resolves to whether a token was entered.
export function askToken(reason = "") {
  asking ??= new Promise((done) => {
    const dialog = $("token");
    const field = dialog.querySelector("input");
    $("token-reason").textContent = reason;
    field.value = "";
    dialog.addEventListener("close", () => {
      asking = null;
      if (dialog.returnValue === "ok") token = field.value.trim();
      field.value = "";
      done(dialog.returnValue === "ok");
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}

// start prepares the dialog.
export function start() {
  const dialog = $("token");
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close("ok");
  });
  dialog.querySelector("[type=button]").addEventListener("click", () => dialog.close());
}
