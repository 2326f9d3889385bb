"""The numbers of a row against scikit-learn and against the records themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from galenic.reports.document import ReportDocument, build_report
from galenic.reports.rows import build_rows, group_of
from galenic.reports.runs import load_run, load_runs
from runs import write_run


def test_rows_come_in_the_order_of_the_run_plain_before_debiased(tmp_path: Path) -> None:
    write_run(
        tmp_path,
        benchmarks=["pubmedqa", "medmcqa"],
        scorings=["letter", "generate"],
        debias="permutations",
        num_items=12,
    )
    rows = build_rows(load_run(tmp_path))
    assert [(row.benchmark, row.scoring, row.debias) for row in rows] == [
        ("pubmedqa", "letter", "none"),
        ("pubmedqa", "generate", "none"),
        ("medmcqa", "letter", "none"),
        ("medmcqa", "letter", "permutations"),
        ("medmcqa", "generate", "none"),
    ]
    assert [row.title for row in rows][:3] == ["PubMedQA", "PubMedQA", "MedMCQA"]
    # Only the plain answer to shown options can flip; only scored answers have a confidence.
    assert [row.permutation is not None for row in rows] == [False, False, True, False, False]
    assert [row.calibration is not None for row in rows] == [True, False, True, True, False]


def test_numbers_equal_scikit_learn(tmp_path: Path) -> None:
    write_run(tmp_path, benchmarks=["medqa_5options"], scorings=["generate"], num_items=60)
    run = load_run(tmp_path)
    (row,) = build_rows(run)
    gold = [record.gold for record in run.records]
    predicted = [record.prediction or "unparsed" for record in run.records]
    labels = list("ABCDE")
    assert row.counts.labels == labels
    assert row.accuracy == pytest.approx(accuracy_score(gold, predicted))
    options = {"labels": labels, "zero_division": 0}
    assert row.macro_f1 == pytest.approx(f1_score(gold, predicted, average="macro", **options))
    assert row.weighted_f1 == pytest.approx(
        f1_score(gold, predicted, average="weighted", **options)
    )
    matrix = confusion_matrix(gold, predicted, labels=[*labels, "unparsed"])
    assert row.counts.confusion == matrix[:-1].tolist()
    right = sum(g == p for g, p in zip(gold, predicted, strict=True))
    wilson = binomtest(right, 60).proportion_ci(0.95, method="wilson")
    assert (row.low, row.high) == pytest.approx((wilson.low, wilson.high))
    majority = max(labels, key=gold.count)
    assert row.baselines.majority_label == majority
    assert row.baselines.majority == pytest.approx(gold.count(majority) / 60)
    assert row.baselines.difference == pytest.approx(row.accuracy - row.baselines.majority)
    assert row.baselines.difference_low < row.baselines.difference < row.baselines.difference_high
    assert row.baselines.uniform == pytest.approx(0.2)
    assert row.counts.unparsed == predicted.count("unparsed") > 0
    assert row.unparsed_rate == row.counts.unparsed / 60


def test_a_collapsed_model_is_told_and_sits_on_the_baseline(tmp_path: Path) -> None:
    (row,) = build_rows(load_run(write_run(tmp_path, position_bias=30, num_items=50)))
    assert row.collapse == ("A", 1.0)
    assert row.baselines.against_majority == "at"
    assert row.accuracy == row.counts.gold["A"] / 50


def test_skill_and_its_opposite_lie_above_and_below_the_majority(tmp_path: Path) -> None:
    (good,) = build_rows(load_run(write_run(tmp_path / "good", skill=6, num_items=80)))
    (bad,) = build_rows(load_run(write_run(tmp_path / "bad", skill=-6, num_items=80)))
    assert (good.baselines.against_majority, bad.baselines.against_majority) == ("above", "below")
    assert good.collapse is None


def test_position_bias_shows_in_the_permutation_numbers(tmp_path: Path) -> None:
    folder = write_run(tmp_path, debias="permutations", position_bias=30, skill=0, num_items=30)
    plain, debiased = build_rows(load_run(folder))
    assert plain.permutation is not None
    assert plain.permutation.position_shares == [1, 0, 0, 0]
    assert plain.permutation.flip_rate == plain.permutation.items_flipped == 1
    assert plain.collapse == ("A", 1.0)
    assert debiased.collapse is None


def test_a_stopped_run_has_fewer_than_planned(tmp_path: Path) -> None:
    (row,) = build_rows(load_run(write_run(tmp_path, num_items=20, keep=7)))
    assert (row.n, row.planned, row.complete) == (7, 20, False)


def test_the_curve_ends_at_the_error_rate(tmp_path: Path) -> None:
    (row,) = build_rows(load_run(write_run(tmp_path, num_items=500)))
    assert row.calibration is not None
    assert len(row.calibration.curve) == 100
    coverage, risk = row.calibration.curve[-1]
    assert (coverage, risk) == (1, pytest.approx(1 - row.accuracy))
    assert sum(entry[2] for entry in row.calibration.bins) == 500


def test_group_of_gives_the_records_behind_a_row(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, debias="permutations", num_items=15))
    for row in build_rows(run):
        records = group_of(run, row)
        assert {record.debias for record in records} == {row.debias}
        assert sum(record.correct for record in records) / 15 == row.accuracy


def test_report_puts_the_runs_side_by_side_and_survives_json(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / name, benchmarks=["pubmedqa", "medmcqa"], num_items=10, seed=seed)
        for seed, name in enumerate(["dense", "pruned"])
    ]
    report = build_report(load_runs(folders))
    assert [(row.benchmark, row.run) for row in report.rows] == [
        ("pubmedqa", "dense"),
        ("pubmedqa", "pruned"),
        ("medmcqa", "dense"),
        ("medmcqa", "pruned"),
    ]
    assert ReportDocument.model_validate_json(report.model_dump_json()) == report
    speed = report.runs[0].speed
    assert speed is not None
    assert (speed.sharing, speed.tokens_per_second) == (3, 250)
    assert speed.answers_per_second == pytest.approx(20 / 12)


def test_rows_without_timings_have_no_speed(tmp_path: Path) -> None:
    (write_run(tmp_path, num_items=5) / "timings.jsonl").unlink()
    assert build_report([load_run(tmp_path)]).runs[0].speed is None
