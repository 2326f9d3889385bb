import gzip
import json
from pathlib import Path

import pytest

from galenic.data.jsonl import encode_gzip, read_jsonl, write_bytes
from galenic.errors import UserError


def rows_of(path: Path) -> list[tuple[int, dict[str, object]]]:
    return list(read_jsonl(path).rows())


def test_reads_plain_and_gzip_alike(tmp_path: Path) -> None:
    text = '\ufeff{"a": 1}\r\n\n{"b": "line\u2028separator"}'.encode()
    (tmp_path / "x.jsonl").write_bytes(text)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(text))
    expected = [(1, {"a": 1}), (3, {"b": "line\u2028separator"})]
    assert rows_of(tmp_path / "x.jsonl") == expected
    assert rows_of(tmp_path / "x.jsonl.gz") == expected


def test_hash_is_of_the_file_not_of_its_text(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert read_jsonl(tmp_path / "empty.jsonl").sha256 == known


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON at character 2"),
        (b"[1]", "not a JSON object"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 8"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_broken_line_names_file_and_line(tmp_path: Path, line: bytes, problem: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"fine": 1}\n' + line + b"\n")
    with pytest.raises(UserError) as error:
        rows_of(path)
    assert str(error.value).startswith(f"{path}, line 2: ")
    assert problem in str(error.value)


def test_missing_file_and_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.jsonl does not exist"):
        read_jsonl(tmp_path / "no.jsonl")
    with pytest.raises(UserError, match="cannot be read"):
        read_jsonl(tmp_path)


def test_damaged_gzip_says_how(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"a": 1}\n' * 1000)
    cases = {
        "plain": (b'{"a": 1}\n', "is not a gzip file"),
        "cut": (whole[:-9], "is cut off"),
        "flipped": (whole[:20] + bytes([whole[20] ^ 255]) + whole[21:], "is damaged"),
        "checksum": (whole[:-8] + b"\0\0\0\0" + whole[-4:], "is damaged"),
    }
    for name, (content, problem) in cases.items():
        path = tmp_path / f"{name}.jsonl.gz"
        path.write_bytes(content)
        with pytest.raises(UserError, match=problem) as error:
            read_jsonl(path)
        assert str(path) in str(error.value)


def test_same_rows_give_the_same_bytes_without_a_time_stamp() -> None:
    rows = [{"question": "Größe?", "n": 1}, {"question": "b", "n": None}]
    packed = encode_gzip(rows)
    assert packed[4:8] == b"\0\0\0\0"  # the header's time stamp
    assert [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()] == rows
    assert encode_gzip(rows) == packed


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub" / "x.jsonl"
    write_bytes(path, b"old")

    def fail(self: Path, content: bytes) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert [each.name for each in path.parent.iterdir()] == ["x.jsonl"]
    assert path.read_bytes() == b"old"
