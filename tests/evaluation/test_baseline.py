"""The majority rows against the paper's table 2 and against scikit-learn's DummyClassifier."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score, precision_score

from galenic.data.sources import open_source
from galenic.errors import UserError
from galenic.evaluation import baseline


@pytest.fixture(scope="module")
def rows(data_dir: Path) -> dict[tuple[str, str], baseline.BaselineRow]:
    found, missing = baseline.baseline_rows(open_source(data_dir))
    assert missing == []
    return {(row.benchmark, row.split): row for row in found}


Rows = dict[tuple[str, str], baseline.BaselineRow]


def test_the_paper_rows_come_out_to_four_places(rows: Rows) -> None:
    # Table 2 of "Prescription for Efficiency": accuracy, precision, recall, F1.
    dev = rows["medqa_5options", "dev"]
    assert dev.paper_columns == (0.2193, 0.0481, 0.2193, 0.0789)
    assert (dev.majority, dev.n) == ("B", 1272)
    validation = rows["medmcqa", "validation"]
    assert validation.paper_columns == (0.3223, 0.1038, 0.3223, 0.1571)
    assert (validation.majority, validation.n) == ("A", 4183)
    checks = {key: baseline.reproduces_paper(row) for key, row in rows.items()}
    assert checks == {
        key: True if key in {("medqa_5options", "dev"), ("medmcqa", "validation")} else None
        for key in baseline.SPLITS
    }


def test_the_official_pubmedqa_test_is_not_the_paper_row(rows: Rows) -> None:
    for split in ("test", "cv"):
        row = rows["pubmedqa", split]
        assert (row.n, row.majority, row.accuracy) == (500, "yes", 0.552)
        assert row.paper_columns != baseline.PAPER_PUBMEDQA


def test_every_row_equals_scikit_learn(rows: Rows, data_dir: Path) -> None:
    for (name, split), row in rows.items():
        dataset = open_source(data_dir).load(name, split)
        gold = [example.answer for example in dataset.examples]
        dummy = DummyClassifier(strategy="most_frequent").fit([[0]] * len(gold), gold)
        predicted = list(dummy.predict([[0]] * len(gold)))
        options = {"average": "weighted", "zero_division": 0}
        assert row.weighted_precision == pytest.approx(precision_score(gold, predicted, **options))
        assert row.weighted_f1 == pytest.approx(f1_score(gold, predicted, **options))
        macro = f1_score(gold, predicted, average="macro", zero_division=0)
        assert row.macro_f1 == pytest.approx(macro)
        assert row.accuracy == dummy.score([[0]] * len(gold), gold)
        assert row.uniform == pytest.approx(1 / len(dataset.examples[0].options))


def test_a_folder_with_one_set_gives_its_row_and_names_the_rest(
    tmp_path: Path, data_dir: Path
) -> None:
    (tmp_path / "medmcqa").mkdir()
    name = "medmcqa/validation.jsonl.gz"
    (tmp_path / name).write_bytes((data_dir / name).read_bytes())
    found, missing = baseline.baseline_rows(open_source(tmp_path))
    assert [(row.benchmark, row.n) for row in found] == [("medmcqa", 4183)]
    assert len(missing) == len(baseline.SPLITS) - 1
    assert name not in missing


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds none of pubmedqa/test\.jsonl\.gz"):
        baseline.baseline_rows(open_source(tmp_path))


def test_the_packaged_sample_is_not_held_against_the_paper() -> None:
    found, missing = baseline.baseline_rows(open_source("sample"))
    assert {row.benchmark for row in found} == {name for name, _ in baseline.SPLITS}
    assert missing == []
    assert {baseline.reproduces_paper(row) for row in found} == {None}
