"""The GGUF header reader against the gguf package's writer and reader, and against bad files."""

from __future__ import annotations

import math
import random
import struct
import time
from pathlib import Path

import gguf
import numpy as np
import pytest

from galenic.errors import UserError
from galenic.models.gguf.header import (
    GgufHeader,
    TensorInfo,
    check_gguf,
    count_parameters,
    quantization_label,
    read_header,
    read_metadata,
    tensor_types,
)
from tiny import write_tiny_gguf


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a value of each type and tensors of three types."""
    path = tmp_path_factory.mktemp("gguf") / "mixed.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("t.u8", 255)
    writer.add_int8("t.i8", -128)
    writer.add_uint16("t.u16", 65535)
    writer.add_int16("t.i16", -32768)
    writer.add_uint32("t.u32", 2**32 - 1)
    writer.add_int32("t.i32", -(2**31))
    writer.add_uint64("t.u64", 2**64 - 1)
    writer.add_int64("t.i64", -(2**63))
    writer.add_float32("t.f32", 0.5)
    writer.add_float64("t.f64", math.pi)
    writer.add_bool("t.bool", True)
    writer.add_string("t.text", "Maß é 中")
    writer.add_array("t.numbers", [3, -1, 2])
    writer.add_array("t.words", ["a", "", "ß"])
    rng = np.random.default_rng(0)
    writer.add_tensor("a", rng.normal(size=(3, 5)).astype(np.float32))
    for name, kind in (("b", "Q8_0"), ("c", "Q4_1")):
        number = gguf.GGMLQuantizationType[kind]
        values = rng.normal(size=(2, 64)).astype(np.float32)
        writer.add_tensor(name, gguf.quants.quantize(values, number), raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_values_come_back_as_written(mixed: Path) -> None:
    metadata = dict(read_metadata(mixed, arrays=("t.words", "t.numbers")))
    assert metadata == {
        "general.architecture": "llama",
        "t.u8": 255,
        "t.i8": -128,
        "t.u16": 65535,
        "t.i16": -32768,
        "t.u32": 2**32 - 1,
        "t.i32": -(2**31),
        "t.u64": 2**64 - 1,
        "t.i64": -(2**63),
        "t.f32": 0.5,
        "t.f64": math.pi,
        "t.bool": True,
        "t.text": "Maß é 中",
        "t.numbers": [3, -1, 2],
        "t.words": ["a", "", "ß"],
    }


def test_arrays_are_skipped_unless_asked_for(mixed: Path) -> None:
    header = read_header(mixed)
    assert "t.words" not in header.metadata
    assert header.array_lengths == {"t.numbers": 3, "t.words": 3}


def test_the_tensor_table_is_that_of_the_gguf_package(mixed: Path, tmp_path: Path) -> None:
    for path in (mixed, write_tiny_gguf(tmp_path / "tiny.gguf")):
        expected = [
            (t.name, tuple(t.shape.tolist()), t.tensor_type.name, t.data_offset, t.n_bytes)
            for t in gguf.GGUFReader(path).tensors
        ]
        found = read_header(path).tensors
        assert [(t.name, t.shape, t.type, t.offset, t.num_bytes) for t in found] == expected


def test_bytes_by_type_and_parameters(mixed: Path) -> None:
    # Q8_0: 32 values in 2 + 32 bytes; Q4_1: 32 values in 4 + 16 bytes
    assert tensor_types(mixed) == {"F32": 15 * 4, "Q8_0": 4 * 34, "Q4_1": 4 * 20}
    assert count_parameters(read_header(mixed)) == 15 + 128 + 128


def test_a_file_cut_anywhere_is_a_user_error(mixed: Path, tmp_path: Path) -> None:
    data = mixed.read_bytes()
    end = max(t.offset + t.num_bytes for t in read_header(mixed).tensors)
    path = tmp_path / "cut.gguf"
    for length in range(0, end, 7):
        path.write_bytes(data[:length])
        with pytest.raises(UserError):
            read_header(path)
    path.write_bytes(data[: end - 1])
    with pytest.raises(UserError, match=rf"truncated.*{end:,} bytes.*has {end - 1:,}"):
        read_header(path)
    path.write_bytes(data[:end])
    read_header(path)


def test_damaged_bytes_never_end_in_anything_else(mixed: Path, tmp_path: Path) -> None:
    data = mixed.read_bytes()
    start = read_header(mixed).tensors[0].offset
    path = tmp_path / "damaged.gguf"
    rng = random.Random(0)
    refused = 0
    begin = time.process_time()
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(start)] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        path.write_bytes(damaged)
        try:
            read_header(path, arrays=("t.words", "t.numbers"))
        except UserError:
            refused += 1
    assert refused > 200
    assert time.process_time() - begin < 10


@pytest.mark.parametrize("position", [8, 16])
@pytest.mark.parametrize("count", [2**63, 2**32, 10**6])
def test_a_lying_count_is_refused_at_once(
    mixed: Path, tmp_path: Path, position: int, count: int
) -> None:
    data = bytearray(mixed.read_bytes())
    data[position : position + 8] = struct.pack("<Q", count)
    path = tmp_path / "lying.gguf"
    path.write_bytes(data)
    begin = time.process_time()
    with pytest.raises(UserError, match=str(path)):
        read_header(path)
    assert time.process_time() - begin < 5


def test_a_lying_array_length_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lying.gguf"
    key = b"tokenizer.ggml.tokens"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
    for kind in (8, 4):
        for length in (2**62, 10**6):
            path.write_bytes(head + struct.pack("<IIQ", 9, kind, length) + bytes(100))
            with pytest.raises(UserError):
                read_header(path, arrays=("tokenizer.ggml.tokens",))


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for content, message in (
        (b"PK\x03\x04" + bytes(40), r"not a GGUF: begins with b'PK\\x03\\x04'"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"", "only 0 bytes"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "architecture"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            check_gguf(path)
    with pytest.raises(UserError, match="not a file"):
        check_gguf(tmp_path)


def test_only_whole_models_are_accepted(tmp_path: Path) -> None:
    assert check_gguf(write_tiny_gguf(tmp_path / "tiny.gguf")).metadata["llama.block_count"] == 2
    for change, message in (
        (lambda w: w.add_type("adapter"), "'adapter'"),
        (lambda w: w.add_uint16("split.count", 3), "one of 3 parts .* not named so"),
        (lambda w: None, "no weights"),
    ):
        writer = gguf.GGUFWriter(tmp_path / "other.gguf", "llama")
        change(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        with pytest.raises(UserError, match=message):
            check_gguf(tmp_path / "other.gguf")


def test_the_real_model(smollm2: Path) -> None:
    header = check_gguf(smollm2)
    assert count_parameters(header) == 134_515_008  # the model card says 135M
    assert header.array_lengths["tokenizer.ggml.tokens"] == 49152
    assert set(tensor_types(smollm2)) == {"Q4_1", "Q8_0", "F32"}


@pytest.mark.parametrize(
    ("said", "kinds", "label"),
    [
        (15, {"Q4_K": 100, "Q6_K": 300, "F32": 1}, "Q4_K_M"),
        (15, {"Q8_0": 100, "F32": 1}, "Q8_0"),
        (None, {"Q8_0": 1, "F32": 100}, "F32"),
        (0, {"F32": 3}, "F32"),
        (24, {"IQ1_S": 5}, "IQ1_S"),
    ],
)
def test_a_label_is_what_the_file_says_if_it_is_true(
    said: int | None, kinds: dict[str, int], label: str
) -> None:
    rows = tuple(TensorInfo(kind, (1,), kind, 0, size) for kind, size in kinds.items())
    metadata = {} if said is None else {"general.file_type": said}
    assert quantization_label(GgufHeader(3, metadata, {}, {}, rows)) == label
