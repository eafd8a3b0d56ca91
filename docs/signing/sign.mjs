// @ts-check
// Signs imagetier URLs. Node 16, Deno or Bun; TypeScript reads the types from the comments.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { argv } from "node:process";
import { pathToFileURL } from "node:url";

/**
 * Returns a name as it is spelled in a URL.
 * @param {string} name
 */
function spellName(name) {
  const plain = /^[A-Za-z0-9._~/-]+$/.test(name) && !name.startsWith("~");
  if (plain && !name.split("/").some((segment) => ["", ".", ".."].includes(segment))) return name;
  return "~" + Buffer.from(name).toString("base64url");
}

/**
 * Returns the path of a URL.
 * @param {{keyId: string, keyHex: string, shape: string, version: string, source: string, name: string,
 *   format: string, expires?: number}} image - format is "" for orig; expires is Unix seconds, 0 for never
 */
export function signedPath({ keyId, keyHex, shape, version, source, name, format, expires = 0 }) {
  const path = `/${shape}/${version}/${source}/${spellName(name)}` + (format ? `.${format}` : "");
  const expiry = expires ? String(expires) : "";
  const digest = createHmac("sha256", Buffer.from(keyHex, "hex")).update(expiry + path).digest();
  const mac = digest.subarray(0, 16).toString("base64url");
  return `/i/${keyId}.${mac}${expiry ? "." + expiry : ""}${path}`;
}

// Run as a program, it signs the test vectors on standard input.
if (argv[1] && import.meta.url === pathToFileURL(argv[1]).href) {
  for (const line of readFileSync(0, "utf8").split("\n").slice(1)) {
    if (!line) continue;
    const [keyId, keyHex, shape, version, source, name, format, expires] = line.split("\t");
    console.log(signedPath({ keyId, keyHex, shape, version, source, name, format, expires: Number(expires) }));
  }
}
