import gzip
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from galenic.data import manifest
from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.registry import BENCHMARKS

# As published: rows and how often each label is right.
PUBLISHED = {
    ("pubmedqa", "test"): (500, {"yes": 276, "no": 169, "maybe": 55}),
    ("pubmedqa", "cv"): (500, {"yes": 276, "no": 169, "maybe": 55}),
    ("pubmedqa", "all"): (1000, {"yes": 552, "no": 338, "maybe": 110}),
    ("medqa_4options", "test"): (1273, {"A": 353, "B": 309, "C": 346, "D": 265}),
    ("medqa_4options", "dev"): (1272, {"A": 330, "B": 316, "C": 352, "D": 274}),
    ("medqa_4options", "train"): (2608, {"A": 652, "B": 691, "C": 658, "D": 607}),
    ("medqa_5options", "test"): (1273, {"A": 273, "B": 277, "C": 252, "D": 269, "E": 202}),
    ("medqa_5options", "dev"): (1272, {"A": 256, "B": 279, "C": 245, "D": 278, "E": 214}),
    ("medqa_5options", "train"): (1000, {"A": 185, "B": 211, "C": 186, "D": 214, "E": 204}),
    ("medmcqa", "validation"): (4183, {"A": 1348, "B": 1085, "C": 925, "D": 825}),
    ("medmcqa", "train"): (1497, {"A": 439, "B": 399, "C": 364, "D": 295}),
}


def question(number: int, **changes: object) -> dict[str, object]:
    options = {"A": "one", "B": "two", "C": "three", "D": "four"}
    return {"id": f"q{number}", "question": "Which?", "options": options, "answer": "B", **changes}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose empty manifest vouches for nothing."""
    (tmp_path / "manifest.json").write_text('{"files": {}}')
    return tmp_path


@pytest.mark.parametrize(("name", "split"), PUBLISHED)
def test_real_sets_have_the_published_sizes_and_labels(
    data_dir: Path, name: str, split: str
) -> None:
    dataset = open_source(data_dir).load(name, split)
    rows, labels = PUBLISHED[name, split]
    assert dataset.num_rows == rows
    assert Counter(example.answer for example in dataset.examples) == labels
    assert dataset.checksum == "ok"
    assert (dataset.benchmark.name, dataset.split) == (name, split)


def test_every_split_of_every_benchmark_is_tested() -> None:
    listed = {(name, split) for name in BENCHMARKS for split in BENCHMARKS.load(name).splits}
    assert listed == set(PUBLISHED)


def test_default_splits(data_dir: Path) -> None:
    source = open_source(data_dir)
    found = {name: (source.load(name).split, source.load(name).num_rows) for name in BENCHMARKS}
    assert found == {
        "pubmedqa": ("test", 500),
        "medqa_4options": ("test", 1273),
        "medqa_5options": ("test", 1273),
        "medmcqa": ("validation", 4183),
    }


def test_both_forms_of_medqa_ask_the_same_questions(data_dir: Path) -> None:
    source = open_source(data_dir)
    for split in ("dev", "test"):
        four = source.load("medqa_4options", split).examples
        five = source.load("medqa_5options", split).examples
        for a, b in zip(four, five, strict=True):
            assert (a.id, a.question) == (b.id, b.question)
            assert a.options[a.answer] == b.options[b.answer]
            assert Counter(a.options.values()) <= Counter(b.options.values())


def test_official_pubmedqa_split_follows_from_its_procedure(data_dir: Path) -> None:
    """Seed 0; per label in the order yes, no, maybe: shuffle, first half CV, second half test."""
    source = open_source(data_dir)
    everything = source.load("pubmedqa", "all").examples
    random.seed(0)
    test: set[str] = set()
    for label in ("yes", "no", "maybe"):
        ids = [example.id for example in everything if example.answer == label]
        random.shuffle(ids)
        test.update(ids[len(ids) // 2 :])
    assert {example.id for example in source.load("pubmedqa", "test").examples} == test
    cv = source.load("pubmedqa", "cv").examples
    assert not test & {example.id for example in cv}
    assert Counter(e.meta["cv_fold"] for e in cv) == dict.fromkeys(range(10), 50)


def test_conclusions_never_reach_an_example(data_dir: Path) -> None:
    text = gzip.decompress((data_dir / "pubmedqa" / "test.jsonl.gz").read_bytes()).decode()
    conclusions = [json.loads(line)["long_answer"] for line in text.splitlines()]
    dataset = open_source(data_dir).load("pubmedqa")
    for conclusion, example in zip(conclusions, dataset.examples, strict=True):
        assert conclusion not in dataset.benchmark.prompt(example)
        assert conclusion not in example.meta.values()
        assert "long_answer" not in example.meta


def test_training_questions_close_to_an_evaluated_one_are_left_out(data_dir: Path) -> None:
    source = open_source(data_dir)
    near = {}
    for name in BENCHMARKS:
        train = source.load(name, BENCHMARKS.load(name).fewshot_split)
        near[name] = train.num_rows - len(train.clean_examples)
    assert near == {"pubmedqa": 0, "medqa_4options": 6, "medqa_5options": 1, "medmcqa": 0}


def test_changed_file_is_refused_until_a_manifest_vouches_for_it(
    data_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "medqa" / "4options_dev.jsonl.gz"
    path.parent.mkdir()
    shutil.copyfile(data_dir / "medqa" / "4options_dev.jsonl.gz", path)
    source = open_source(tmp_path)
    before = source.load("medqa_4options", "dev")
    assert before.license.startswith("MIT")
    write(path, [question(1)])
    with pytest.raises(UserError) as error:
        source.load("medqa_4options", "dev")
    expected = manifest.packaged()["medqa/4options_dev.jsonl.gz"].sha256
    assert expected == before.sha256
    for part in (str(path), expected, "Fetch it again", "--write-manifest"):
        assert part in str(error.value)


def test_missing_folder_and_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder.*--data sample"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"medmcqa/validation\.jsonl\.gz does not exist"):
        open_source(tmp_path).load("medmcqa")


def test_unknown_split_and_benchmark(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown split of MedMCQA 'valid'.*'validation'"):
        open_source(tmp_path).load("medmcqa", "valid")
    with pytest.raises(UserError, match=r"unknown benchmark 'medmcq'.*'medmcqa'"):
        open_source(tmp_path).load("medmcq")


def test_rows_are_validated_with_file_and_line(folder: Path) -> None:
    path = write(folder / "medmcqa" / "validation.jsonl.gz", [question(1), question(2, answer="E")])
    with pytest.raises(UserError) as error:
        open_source(folder).load("medmcqa")
    assert str(error.value) == f"{path}, line 2: `answer` 'E' is none of the options A, B, C, D."


def test_duplicate_ids_name_both_lines(folder: Path) -> None:
    path = write(folder / "medmcqa" / "validation.jsonl.gz", [question(n) for n in (1, 2, 1)])
    with pytest.raises(UserError) as error:
        open_source(folder).load("medmcqa")
    assert str(error.value) == f"{path}, line 3: id 'q1' is already in line 1."


def test_empty_file(folder: Path) -> None:
    write(folder / "medmcqa" / "validation.jsonl.gz", [])
    with pytest.raises(UserError, match="holds no question"):
        open_source(folder).load("medmcqa")


def test_file_without_a_record_loads_as_unknown(folder: Path) -> None:
    write(folder / "medmcqa" / "validation.jsonl.gz", [question(1)])
    dataset = open_source(folder).load("medmcqa")
    assert (dataset.checksum, dataset.license) == ("unknown", "not stated")


def test_whole_training_set_is_preferred_to_a_part(folder: Path) -> None:
    write(folder / "medqa" / "train_partial_4options.jsonl.gz", [question(1)])
    source = open_source(folder)
    assert source.load("medqa_4options", "train").num_rows == 1
    write(folder / "medqa" / "train_4options.jsonl.gz", [question(1), question(2)])
    dataset = source.load("medqa_4options", "train")
    assert (dataset.file, dataset.num_rows) == ("medqa/train_4options.jsonl.gz", 2)


def test_broken_manifest(tmp_path: Path) -> None:
    write(tmp_path / "medmcqa" / "validation.jsonl.gz", [question(1)])
    (tmp_path / "manifest.json").write_text('{"files": {"x": {"sha": 1}}}')
    with pytest.raises(UserError, match=r"manifest\.json cannot be used.*--write-manifest"):
        open_source(tmp_path).load("medmcqa")
