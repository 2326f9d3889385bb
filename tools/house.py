"""Draw the house: its rooms, what each is for, and which room imports which.

    python tools/house.py            # writes docs/house.svg
    python tools/house.py --check    # fails where the picture does not show the rooms as they are

A room is a folder of ``src/galenic``; what it is for is the first sentence of its docstring.
It stands one row below all rooms that import it, so every import points down.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE, PICTURE = ROOT / "src" / "galenic", ROOT / "docs" / "house.svg"
GROUND = "ground floor"
BOX, GAP, LEFT, HEIGHT = 216, 16, 24, 96


def rooms() -> dict[str, str]:
    """Name of each room to what it is for."""
    found = {}
    for init in sorted(PACKAGE.glob("*/__init__.py")):
        said = ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""
        found[init.parent.name] = " ".join(said.split("\n\n")[0].split()).split(". ")[0]
    files = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_"))
    return {**found, GROUND: ", ".join(files)}


def imports(names: dict[str, str]) -> dict[str, set[str]]:
    """Each room to the other rooms that it imports; ground floor where it is a single file."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for path in PACKAGE.glob("*/**/*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                if module.startswith("galenic."):
                    other = module.split(".")[1]
                    found[room].add(other if other in names else GROUND)
        found[room].discard(room)
    return found


def rows(uses: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by height, the highest first: one is higher than all that it imports."""
    height: dict[str, int] = {}

    def of(room: str, above: tuple[str, ...] = ()) -> int:
        if room in above:
            sys.exit(f"rooms import each other in a circle: {' -> '.join((*above, room))}")
        if room not in height:
            height[room] = 1 + max((of(o, (*above, room)) for o in uses[room]), default=-1)
        return height[room]

    for room in uses:
        of(room)
    levels = sorted(set(height.values()), reverse=True)
    return [sorted(room for room in height if height[room] == level) for level in levels]


def draw(names: dict[str, str], uses: dict[str, set[str]]) -> str:
    """The picture as SVG."""
    levels = rows(uses)
    width = 2 * LEFT + max(len(level) for level in levels) * (BOX + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{len(levels) * (HEIGHT + 2 * GAP) + GAP}" font-family="sans-serif">',
        "<style>rect{fill:#f4f7fb;stroke:#35557c}.n{font-weight:bold;font-size:14px}"
        ".t{font-size:11px;fill:#333}.u{font-size:10px;fill:#5b6f88}</style>",
    ]
    for number, level in enumerate(levels):
        start = (width - len(level) * (BOX + GAP)) / 2
        for at, room in enumerate(level):
            x, y = start + at * (BOX + GAP), GAP + number * (HEIGHT + 2 * GAP)
            parts += box(room, names[room], uses[room] - {GROUND}, x, y)
    return "\n".join([*parts, "</svg>", ""])


def box(room: str, purpose: str, uses: set[str], x: float, y: float) -> list[str]:
    lines = [("n", room)]
    lines += [("t", line) for line in textwrap.wrap(purpose, 36, max_lines=3, placeholder=" ...")]
    imported = f"uses {', '.join(sorted(uses))}" if uses else ""
    lines += [("u", line) for line in textwrap.wrap(imported, 44, max_lines=2)]
    parts = [f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX}" height="{HEIGHT}" rx="6"/>']
    for number, (kind, line) in enumerate(lines):
        place = f'x="{x + 8:.0f}" y="{y + 17 + 14.5 * number:.0f}"'
        parts.append(f'<text class="{kind}" {place}>{escape(line)}</text>')
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the rooms; write nothing")
    given = parser.parse_args()
    names = rooms()
    drawn = draw(names, imports(names))
    if not given.check:
        PICTURE.write_text(drawn, encoding="utf-8")
        return
    there = PICTURE.read_text("utf-8")
    missing = [name for name in names if f">{name}</text>" not in there]
    if missing:
        sys.exit(f"{PICTURE.name} lacks {', '.join(missing)}: run python tools/house.py")


if __name__ == "__main__":
    main()
