#!/usr/bin/env bash
# Signs imagetier URLs with openssl (1.1 or 3). Source it, then:
#
#   curl -O "https://img.example.com$(signed_path k1 "$KEY_HEX" 640x640-cover v.1 posts 2026/11/abc.jpg webp)"
#
# On a command line the key is visible to other users of the machine; use it for trying things out.
LC_ALL=C

base64url() { base64 | tr -d '=\n' | tr '+/' '-_'; }

# spell_name NAME prints a name as it is spelled in a URL.
spell_name() {
  case $1 in
    '' | '~'* | *[!A-Za-z0-9._~/-]*) ;;
    *) case /$1/ in *//* | */./* | */../*) ;; *) printf %s "$1"; return ;; esac ;;
  esac
  printf '~%s' "$(printf %s "$1" | base64url)"
}

# signed_path KEY_ID KEY_HEX SHAPE VERSION SOURCE NAME FORMAT [EXPIRES] prints the path of a URL.
# FORMAT is '' for orig; EXPIRES is Unix seconds, 0 for never.
signed_path() {
  local path expiry=${8:-0} mac
  path=/$3/$4/$5/$(spell_name "$6")${7:+.$7}
  [ "$expiry" != 0 ] || expiry=
  mac=$(printf %s "$expiry$path" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$2" -binary | head -c 16 | base64url)
  printf '/i/%s.%s%s%s\n' "$1" "$mac" "${expiry:+.$expiry}" "$path"
}

# Run as a program, it signs the test vectors on standard input.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  read -r _
  while IFS= read -r line; do
    mapfile -t -d $'\t' f <<<"$line"
    signed_path "${f[0]}" "${f[1]}" "${f[2]}" "${f[3]}" "${f[4]}" "${f[5]}" "${f[6]}" "${f[7]}"
  done
fi
