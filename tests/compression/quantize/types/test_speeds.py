"""Which types are fast here: measured, remembered, and chosen by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from galenic.compression.quantize.block_types import KQuant
from galenic.compression.quantize.kquant import BLOCK_TYPES
from galenic.compression.quantize.types import speeds
from galenic.models.gguf.header import read_header


def test_measured_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALENIC_CACHE", str(tmp_path))
    monkeypatch.setattr(speeds, "BLOCK_TYPES", ("Q4_0", "Q8_0"))
    monkeypatch.setattr(speeds, "ROUNDS", 1)
    monkeypatch.setattr(speeds, "READ", 4)
    monkeypatch.setattr(speeds, "WRITTEN", 2)
    found = speeds.type_seconds()
    assert set(found) == {"Q4_0", "Q8_0"}
    assert all(0 < seconds < 60 for seconds in found.values())
    monkeypatch.setattr(speeds, "_seconds", None)  # not measured again
    assert speeds.type_seconds() == found
    (tmp_path / speeds.TABLE).write_text("{")
    with pytest.raises(TypeError):
        speeds.type_seconds()
    [name] = [path.name for path in tmp_path.iterdir() if path.name == speeds.TABLE]
    (tmp_path / name).write_text(json.dumps({"another library": found}))
    with pytest.raises(TypeError):
        speeds.type_seconds()


def test_every_type_is_written_into_every_matrix(tmp_path: Path) -> None:
    for kind in BLOCK_TYPES:
        speeds._write(tmp_path / "m.gguf", kind)
        kinds = {t.type for t in read_header(tmp_path / "m.gguf").tensors if len(t.shape) == 2}
        assert kinds == {kind}


def test_no_type_of_which_a_larger_one_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = dict.fromkeys(BLOCK_TYPES, 9.0) | {
        "Q8_0": 1.3, "Q6_K": 1.4, "Q5_0": 1.2, "Q5_1": 1.31, "Q5_K": 1.7,
        "Q4_0": 1.0, "IQ4_NL": 1.2, "Q4_K": 1.4, "Q3_K": 1.1, "Q2_K": 0.9,
    }  # fmt: skip
    monkeypatch.setattr(speeds, "type_seconds", lambda: seconds)
    assert speeds.fast_types(BLOCK_TYPES) == ("Q2_K", "Q4_0", "IQ4_NL", "Q5_0", "Q8_0")
    assert speeds.fast_types(("Q4_K", "Q5_K")) == ("Q4_K", "Q5_K")
    method = KQuant(bits=4, prefer="speed", exclude="Q2_K")
    tensor = next(t for t in speeds._tensors() if t.name == "blk.0.ffn_up.weight")
    assert method._options(tensor).keys() == {"Q4_0", "IQ4_NL"}
