"""Files as notes: read by the readers of documents, within bounds, and not kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from inside import Inside

from echo import EchoRuntime
from galenic.errors import UserError
from galenic.limits import NOTES_BYTES, NOTES_CHARACTERS
from galenic.serve import notes
from galenic.serve.notes import read_notes
from galenic.serve.notes_child import read

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def pdf(text: str) -> bytes:
    """One page that says it."""
    body = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(body), body),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    found, at = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        at.append(len(found))
        found += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in at)
    head = b"xref\n0 6\n0000000000 65535 f \n" + table
    return found + head + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(found)


@pytest.fixture(scope="module")
def server() -> Iterator[Inside]:
    found = Inside(EchoRuntime(), max_bytes=2000)
    yield found
    found.close()


@pytest.mark.slow
def test_a_file_becomes_text(server: Inside) -> None:
    long = b"Allergic to penicillin. " * 200  # longer than other requests may be
    status, found = server.send("/v1/notes?name=My%20notes.TXT", long)
    assert status == 200
    assert found["name"] == "My notes.TXT"
    assert found["text"].count("Allergic to penicillin.") == 200
    status, found = server.send("/v1/notes?name=letter.pdf", pdf("Takes warfarin."))
    assert (status, found["text"]) == (200, "Takes warfarin.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "raw", "words"),
    [
        ("a.exe", b"x", "only .pdf, .txt, .md and .json"),
        ("", b"x", "only .pdf"),
        ("a.pdf", b"%PDF-1.4 rubbish", "damaged PDF"),
        ("a.pdf", pdf("x")[:200], "damaged PDF"),
    ],
)
def test_what_cannot_be_read_is_said(server: Inside, name: str, raw: bytes, words: str) -> None:
    status, told = server.send(f"/v1/notes?name={name}", raw)
    assert status == 400
    assert words in told["error"]["message"]
    assert name in told["error"]["message"]


def test_a_file_has_its_own_bound(server: Inside) -> None:
    head = {"Content-Length": str(NOTES_BYTES + 1)}
    assert server.send("/v1/notes?name=a.txt", b"x", head)[0] == 413
    assert server.send("/v1/triage", b"x" * 2001)[0] == 413


def test_a_long_text_is_cut_and_says_so() -> None:
    found = read(b"word\n\n" * NOTES_CHARACTERS, "txt")
    assert len(found["text"]) == NOTES_CHARACTERS
    assert "left out" in found["notes"][0]


@pytest.mark.parametrize("said", [b"", b"{", None])
def test_a_reader_that_ends_or_hangs_is_an_error(
    monkeypatch: pytest.MonkeyPatch, said: bytes | None
) -> None:
    def run(line: list[str], **how: Any) -> Any:
        assert how["input"] == b"x"
        if said is None:
            raise subprocess.TimeoutExpired(line, how["timeout"])
        return subprocess.CompletedProcess(line, -9, said)

    monkeypatch.setattr(notes.subprocess, "run", run)
    with pytest.raises(UserError, match="takes longer" if said is None else "damaged"):
        read_notes(b"x", "a.pdf")


def test_nothing_of_it_is_logged(server: Inside, capfd: pytest.CaptureFixture[str]) -> None:
    status, found = server.send("/v1/notes?name=secret.txt", b"my secret")
    assert "secret" in json.dumps(found)
    assert status == 200
    assert "secret" not in "".join(capfd.readouterr())
