"""The questions shipped with the package: well-formed, balanced, honest about what they are."""

import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from galenic.data.benchmarks.select import resolve_benchmarks
from galenic.data.sources import Dataset, open_source
from galenic.registry import BENCHMARKS


@pytest.fixture(scope="module")
def sets() -> dict[str, Dataset]:
    return {name: open_source("sample").load(name) for name in BENCHMARKS}


def test_sizes_and_labels(sets: dict[str, Dataset]) -> None:
    assert 55 <= sum(d.num_rows for n, d in sets.items() if n != "medqa_4options") <= 65
    counts = {name: Counter(e.answer for e in d.examples) for name, d in sets.items()}
    assert counts["pubmedqa"] == {"yes": 11, "no": 6, "maybe": 3}
    assert counts["medqa_5options"] == dict.fromkeys("ABCDE", 4)
    assert counts["medmcqa"] == dict.fromkeys("ABCD", 5)
    assert set(counts["medqa_4options"]) == set("ABCD")
    assert max(counts["medqa_4options"].values()) <= 6


def test_ids_and_questions_are_unique_across_sample_and_training(sets: dict[str, Dataset]) -> None:
    for name, dataset in sets.items():
        train = open_source("sample").load(name, BENCHMARKS.load(name).fewshot_split)
        assert train.num_rows == 4
        everything = [*dataset.examples, *train.examples]
        assert len({e.id for e in everything}) == len(everything)
        assert len({e.question for e in everything}) == len(everything)


def test_option_texts_differ_and_answers_are_not_longer_as_a_rule(sets: dict[str, Dataset]) -> None:
    examples = [e for d in sets.values() for e in d.examples]
    for example in examples:
        texts = [text.casefold() for text in example.options.values()]
        assert len(set(texts)) == len(texts)
    lettered = [e for e in examples if "yes" not in e.options]
    longest = [e for e in lettered if len(e.options[e.answer]) == max(map(len, e.options.values()))]
    assert len(longest) < len(lettered) / 2  # "take the longest option" must not be a good rule


def test_four_options_are_the_five_without_a_wrong_one(sets: dict[str, Dataset]) -> None:
    pairs = zip(sets["medqa_4options"].examples, sets["medqa_5options"].examples, strict=True)
    for four, five in pairs:
        assert (four.id, four.question) == (five.id, five.question)
        assert four.options[four.answer] == five.options[five.answer]
        kept = [text for text in five.options.values() if text in four.options.values()]
        assert list(four.options.values()) == kept
        assert list(four.options) == list("ABCD")


def test_every_question_says_where_it_is_from(sets: dict[str, Dataset]) -> None:
    for name, dataset in sets.items():
        for example in dataset.examples:
            assert "Written for Galenic" in example.meta["source_note"]
            if name == "pubmedqa":
                assert "invented" in example.meta["source_note"]
                assert example.context is not None
                sentences = example.context.count(". ") + 1
                assert 3 <= sentences <= 6
                assert any(c.isdigit() for c in example.context)
        assert dataset.checksum == "packaged"
        assert dataset.license == "Apache-2.0"
        assert dataset.benchmark.title.endswith(", sample")
    assert all(e.meta["subject_name"] for e in sets["medmcqa"].examples)


def test_sample_as_a_benchmark_name_reads_the_package_whatever_the_source(tmp_path: Path) -> None:
    chosen = resolve_benchmarks(["sample"])
    assert [b.name for b in chosen] == list(BENCHMARKS)
    assert [open_source(tmp_path).load(b).file for b in chosen] == [
        f"sample/{name}.jsonl" for name in BENCHMARKS
    ]
    assert open_source(Path("sample")).load(chosen[0]).num_rows == 20


def test_files_are_ordinary_json_lines() -> None:
    folder = files("galenic.data") / "sample"
    for name in BENCHMARKS:
        text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
        assert text.endswith("}\n")
        assert all(json.loads(line)["question"].strip() for line in text.splitlines())
    assert "Apache-2.0" in (folder / "README.md").read_text(encoding="utf-8")
