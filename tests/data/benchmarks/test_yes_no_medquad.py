"""The yes/no exam on MedQuAD: balanced, not told by its words, asked as PubMedQA is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from galenic.data.benchmarks import Benchmark
from galenic.data.benchmarks.custom import custom_benchmark
from galenic.data.calibration import MEDQUAD, read_medquad
from galenic.data.jsonl import encode_gzip
from galenic.data.sources import open_source
from galenic.registry import BENCHMARKS

BENCHMARK_SCRIPTS = Path(__file__).parents[3] / "benchmarks"
SCRIPT = BENCHMARK_SCRIPTS / "yes_no_medquad.py"


@pytest.fixture(scope="module")
def script() -> Any:
    sys.path.insert(0, str(BENCHMARK_SCRIPTS))
    try:
        import yes_no_medquad
    finally:
        sys.path.remove(str(BENCHMARK_SCRIPTS))
    return yes_no_medquad


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_questions_are_balanced_and_distinct(script: Any) -> None:
    rows = script.questions()
    assert Counter(row["answer"] for row in rows) == {"yes": 100, "no": 100}
    for name in ("id", "medquad", "question"):
        assert len({row[name] for row in rows}) == 200
    assert {tuple(row) for row in rows} == {("id", "medquad", "question", "answer")}
    assert all(row["question"].endswith("?") for row in rows)
    words = {
        label: [len(row["question"].split()) for row in rows if row["answer"] == label]
        for label in ("yes", "no")
    }
    assert abs(sum(words["yes"]) - sum(words["no"])) < 100  # less than a word a question


@pytest.mark.slow
def test_words_of_a_question_do_not_tell_its_answer(script: Any) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline

    rows = script.questions()
    texts, labels = [row["question"] for row in rows], [row["answer"] for row in rows]
    for ngrams in ((1, 1), (1, 2)):
        model = make_pipeline(
            CountVectorizer(ngram_range=ngrams), LogisticRegression(max_iter=1000)
        )
        found = [
            cross_val_score(
                model, texts, labels, cv=StratifiedKFold(10, shuffle=True, random_state=s)
            )
            for s in range(3)
        ]
        assert sum(map(sum, found)) / 30 <= 0.58
        assert max(map(sum, found)) / 10 <= 0.6


def test_passages_end_with_a_sentence(script: Any) -> None:
    text = 'One  two.\nIt is "three." The U.S. Army rests! - Last item'
    assert script.passage(text) == " ".join(text.split())
    assert script.passage(text, 8) == 'One two. It is "three."'
    assert script.passage(text, 9) == 'One two. It is "three." The U.S. Army rests!'
    assert script.passage(text, 5) == 'One two. It is "three."'
    assert script.passage(text, 4) == "One two."
    assert script.passage("no end here at all", 3) == "no end here"


@pytest.mark.slow
def test_the_exam_is_asked_as_pubmedqa(script: Any, data_dir: Path, tmp_path: Path) -> None:
    if not (data_dir / MEDQUAD).exists():
        pytest.skip("no MedQuAD")
    file = tmp_path / "exam.jsonl"
    done = run("--data", data_dir, "-o", file)
    assert (done.returncode, done.stdout) == (0, f"{file}: 200 questions\n"), done.stderr
    dataset = open_source("sample").load(custom_benchmark(file))
    pubmedqa: Benchmark = BENCHMARKS.load("pubmedqa")
    apart = {pair.id for pair in read_medquad(data_dir, "heldout")[1]}
    for example in dataset.examples:
        assert dataset.benchmark.prompt(example) == pubmedqa.prompt(example)
        assert example.context and len(example.context.split()) <= script.MOST_WORDS
        assert list(example.options) == ["yes", "no", "maybe"]
        assert example.meta["medquad"] in apart  # no topic that training on MedQuAD reads


@pytest.mark.slow
def test_missing_data_is_one_clear_error(script: Any, tmp_path: Path) -> None:
    done = run("--data", tmp_path, "-o", tmp_path / "exam.jsonl")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ") and "medquad.jsonl.gz does not exist" in done.stderr
    assert not (tmp_path / "exam.jsonl").exists()
    row = {"id": "x", "question": "What?", "answer": "That."}
    (tmp_path / "medquad").mkdir()
    (tmp_path / "medquad/medquad.jsonl.gz").write_bytes(encode_gzip([row]))
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {}}))
    done = run("--data", tmp_path, "-o", tmp_path / "exam.jsonl")
    first = script.questions()[0]
    assert done.returncode == 2 and f"no row '{first['medquad']}'" in done.stderr
