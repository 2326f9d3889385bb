"""Train the classifier of triage, and say how well it does on conditions that it has not seen.

    python tools/train_triage.py                    # the report, and the weights into the package
    python tools/train_triage.py --report-only

Training and calibration use `tools/triage/corpus` and those of the development texts whose misses
may be read; halves that only give totals are left out. Conditions are kept apart: a text is judged
by a model that saw no text of its condition. It is judged as triage reads it: what counts of a
text, as a whole and in its parts, of which the most urgent decides. Columns that tell urgent texts
or cries for help from the others count for more, and what the layers before the classifier miss
weighs more in training than what they find. The weights that ship are then trained on all texts,
with the temperature found this way and with `LIMITS`. Everything is seeded; fits run to their end,
for one that is stopped early gives other alarms on a few texts. About six minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from galenic.assistant.triage.raising.classifier import (
    KINDS,
    WEIGHTS,
    Weights,
    urgency,
    windows,
    write_weights,
)
from galenic.assistant.triage.raising.features import BUCKETS, counts, tokens
from galenic.assistant.triage.raising.layers import RAISING, pieces
from galenic.assistant.triage.raising.self_harm import without_figures
from galenic.assistant.triage.reading import read
from galenic.assistant.triage.rules import prepared
from galenic.assistant.triage.triage import triage
from galenic.training.near import ComparedText, ScanConfig, Scanner

CORPUS = Path(__file__).parent / "triage" / "corpus"
DEVELOPMENT = Path(__file__).parents[1] / "tests" / "assistant" / "triage" / "data" / "development"
WHOLE = ("cries_and_poison", "emergencies", "lookalikes", "others")
"""Files of development texts whose misses may all be read; of the others, only some halves."""
READ_HALVES = ("dev", "tune")
SELF_HARM = {
    "suicidal_plain",
    "suicidal_oblique",
    "overdose_deliberate",
    "self_harm",
    "suicide_worry_other",
}
FOLDS, SEED = 5, 0
DEALS = 1
"""Ways in which conditions are dealt to folds; more take a minute and a half each."""
STRENGTH = 0.7
"""Inverse of the ridge penalty."""
TELLING, CRY_TELLING = 0.5, 0.7
"""How much more a column counts that tells emergencies from other texts, per unit of its absolute
log ratio, and the share of that for self-harm; as in naive Bayes features (Wang and Manning 2012,
https://aclanthology.org/P12-2018)."""
FEWEST_WORDS, FEWEST_LETTERS = 2, 3
"""Texts in which an n-gram must stand to count."""
LIMITS = {"emergency": 0.97, "today": 0.45, "self_harm": 0.35}
"""Thresholds of `urgency`, of the probability of today or worse, and of self-harm. They were
compared on the folds and on totals of all own sets, with all layers; the table is in LOG.md."""
MISSED, FOUND, CRY = 1.6, 0.7, 1.5
"""Weights in training: of an emergency that the other layers miss, of one that they find, and of a
text of self-harm; all other texts weigh 1."""
EVERYDAY, DEVELOPED = 2.0, 1.5
"""Factors on these for texts of everyday complaints and emergencies in the same tone, and for the
other development texts."""
EVERYDAY_FILES = ("eighth", "ninth", "train_7", "train_8")


@dataclass(frozen=True)
class Corpus:
    texts: list[str]
    tiers: np.ndarray
    conditions: np.ndarray
    self_harm: np.ndarray
    alike: np.ndarray
    """Alarming words, and not for today."""
    passage: np.ndarray
    """Of a leaflet: to be left alone however grave its words."""
    benign: np.ndarray
    """Look-alikes, general questions and small complaints: not for today."""
    weight: np.ndarray
    """Weight in training."""

    def truth(self) -> dict[str, np.ndarray]:
        """What each threshold is to find."""
        emergency = self.tiers == "emergency"
        today = emergency | (self.tiers == "today")
        return {"emergency": emergency, "today": today, "self_harm": self.self_harm}


@dataclass(frozen=True)
class Counted:
    words: sp.csr_matrix
    letters: sp.csr_matrix

    def __getitem__(self, rows: Any) -> Counted:
        return Counted(self.words[rows], self.letters[rows])


@dataclass(frozen=True)
class AsRead:
    """The runs of tokens that triage scores, of whole texts and of their parts."""

    counted: Counted
    of: np.ndarray
    """The row of the text."""
    factor: np.ndarray
    """By which a limit is multiplied for it."""

    def most(self, found: np.ndarray, texts: int) -> np.ndarray:
        """The highest of each text's values; 0 where nothing of a text is read."""
        highest = np.zeros(texts)
        np.maximum.at(highest, self.of, found / self.factor)
        return highest


def as_read(texts: Sequence[str]) -> AsRead:
    """What counts of each text, as `galenic.assistant.triage.raising.layers` hands it on."""
    ready = prepared(None)
    runs, of, factor = [], [], []
    for row, text in enumerate(texts):
        for piece, grown in pieces(read(without_figures(text), ready).counted):
            found = [counts(words) for words in windows(piece) if words]
            runs += found
            of += [row] * len(found)
            factor += [grown] * len(found)
    counted = Counted(*(_matrix([pair[part] for pair in runs]) for part in (0, 1)))
    return AsRead(counted, np.array(of), np.array(factor))


def read_corpus() -> Corpus:
    every = [(path.stem, row) for path in sorted(CORPUS.glob("*.jsonl")) for row in read_rows(path)]
    every += [(path.stem, _as_row(row, path.stem)) for path in sorted(DEVELOPMENT.glob("*.jsonl"))
              for row in read_rows(path) if _may_learn(row, path.stem)]  # fmt: skip
    rows = [row for _, row in every]
    tiers = np.array([row["tier"] for row in rows])
    conditions = np.array([row["condition"] for row in rows])
    urgent = np.isin(tiers, ["emergency", "today"])
    alike = np.array([row["lookalike"] for row in rows], dtype=bool)
    people = np.array([row["voice"] != "leaflet" for row in rows])
    cries = np.array([row.get("cry", row["condition"] in SELF_HARM) for row in rows], dtype=bool)
    self_harm = cries & urgent & ~alike
    benign = (alike | np.isin(tiers, ["general", "self-care"])) & ~urgent & people
    found = found_by_others([row["text"] for row in rows])
    weight = np.ones(len(rows))
    weight[tiers == "emergency"] = np.where(found, FOUND, MISSED)[tiers == "emergency"]
    weight[self_harm] = CRY
    weight *= [_factor(row, name) for name, row in every]
    return Corpus(
        texts=[row["text"] for row in rows],
        tiers=tiers,
        conditions=conditions,
        self_harm=self_harm,
        alike=alike & ~urgent & people,
        benign=benign,
        passage=~people,
        weight=weight,
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _may_learn(row: dict[str, Any], name: str) -> bool:
    """Whether a development text is English and not one that only gives totals."""
    readable = name in WHOLE or row.get("half") in READ_HALVES
    return readable and row.get("set") != "languages"


def _as_row(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A development text as one of the corpus; its kind is its condition."""
    urgent = row["tier"] in ("emergency", "today")
    cry = row.get("set") == "selfharm" or (name == "cries_and_poison" and row["kind"] == "sh")
    known = {"condition": f"{name}-{row['kind']}", "voice": "various", "lookalike": not urgent}
    return {"tier": row["tier"], "text": row["text"], "cry": cry, **known}


def _factor(row: dict[str, Any], name: str) -> float:
    """What the weight of a text is multiplied by, for the file that it is in."""
    if name in EVERYDAY_FILES:
        return 1.0 if row["tier"] == "today" else EVERYDAY
    return DEVELOPED if (DEVELOPMENT / f"{name}.jsonl").exists() else 1.0


def found_by_others(texts: Sequence[str]) -> np.ndarray:
    """Whether triage calls a text an emergency without the classifier."""
    others = [name for name in RAISING if name != "classifier"]
    return np.array([triage(text, layers=others).tier == "emergency" for text in texts])


def near_duplicates(texts: Sequence[str]) -> tuple[int, int]:
    """Texts that an earlier text equals, and those that one nearly equals."""
    passages = [ComparedText(str(at), "text", text) for at, text in enumerate(texts)]
    config = ScanConfig(near_words=6)  # most texts are short
    scanner = Scanner([("corpus", passages)], config)
    hits = [h for h in scanner.scan(passages) if h.train.row != h.test.row]
    pairs = [h for h in hits if int(h.test.row) < int(h.train.row)]
    same = {h.train.row for h in pairs if h.kind in ("exact", "normalised")}
    return len(same), len({h.train.row for h in pairs})


def count(texts: Sequence[str]) -> Counted:
    counted = [counts(tokens(text)) for text in texts]
    return Counted(*(_matrix([pair[part] for pair in counted]) for part in (0, 1)))


def _matrix(rows: Sequence[dict[int, int]]) -> sp.csr_matrix:
    starts = np.cumsum([0, *map(len, rows)])
    columns = np.fromiter((c for row in rows for c in row), np.int64, starts[-1])
    values = np.fromiter((v for row in rows for v in row.values()), np.float64, starts[-1])
    return sp.csr_matrix((values, columns, starts), shape=(len(rows), BUCKETS))


def rarity(counted: Counted) -> np.ndarray:
    """Inverse document frequency of each column; 0 where it is in too few texts to count."""
    found = np.zeros(BUCKETS)
    n = counted.words.shape[0]
    for matrix, fewest in ((counted.words, FEWEST_WORDS), (counted.letters, FEWEST_LETTERS)):
        frequency = np.bincount(matrix.indices, minlength=BUCKETS)
        weight = np.where(frequency >= fewest, np.log((1 + n) / (1 + frequency)) + 1, 0)
        found = np.maximum(found, weight)
    return found.astype(np.float16).astype(np.float64)  # as they are kept


def telling(counted: Counted, emergency: np.ndarray, cries: np.ndarray) -> np.ndarray:
    """`rarity`, raised for columns that are more, or less, frequent in emergencies or in cries."""
    held = (counted.words + counted.letters).astype(bool).astype(np.float64)
    ratio = np.zeros(BUCKETS)
    for inside, share in ((emergency, 1.0), (cries, CRY_TELLING)):
        of = [
            (np.asarray(held[one].sum(0)).ravel() + 1) / (one.sum() + 2)
            for one in (inside, ~inside)
        ]
        ratio = np.maximum(ratio, share * np.abs(np.log(of[0] / of[1])))
    idf = rarity(counted) * (1 + TELLING * ratio)
    return idf.astype(np.float16).astype(np.float64)  # as they are kept


def scaled(counted: Counted, idf: np.ndarray) -> sp.csr_matrix:
    """Rows as `classifier` makes them: words and letters of length 1 each, added."""
    parts = []
    for matrix in (counted.words, counted.letters):
        part = matrix.copy()
        part.data = (1 + np.log(part.data)) * idf[part.indices]
        lengths = np.sqrt(np.asarray(part.multiply(part).sum(1))).ravel()
        parts.append(sp.diags(1 / np.maximum(lengths, 1e-9)) @ part)
    return (parts[0] + parts[1]).tocsr()


def mixtures(corpus: Corpus, rows: np.ndarray, each: int) -> tuple[list[str], np.ndarray]:
    """Longer texts out of several: harmless ones together, and an urgent one among harmless ones.

    They only measure: trained on, they cost more recall on single texts than they bring. Returns
    the texts and, for each, the row whose tier it has.
    """
    chance = np.random.default_rng(SEED)
    harmless = rows[corpus.benign[rows]]
    urgent = rows[np.isin(corpus.tiers[rows], ["emergency", "today"])]
    texts: list[str] = []
    kept: list[int] = []
    for at in range(2 * each):
        leading = chance.choice(harmless if at % 2 else urgent)
        others = chance.choice(harmless, chance.integers(1, 4), replace=False)
        parts = [corpus.texts[one] for one in (leading, *others)]
        texts.append(" ".join(parts[one] for one in chance.permutation(len(parts))))
        kept.append(leading)
    return texts, np.array(kept, dtype=np.int64)


def fit(counted: Counted, corpus: Corpus, rows: np.ndarray) -> Weights:
    """Two linear models in one table: five kinds of urgency, and self-harm."""
    idf = telling(counted[rows], corpus.tiers[rows] == "emergency", corpus.self_harm[rows])
    made = scaled(counted[rows], idf)
    used = np.flatnonzero(idf)
    table, bias = np.zeros((BUCKETS, len(KINDS) + 1)), np.zeros(len(KINDS) + 1)
    weight = corpus.weight[rows]
    kinds = _logistic().fit(made[:, used], corpus.tiers[rows], sample_weight=weight)
    order = [list(kinds.classes_).index(kind) for kind in KINDS]
    table[used, :-1], bias[:-1] = kinds.coef_[order].T, kinds.intercept_[order]
    harm = _logistic().fit(made[:, used], corpus.self_harm[rows], sample_weight=weight)
    table[used, -1], bias[-1] = harm.coef_[0], harm.intercept_[0]
    return Weights.from_floats(idf, table, bias)


def _logistic() -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, max_iter=1500, tol=2e-5, random_state=SEED)


def score(weights: Weights, counted: Counted) -> np.ndarray:
    """What the weights say of each text before calibration, shape (n, kinds + 1)."""
    rows = scaled(counted, weights.rarity.astype(np.float64))
    return rows @ (weights.table * weights.scale) + weights.bias


def softmax(scores: np.ndarray, temperature: float) -> np.ndarray:
    raised = np.exp((scores - scores.max(1, keepdims=True)) / temperature)
    return raised / raised.sum(1, keepdims=True)


def best_temperature(scores: np.ndarray, tiers: np.ndarray) -> float:
    right = np.array([KINDS.index(tier) for tier in tiers])

    def loss(temperature: float) -> float:
        found = softmax(scores, temperature)[np.arange(len(right)), right]
        return float(-np.log(found + 1e-12).mean())

    return float(minimize_scalar(loss, bounds=(0.1, 5), method="bounded").x)


def harm_calibration(scores: np.ndarray, harm: np.ndarray) -> tuple[float, float]:
    """Platt's scale and shift."""
    fitted = LogisticRegression(C=1e6).fit(scores[:, None], harm)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def signals(scores: np.ndarray, temperature: float, platt: tuple[float, float]) -> dict[str, Any]:
    """What thresholds stand on: urgency, and the probabilities of today or worse and self-harm."""
    kinds = softmax(scores[:, :-1], temperature)
    harm = 1 / (1 + np.exp(-(platt[0] * scores[:, -1] + platt[1])))
    urgent = urgency(kinds[:, 0], kinds[:, 1])
    return {"emergency": urgent, "today": kinds[:, 0] + kinds[:, 1], "self_harm": harm}


def expected_calibration_error(p: np.ndarray, happened: np.ndarray, bins: int = 10) -> float:
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    parts = [
        abs(p[bin_of == b].mean() - happened[bin_of == b].mean()) * (bin_of == b).mean()
        for b in range(bins)
        if (bin_of == b).any()
    ]
    return float(sum(parts))


def held_out(
    counted: Counted, parts: AsRead, corpus: Corpus, deal: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores by a model without the text's condition: of each text, and of each run of tokens that
    is read of it; and the fold that a text was in."""
    scores = np.zeros((len(corpus.texts), len(KINDS) + 1))
    of_parts = np.zeros((len(parts.of), len(KINDS) + 1))
    fold_of = folds(corpus.conditions, deal)
    for fold in range(FOLDS):
        test = fold_of == fold
        weights = fit(counted, corpus, np.flatnonzero(~test))
        scores[test] = score(weights, counted[test])
        inside = np.flatnonzero(test[parts.of])
        of_parts[inside] = score(weights, parts.counted[inside])
    return scores, of_parts, fold_of


def read_signals(
    of_parts: np.ndarray, parts: AsRead, texts: int, temperature: float, platt: tuple[float, float]
) -> dict[str, Any]:
    """The signals of each text as triage reads it."""
    found = signals(of_parts, temperature, platt)
    return {name: parts.most(values, texts) for name, values in found.items()}


def mixed_report(counted: Counted, corpus: Corpus, limit: float, temperature: float) -> None:
    """Emergencies among harmless sentences, and harmless sentences, of conditions not seen."""
    test = folds(corpus.conditions) == 0
    weights = fit(counted, corpus, np.flatnonzero(~test))
    texts, leading = mixtures(corpus, np.flatnonzero(test), 300)
    kinds = softmax(score(weights, count(texts))[:, :-1], temperature)
    raised = urgency(kinds[:, 0], kinds[:, 1]) >= limit
    emergency = corpus.tiers[leading] == "emergency"
    harmless = corpus.benign[leading]
    print(
        f"mixtures of unseen conditions: {raised[emergency].mean():.3f} of {emergency.sum()} with "
        f"an emergency raised, {raised[harmless].mean():.3f} of {harmless.sum()} harmless ones"
    )


def folds(conditions: np.ndarray, deal: int = 0) -> np.ndarray:
    """A fold for each text: conditions dealt out like cards, those of self-harm one to a fold."""
    names = sorted(set(conditions))
    np.random.default_rng(SEED + deal).shuffle(names)
    names.sort(key=lambda name: name not in SELF_HARM)
    place = {name: at % FOLDS for at, name in enumerate(names)}
    return np.array([place[name] for name in conditions])


def report(
    scores: np.ndarray, of_parts: np.ndarray, fold_of: np.ndarray, parts: AsRead, corpus: Corpus
) -> None:
    """Recall and false alarms of texts as triage reads them; the calibration comes from the other
    folds each time."""
    raised = {name: np.zeros(len(corpus.texts), bool) for name in LIMITS}
    p = {name: np.zeros(len(corpus.texts)) for name in LIMITS}
    truth = corpus.truth()
    for fold in range(FOLDS):
        rest, test = fold_of != fold, fold_of == fold
        temperature = best_temperature(scores[rest, :-1], corpus.tiers[rest])
        platt = harm_calibration(scores[rest, -1], corpus.self_harm[rest])
        found = read_signals(of_parts, parts, len(corpus.texts), temperature, platt)
        whole = signals(scores, temperature, platt)
        for name, limit in LIMITS.items():
            raised[name][test] = found[name][test] >= limit
            p[name][test] = whole[name][test]
    emergency = corpus.tiers == "emergency"
    alarm = {
        "benign": corpus.benign,
        "look-alikes": corpus.alike,
        "general": (corpus.tiers == "general") & ~corpus.passage,
        "passages": corpus.passage,
        "self-care": corpus.tiers == "self-care",
        "days": corpus.tiers == "days",
        "today": corpus.tiers == "today",
    }
    for name, true in truth.items():
        shares = ", ".join(f"{k} {raised[name][v].mean():.3f}" for k, v in alarm.items())
        print(
            f"raise to {name}: recall {raised[name][true].mean():.3f} of {true.sum()}, "
            f"AUC {roc_auc_score(true, p[name]):.3f}, "
            f"calibration error {expected_calibration_error(p[name], true):.3f}; raised of {shares}"
        )
    either = raised["emergency"] | raised["today"] | raised["self_harm"]
    print(f"emergencies raised to today at least: {either[emergency].mean():.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report-only", action="store_true", help="write no weights")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="the file of the weights")
    options = parser.parse_args()
    corpus = read_corpus()
    n = len(corpus.texts)
    print(f"{n} texts of {len(set(corpus.conditions))} conditions; {corpus.benign.sum()} benign")
    counted, parts = count(corpus.texts), as_read(corpus.texts)
    every = []
    for deal in range(DEALS):
        scores, of_parts, fold_of = held_out(counted, parts, corpus, deal)
        report(scores, of_parts, fold_of, parts, corpus)
        every.append((scores, of_parts))
    scores = np.concatenate([one for one, _ in every])
    temperature = best_temperature(scores[:, :-1], np.tile(corpus.tiers, DEALS))
    platt = harm_calibration(scores[:, -1], np.tile(corpus.self_harm, DEALS))
    print(f"temperature {temperature:.3f}, Platt {platt[0]:.3f} {platt[1]:.3f}, {LIMITS}")
    if options.report_only:
        same, near = near_duplicates(corpus.texts)
        print(f"near-duplicates {near} ({near / n:.2%}), of them {same} the same words")
        mixed_report(counted, corpus, LIMITS["emergency"], temperature)
        return
    weights = fit(counted, corpus, np.arange(n))
    write_weights(weights.calibrated(temperature, platt, LIMITS), options.output)
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
