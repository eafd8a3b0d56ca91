"""Signs imagetier URLs. Python 3.8 or newer, standard library only."""
import base64
import hashlib
import hmac
import re
import sys


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def spell_name(name):
    """Returns a name as it is spelled in a URL."""
    plain = re.fullmatch(r"[A-Za-z0-9._~/-]+", name) and not name.startswith("~")
    if plain and not {"", ".", ".."} & set(name.split("/")):
        return name
    return "~" + base64url(name.encode())


def signed_path(key_id, key_hex, shape, version, source, name, format, expires=0):
    """Returns the path of a URL. format is "" for orig; expires is Unix seconds, 0 for never."""
    path = f"/{shape}/{version}/{source}/{spell_name(name)}" + (f".{format}" if format else "")
    expiry = str(expires) if expires else ""
    digest = hmac.new(bytes.fromhex(key_hex), (expiry + path).encode(), hashlib.sha256).digest()
    signature = f"{key_id}.{base64url(digest[:16])}" + (f".{expiry}" if expiry else "")
    return f"/i/{signature}{path}"


if __name__ == "__main__":  # signs the test vectors on standard input
    lines = sys.stdin.buffer.read().decode().split("\n")
    for line in lines[1:]:
        if line:
            *fields, expires, _ = line.split("\t")
            print(signed_path(*fields, int(expires)))
