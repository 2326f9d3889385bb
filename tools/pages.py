"""Hook of MkDocs: the README, results and logs become pages, and links between files go on working.

The documentation is written to be read in the repository, where links name files. On the site the
README is the first page, ``results/`` lies beside the other pages, and a link to a file that is no
page leads to the repository, or is plain text while that has no address (hatch_build.py).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "LOG.md", "NOTICE", "SECURITY.md")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def address() -> str:
    text = (ROOT / "hatch_build.py").read_text("utf-8")
    found = re.search(r'^ADDRESS = "(.*)"$', text, re.MULTILINE)
    return found[1] if found else ""


def pages() -> dict[str, str]:
    """File in the repository, from its root, to the page's place on the site."""
    found = {"README.md": "index.md"}
    found |= {name: f"{name.removesuffix('.md').lower()}.md" for name in PAGES}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file():
            inner = path.relative_to(ROOT / "docs").as_posix()
            found[f"docs/{inner}"] = inner
    for path in sorted((ROOT / "results").rglob("*")):
        if path.suffix in (".md", ".png") and "adapters" not in path.parts:
            name = path.relative_to(ROOT).as_posix()
            found[name] = re.sub(r"README\.md$", "index.md", name)
    return found


def on_files(files: Files, config: Any) -> Files:
    for source, page in pages().items():
        if source.startswith("docs/"):
            continue
        path = ROOT / source
        if path.suffix == ".png":
            files.append(File.generated(config, page, abs_src_path=str(path)))
        else:
            text = path.read_text("utf-8")
            text = f"# Notice\n\n```\n{text}```\n" if source == "NOTICE" else text
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    by_page = {place: source for source, place in pages().items()}
    source = by_page[page.file.src_uri]
    return LINK.sub(lambda match: rewritten(match, source), markdown)


def rewritten(match: re.Match[str], source: str) -> str:
    """One link of a file, as it is to be on the site."""
    image, text, target = match.groups()
    if re.match(r"[a-z]+:|#", target):
        return match[0]
    path, _, anchor = target.partition("#")
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    known = pages()
    for name in (wanted, f"{wanted}/README.md"):
        if name in known:
            here = posixpath.dirname(known[source]) or "."
            place = posixpath.relpath(known[name], here)
            return f"{image}[{text}]({place}{'#' + anchor if anchor else ''})"
    if (ROOT / wanted).exists():
        there = address()
        return f"[{text}]({there}/blob/main/{wanted})" if there else text
    return match[0]  # the strict build names it
