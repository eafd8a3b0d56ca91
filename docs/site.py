"""Makes the site of mkdocs.yml: the README as its first page, and links out of docs/ as links to the repository."""
import os
import re

from mkdocs.structure.files import File

TREE = "https://github.com/novasocial/imagetier/blob/main/"


def on_files(files, config):
    """Leaves out what makes the site, and adds the README of the repository as index.md."""
    for file in list(files):
        if file.src_path.endswith("_test.go") or file.src_path in ("mkdocs.yml", "site.py"):
            files.remove(file)
    page = File("index.md", config["docs_dir"], config["site_dir"], config["use_directory_urls"])
    page.abs_src_path = os.path.join(config["docs_dir"], "..", "README.md")
    files.append(page)
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrites links that leave docs/."""
    home = page.file.src_path == "index.md"
    folder = "" if home else os.path.join("docs", os.path.dirname(page.file.src_path))

    def rewrite(match):
        target = match.group(1)
        if "://" in target or target.startswith("#"):
            return match.group(0)
        path = os.path.normpath(os.path.join(folder, target))
        if path.startswith("docs/"):
            return "](" + path[len("docs/"):] + ")" if home else match.group(0)
        return "](" + (TREE + path if path != "README.md" else "/".join([".."] * folder.count("/")) + "/index.md") + ")"

    return re.sub(r"\]\(([^)\s]+)\)", rewrite, markdown)
