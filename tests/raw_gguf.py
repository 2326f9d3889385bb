"""GGUF files taken apart and put together again, with whatever lies in them: for tests."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Entry", "RawGguf", "Row"]

CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@dataclass
class Entry:
    """A metadata key; ``items`` is the type of an array's items."""

    key: bytes
    kind: int
    value: Any
    items: int = 0


@dataclass
class Row:
    """A row of the tensor table; the offset counts from where the weights begin."""

    name: bytes
    dims: list[int]
    kind: int
    offset: int


@dataclass
class RawGguf:
    """A whole file."""

    entries: list[Entry]
    rows: list[Row]
    weights: bytes
    version: int = 3
    alignment: int = field(default=32)

    @classmethod
    def read(cls, path: Path) -> RawGguf:
        data = path.read_bytes()
        at = 8

        def take(code: str) -> Any:
            nonlocal at
            value = struct.unpack_from("<" + code, data, at)[0]
            at += struct.calcsize("<" + code)
            return value

        def text() -> bytes:
            nonlocal at
            length = take("Q")
            at += length
            return data[at - length : at]

        def value(kind: int) -> Any:
            return text() if kind == STRING else take(CODES[kind])

        count, keys = take("Q"), take("Q")
        entries = []
        for _ in range(keys):
            key, kind = text(), take("I")
            if kind == ARRAY:
                items, length = take("I"), take("Q")
                entries.append(Entry(key, kind, [value(items) for _ in range(length)], items))
            else:
                entries.append(Entry(key, kind, value(kind)))
        rows = []
        for _ in range(count):
            name = text()
            dims = [take("Q") for _ in range(take("I"))]
            rows.append(Row(name, dims, take("I"), take("Q")))
        return cls(entries, rows, data[-(-at // 32) * 32 :])

    def entry(self, key: str) -> Entry:
        return next(entry for entry in self.entries if entry.key == key.encode())

    def drop(self, key: str) -> None:
        self.entries = [entry for entry in self.entries if entry.key != key.encode()]

    def set(self, key: str, kind: int, value: Any, items: int = 0) -> None:
        self.drop(key)
        self.entries.append(Entry(key.encode(), kind, value, items))

    def write(self, path: Path) -> Path:
        out = [b"GGUF", struct.pack("<IQQ", self.version, len(self.rows), len(self.entries))]

        def text(value: bytes) -> bytes:
            return struct.pack("<Q", len(value)) + value

        def pack(kind: int, value: Any) -> bytes:
            return text(value) if kind == STRING else struct.pack("<" + CODES[kind], value)

        for entry in self.entries:
            out += [text(entry.key), struct.pack("<I", entry.kind)]
            if entry.kind == ARRAY:
                out.append(struct.pack("<IQ", entry.items, len(entry.value)))
                out += [pack(entry.items, one) for one in entry.value]
            else:
                out.append(pack(entry.kind, entry.value))
        for row in self.rows:
            out += [text(row.name), struct.pack("<I", len(row.dims))]
            out += [struct.pack("<Q", size) for size in row.dims]
            out.append(struct.pack("<IQ", row.kind, row.offset))
        head = b"".join(out)
        path.write_bytes(head + bytes(-len(head) % self.alignment) + self.weights)
        return path
