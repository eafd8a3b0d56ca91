// The URL in the words of clients.

import { el } from "./dom.js";

const quoted = (s) => JSON.stringify(s);
const html = (s) => s.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");

// KINDS are made of {url, width, height, larger}; larger are the URLs of two and three times the size.
export const KINDS = {
  URL: ({ url }) => url,
  curl: ({ url }) => `curl -sS -o image -w '%{http_code} %{size_download} bytes\\n' \\\n  '${url}'`,
  SwiftUI: ({ url, width, height }) => `AsyncImage(url: URL(string: ${quoted(url)})) { image in
    image.resizable().scaledToFill()
} placeholder: {
    Color.gray.opacity(0.15)
}${width ? `\n.frame(width: ${Math.round(width / 3)}${height ? `, height: ${Math.round(height / 3)}` : ""}) // points at @3x\n.clipped()` : ""}`,
  Kotlin: ({ url }) => `AsyncImage( // Coil
    model = ${quoted(url)},
    contentDescription = null,
    contentScale = ContentScale.Crop,
)`,
  srcset: ({ url, width, height, larger }) => {
    const set = larger.map((u, i) => `${html(u)} ${i + 2}x`).join(",\n             ");
    const size = [width && `width="${width}"`, height && `height="${height}"`].filter(Boolean).join(" ");
    return `<img src="${html(url)}"${set ? `\n     srcset="${set}"` : ""}\n     ${size ? size + " " : ""}loading="lazy" decoding="async" alt="">`;
  },
  GraphQL: ({ width }) => `# The gateway signs the sizes of its profiles: --profiles, --fields thumbnailUrl=PROFILE${width ? `\n# This size is ${width} pixels wide.` : ""}
query {
  feed(limit: 20, client: "webp@3x") {
    posts { id thumbnailUrl placeholder width height color }
  }
}`,
};

// tabs fills a list of radio buttons and calls choose with the name of the chosen kind.
export function tabs(parent, choose) {
  Object.keys(KINDS).forEach((kind, i) => {
    const radio = el("input", { type: "radio", name: "snippet", value: kind });
    radio.checked = i === 0;
    radio.addEventListener("change", () => choose(kind));
    parent.append(el("label", {}, radio, kind === "srcset" ? "<img srcset>" : kind));
  });
}
