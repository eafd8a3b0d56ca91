#!/usr/bin/env python3
"""An adapter between --purge-hook and a CDN. It checks the signature of a request and purges its tags.

    PURGE_SECRET=whsec_... CDN=fastly FASTLY_SERVICE=... FASTLY_TOKEN=... ./adapter.py 9000
    PURGE_SECRET=whsec_... CDN=cloudflare CLOUDFLARE_ZONE=... CLOUDFLARE_TOKEN=... ./adapter.py 9000
    PURGE_SECRET=whsec_... CDN=cloudfront CLOUDFRONT_DISTRIBUTION=... ./adapter.py 9000   # needs the aws command

It listens on 127.0.0.1; for a tier on another machine give an address, as in 10.0.0.5:9000. It uses only the standard library. It answers 204 if the CDN has accepted the purge, 503 with the CDN's
Retry-After if it asks to wait, else 502: then the tier tries again. To test it, set API to the base URL of a fake CDN.
"""
import base64, hashlib, hmac, json, os, subprocess, sys, time, urllib.error, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

env = os.environ
SECRET = base64.b64decode(env["PURGE_SECRET"].removeprefix("whsec_"))


def signed(headers, body):
    """Standard Webhooks: HMAC-SHA256 of id.timestamp.body, with a tolerance of five minutes."""
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False
    mac = hmac.new(SECRET, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    want = b"v1," + base64.b64encode(mac)
    return any(hmac.compare_digest(want, s.encode()) for s in headers.get("webhook-signature", "").split())


def post(url, headers, body=None):
    data = json.dumps(body).encode() if body is not None else b""
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method="POST")
    answer = urllib.request.urlopen(request, timeout=8).read()  # raises unless 2xx
    if json.loads(answer or b"{}").get("success") is False:  # Cloudflare says so with 200
        raise RuntimeError(answer.decode(errors="replace"))


def fastly(tags, soft):
    headers = {"Fastly-Key": env["FASTLY_TOKEN"], **({"Fastly-Soft-Purge": "1"} if soft else {})}
    url = env.get("API", "https://api.fastly.com") + f"/service/{env['FASTLY_SERVICE']}/purge"
    post(url, headers, {"surrogate_keys": tags})  # at most 256


def cloudflare(tags, soft):
    url = env.get("API", "https://api.cloudflare.com") + f"/client/v4/zones/{env['CLOUDFLARE_ZONE']}/purge_cache"
    post(url, {"Authorization": "Bearer " + env["CLOUDFLARE_TOKEN"]}, {"tags": tags})  # at most 100


def cloudfront(tags, soft):
    paths = ["#" + tag for tag in tags]  # the distribution has CacheTagConfig {"HeaderName": "Cache-Tag"}
    subprocess.run(["aws", "cloudfront", "create-invalidation", "--distribution-id", env["CLOUDFRONT_DISTRIBUTION"],
                    "--paths", *paths], check=True, timeout=9, stdout=subprocess.DEVNULL)


purge = {"fastly": fastly, "cloudflare": cloudflare, "cloudfront": cloudfront}[env["CDN"]]


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1 << 20))
        if not signed(self.headers, body):
            return self.answer(401)
        data = json.loads(body)["data"]
        try:
            purge(sorted({o["tag"] for o in data["originals"]}), data.get("soft", False))
        except Exception as err:
            print(f"the CDN did not purge: {err}", file=sys.stderr)
            wait = err.headers.get("Retry-After") if isinstance(err, urllib.error.HTTPError) else None
            return self.answer(503 if wait else 502, wait)
        self.answer(204)

    def answer(self, status, wait=None):
        self.send_response(status)
        if wait:
            self.send_header("Retry-After", wait)
        self.send_header("Content-Length", "0")
        self.end_headers()


host, _, port = sys.argv[1].rpartition(":")
ThreadingHTTPServer((host or "127.0.0.1", int(port)), Hook).serve_forever()
