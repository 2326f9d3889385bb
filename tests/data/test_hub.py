"""The Hub's own row formats, written by hand, through the whole path but the download itself."""

import dataclasses
import gzip
import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from galenic.data import hub
from galenic.data.rows import RowError
from galenic.data.sources import Dataset, open_source
from galenic.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SPLIT = json.loads((files("galenic.data") / "pubmedqa_split.json").read_text(encoding="utf-8"))


def pubmedqa_row(pmid: int, **changes: Any) -> dict[str, Any]:
    return {
        "pubid": pmid,
        "question": f"Is {pmid} odd?",
        "context": {
            "contexts": ["First part.", "Second part."],
            "labels": ["AIMS", "RESULTS"],
            "meshes": ["Adult"],
            "reasoning_required_pred": ["y", "e", "s"],
            "reasoning_free_pred": ["n", "o"],
        },
        "long_answer": "It gives the answer away.",
        "final_decision": "yes" if pmid % 2 else "no",
        **changes,
    }


def medmcqa_row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"uuid-{number}",
        "question": " Which bone? ",
        "opa": "Ulna",
        "opb": "Radius",
        "opc": "Tibia",
        "opd": "Femur ",
        "cop": number % 4,
        "choice_type": "single",
        "exp": None,
        "subject_name": "Anatomy",
        "topic_name": None,
        **changes,
    }


def medqa_row(number: int, options: object) -> dict[str, Any]:
    return {
        "meta_info": "step1",
        "question": f"Case {number}. What now?\n",
        "answer_idx": "B",
        "answer": "two",
        "options": options,
    }


FOUR = {"A": "one", "B": "two", "C": "three", "D": 'four\n"'}
FIVE = [{"key": k, "value": v} for k, v in {**FOUR, "D": "four", "E": 'five \n"'}.items()]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache whose Hub is a local folder; ``hits.txt`` there counts the downloads."""
    remote = tmp_path / "remote"
    remote.mkdir()

    def commit(repo: str, revision: str) -> str:
        with (remote / "hits.txt").open("a") as hits:
            hits.write(f"{repo} {revision}\n")
        return COMMIT

    monkeypatch.setattr(hub, "_commit", commit)
    monkeypatch.setattr(hub, "_address", lambda repo, commit: f"{remote}/{repo}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return remote


def offer(remote: Path, repo: str, file: str, rows: list[dict[str, Any]]) -> None:
    import datasets

    path = remote / repo / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        datasets.Dataset.from_list(rows).to_parquet(str(path))


def expect_rows(monkeypatch: pytest.MonkeyPatch, name: str, rows: int) -> None:
    smaller = dataclasses.replace(hub.HUB_SETS[name], num_rows=rows)
    monkeypatch.setitem(hub.HUB_SETS, name, smaller)  # type: ignore[arg-type]


def load(name: str, split: str | None = None) -> Dataset:
    return open_source(None).load(name, split)


def test_every_split_but_partial_ones_has_a_place_on_the_hub() -> None:
    from galenic.data.sources import whole
    from galenic.registry import BENCHMARKS

    wanted = {whole(f) for name in BENCHMARKS for f in BENCHMARKS.load(name).splits.values()}
    assert wanted == set(hub.HUB_SETS)


def test_pubmedqa_is_divided_by_the_official_lists() -> None:
    pmids = [*SPLIT["test"], *(pmid for fold in SPLIT["cv_folds"] for pmid in fold)]
    assert len(set(pmids)) == 1000
    out = hub.convert_pubmedqa([pubmedqa_row(pmid) for pmid in sorted(pmids)])
    assert {name: len(rows) for name, rows in out.items()} == {
        "pubmedqa/test.jsonl.gz": 500,
        "pubmedqa/cv.jsonl.gz": 500,
        "pubmedqa/all.jsonl.gz": 1000,
    }
    first = out["pubmedqa/test.jsonl.gz"][0]
    assert first["id"] == f"pubmedqa-{SPLIT['test'][0]}"
    assert first["context"] == "First part.\nSecond part."
    assert (first["reasoning_required_pred"], first["reasoning_free_pred"]) == ("yes", "no")
    assert "long_answer" not in first
    assert [row["cv_fold"] for row in out["pubmedqa/cv.jsonl.gz"]] == sorted(list(range(10)) * 50)
    for odd in ("x", float("nan"), float("inf"), None, [1]):
        with pytest.raises(hub.MISSHAPEN):
            hub.convert_pubmedqa([pubmedqa_row(1) | {"pubid": odd}])
    with pytest.raises(RowError, match=r"PMID \d+ of the official split is not there"):
        hub.convert_pubmedqa([pubmedqa_row(pmid) for pmid in pmids[1:]])


def test_packaged_split_is_the_official_one(data_dir: Path) -> None:
    official = json.loads((data_dir / "pubmedqa" / "official_split.json").read_text())
    assert [str(pmid) for pmid in SPLIT["test"]] == official["test"]
    folds = [[str(pmid) for pmid in fold] for fold in SPLIT["cv_folds"]]
    assert folds == official["cv_folds_dev"]


def test_medmcqa_counts_from_zero() -> None:
    out = hub.convert_medmcqa([medmcqa_row(n) for n in range(4)], file="f", split="validation")
    assert [row["answer"] for row in out["f"]] == ["A", "B", "C", "D"]
    first = out["f"][0]
    assert first["id"] == "medmcqa-uuid-0"
    assert first["question"] == "Which bone?"
    assert first["options"] == {"A": "Ulna", "B": "Radius", "C": "Tibia", "D": "Femur"}
    hidden = hub.convert_medmcqa([medmcqa_row(1, cop=-1)], file="f", split="test")
    assert hidden["f"][0]["answer"] is None


@pytest.mark.parametrize(("options", "count"), [(FOUR, 4), (FIVE, 5)])
def test_medqa_options_as_object_or_list(options: object, count: int) -> None:
    out = hub.convert_medqa([medqa_row(0, options)], file="f", split="dev", num_options=count)
    (row,) = out["f"]
    assert list(row["options"].values()) == ["one", "two", "three", "four", "five"][:count]
    assert (row["id"], row["answer"]) == ("medqa-us-dev-00000", "B")
    assert row["question"] == "Case 0. What now?"
    with pytest.raises(RowError, match="row 0 has the options"):
        hub.convert_medqa([medqa_row(0, options)], file="f", split="dev", num_options=9 - count)


def test_parquet_to_examples_and_never_fetched_twice(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    expect_rows(monkeypatch, "medmcqa/validation.jsonl.gz", 6)
    rows = [medmcqa_row(n) for n in range(6)]
    offer(cache, "openlifescienceai/medmcqa", "data/validation-00000-of-00001.parquet", rows)
    dataset = load("medmcqa")
    assert [example.answer for example in dataset.examples] == list("ABCDAB")
    assert (dataset.checksum, dataset.license) == ("ok", "Apache-2.0")
    manifest = json.loads((hub.data_cache() / "manifest.json").read_text())["files"]
    facts = manifest["medmcqa/validation.jsonl.gz"]
    assert facts["rows"] == 6
    assert f"openlifescienceai/medmcqa (Hugging Face Hub) at {COMMIT}" in facts["origin"]
    assert facts["sha256"] == dataset.sha256
    load("medmcqa")
    assert (cache / "hits.txt").read_text() == "openlifescienceai/medmcqa main\n"
    # A file that is damaged later is fetched again.
    (hub.data_cache() / "medmcqa" / "validation.jsonl.gz").write_bytes(b"damaged")
    assert load("medmcqa").sha256 == dataset.sha256
    assert len((cache / "hits.txt").read_text().splitlines()) == 2


def test_pubmedqa_and_both_medqa_repositories(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    pmids = [*SPLIT["test"], *(pmid for fold in SPLIT["cv_folds"] for pmid in fold)]
    file = "pqa_labeled/train-00000-of-00001.parquet"
    offer(cache, "qiaojin/PubMedQA", file, [pubmedqa_row(pmid) for pmid in pmids])
    offer(
        cache,
        "GBaker/MedQA-USMLE-4-options",
        "phrases_no_exclude_test.jsonl",
        [{**medqa_row(n, FOUR), "metamap_phrases": ["case"]} for n in range(3)],
    )
    offer(
        cache,
        "bigbio/med_qa",
        "med_qa_en_source/validation/0000.parquet",
        [medqa_row(n, FIVE) for n in range(4)],
    )
    expect_rows(monkeypatch, "medqa/4options_test.jsonl.gz", 3)
    expect_rows(monkeypatch, "medqa/5options_dev.jsonl.gz", 4)
    assert load("pubmedqa").num_rows == 500
    assert load("pubmedqa", "cv").num_rows == 500
    four = load("medqa_4options")
    assert dict(four.examples[0].options) == {**FOUR, "D": "four"}
    five = load("medqa_5options", "dev")
    assert list(five.examples[3].options.values()) == ["one", "two", "three", "four", "five"]
    assert (cache / "hits.txt").read_text().splitlines() == [
        "qiaojin/PubMedQA main",
        "GBaker/MedQA-USMLE-4-options main",
        "bigbio/med_qa refs/convert/parquet",
    ]


def test_real_rows_come_back_from_the_format_of_the_hub(data_dir: Path) -> None:
    """Local validation rows, written as the Hub has them, convert to the same examples."""
    packed = (data_dir / "medmcqa" / "validation.jsonl.gz").read_bytes()
    local = [json.loads(line) for line in gzip.decompress(packed).decode().splitlines()[:500]]
    rows = [
        {
            **{name: row[name] for name in ("exp", "subject_name", "topic_name", "choice_type")},
            **{f"op{letter.lower()}": row["options"][letter] for letter in "ABCD"},
            "id": row["id"].removeprefix("medmcqa-"),
            "question": row["question"],
            "cop": "ABCD".index(row["answer"]),
        }
        for row in local
    ]
    file = "medmcqa/validation.jsonl.gz"
    assert hub.convert_medmcqa(rows, file=file, split="validation")[file] == local


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([medmcqa_row(0)] * 2, "holds 2 rows, expected 3"),
        ([medmcqa_row(n, id=f"{n}", cop=-1) for n in range(3)], "row 0: `answer` is missing"),
        ([{"id": str(n), "question": "?"} for n in range(3)], "not laid out as expected"),
        ([medmcqa_row(1, id="same")] * 3, "id 'medmcqa-same' is there twice"),
        ([medmcqa_row(n, id=f"{n}", exp=float("nan")) for n in range(3)], "no text"),
        ([medmcqa_row(n, id=f"{n}", exp=b"x") for n in range(3)], "no text"),
    ],
)
def test_changed_copy_is_refused_and_nothing_is_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], problem: str
) -> None:
    pytest.importorskip("datasets")
    expect_rows(monkeypatch, "medmcqa/validation.jsonl.gz", 3)
    offer(cache, "openlifescienceai/medmcqa", "data/validation-00000.parquet", rows)
    with pytest.raises(UserError, match=problem):
        load("medmcqa")
    assert not list(hub.data_cache().rglob("*.jsonl.gz"))
    assert not (hub.data_cache() / "manifest.json").exists()


def test_broken_training_rows_are_left_out_and_counted(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("datasets")
    expect_rows(monkeypatch, "medmcqa/train.jsonl.gz", 3)
    rows = [medmcqa_row(0), medmcqa_row(1, opc=" "), medmcqa_row(2)]
    offer(cache, "openlifescienceai/medmcqa", "data/train-00000.parquet", rows)
    dataset = load("medmcqa", "train")
    assert [example.id for example in dataset.examples] == ["medmcqa-uuid-0", "medmcqa-uuid-2"]
    assert "row 1 is left out: option 'C' is empty" in caplog.text
    manifest = json.loads((hub.data_cache() / "manifest.json").read_text())["files"]
    assert "1 invalid rows left out" in manifest["medmcqa/train.jsonl.gz"]["origin"]


def test_no_answer_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")

    def fail(repo: str, revision: str) -> str:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(hub, "_commit", fail)
    with pytest.raises(UserError, match=r"did not give qiaojin/PubMedQA .*name a folder .*--data"):
        load("pubmedqa")


def test_a_download_that_may_stay_damaged_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "_commit", lambda repo, revision: 1 / 0)
    monkeypatch.setattr(hub, "_hub_errors", lambda: (ZeroDivisionError,))
    with pytest.raises(UserError, match=r"with the package\.$"):
        load("pubmedqa")
    copy = tmp_path / "datasets--qiaojin--PubMedQA"
    copy.mkdir()
    with pytest.raises(UserError, match=f"delete {copy} first"):
        load("pubmedqa")


def test_http_errors_of_the_hub_library_are_among_those_caught() -> None:
    pytest.importorskip("datasets")
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    for error in (HfHubHTTPError, RepositoryNotFoundError, EntryNotFoundError):
        assert issubclass(error, hub._hub_errors())


def test_without_the_extra_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "datasets" else real(name)
    )
    with pytest.raises(UserError) as error:
        load("medmcqa")
    for part in ("'datasets'", "pip install 'galenic[hub]'", "--data", "--data sample"):
        assert part in str(error.value)


def test_one_command_brings_every_set_and_goes_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    from typer.testing import CliRunner

    from galenic.cli.main import app

    monkeypatch.delenv("GALENIC_DATA", raising=False)
    pmids = [*SPLIT["test"], *(pmid for fold in SPLIT["cv_folds"] for pmid in fold)]
    file = "pqa_labeled/train-00000-of-00001.parquet"
    offer(cache, "qiaojin/PubMedQA", file, [pubmedqa_row(pmid) for pmid in pmids])
    four, five = [medqa_row(n, FOUR) for n in range(3)], [medqa_row(n, FIVE) for n in range(3)]
    lines = [{**row, "metamap_phrases": ["case"]} for row in four]
    offer(cache, "GBaker/MedQA-USMLE-4-options", "phrases_no_exclude_test.jsonl", lines)
    for config, split, rows in (
        ("med_qa_en_4options_source", "validation", four),
        ("med_qa_en_source", "validation", five),
        ("med_qa_en_source", "test", five),
    ):
        offer(cache, "bigbio/med_qa", f"{config}/{split}/0000.parquet", rows)
    for name in ("4options_test", "4options_dev", "5options_dev", "5options_test"):
        expect_rows(monkeypatch, f"medqa/{name}.jsonl.gz", 3)
    expect_rows(monkeypatch, "medmcqa/validation.jsonl.gz", 6)
    first = CliRunner().invoke(app, ["data", "--download"])  # MedMCQA does not come
    assert "did not give openlifescienceai/medmcqa" in str(first.exception)
    hits = (cache / "hits.txt").read_text()
    rows = [medmcqa_row(n) for n in range(6)]
    offer(cache, "openlifescienceai/medmcqa", "data/validation-00000-of-00001.parquet", rows)
    second = CliRunner().invoke(app, ["data", "--download"])
    assert second.exit_code == 0, second.output
    later = (cache / "hits.txt").read_text().removeprefix(hits)
    assert later == "openlifescienceai/medmcqa main\n"  # the others are there
    assert "licence as stated: Apache-2.0" in " ".join(second.output.split())
    assert "MedMCQA" in second.output
    for words in (["--training"], ["--download", "--data", "sample"]):
        refused = CliRunner().invoke(app, ["data", *words])
        assert "--download" in str(refused.exception)
