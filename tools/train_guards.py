"""Train the learned layer of the guards, and say what it adds on phrases that it has not seen.

    python tools/train_guards.py                 # the report, and the weights into the package
    python tools/train_guards.py --report-only

Read are the development phrases and half a of the test set (tests/assistant/data), with the
statements of the handbook and the texts of the triage corpus as harmless. Half b of the test set,
of ``guards_kinds`` and of ``guards_alike`` is never read. In the report each file of phrases is
judged by a model that saw none of it, and harmless texts by one that saw none of their fold.
Everything is seeded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from galenic.assistant.guards.check import straight_sentences
from galenic.assistant.guards.learned import (
    BUCKETS,
    KINDS,
    WEIGHTS,
    Side,
    columns,
    probabilities,
    write_sides,
)
from galenic.assistant.handbook.load import entries

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests/assistant/data"
CORPUS = ROOT / "tools/triage/corpus"
FILES = ("guards", "development/guards", "development/guards_more", "development/guards_voices",
         "development/guards_fresh", "development/guards_kinds",
         "development/guards_plain", "development/guards_alike")  # fmt: skip
HALVED = ("guards", "development/guards_kinds", "development/guards_alike")
"""Files of which half b is never read."""
ABOUT_MEDICINES = ("alcohol_poisoning", "overdose", "suic", "self_harm", "medicine", "missed_pill")
"""Conditions of the corpus whose texts may be harmful."""
NAMES = {"stop": "stopping", "self-harm method": "self-harm", "method": "self-harm",
         "change-of-dose": "dose"}  # fmt: skip
"""Kinds as some files name them."""
STRENGTH = 10.0
"""Inverse of the ridge penalty."""
OTHERS = 0.3
"""Weight of a text that is harmless because of where it comes from."""
FOLDS = 5
QUESTIONS = ("development/questions", "development/warnings", "development/warnings_again")
TEMPLATES = """
can I take omeprazole with ramipril
can I take omeprazole and ramipril together
can you take omeprazole while pregnant
can I take omeprazole while breastfeeding
is omeprazole safe in pregnancy
can I take omeprazole on an empty stomach
can I take omeprazole with food
can I take omeprazole if I have asthma
should I take omeprazole in the morning or at night
is omeprazole better than ramipril
is omeprazole stronger than ramipril
what is the difference between omeprazole and ramipril
side effects of omeprazole
what are the side effects of omeprazole
can omeprazole cause a rash
does omeprazole make you tired
does omeprazole cause weight gain
what is omeprazole for
what is omeprazole used for
what does omeprazole do
how does omeprazole work
how long does omeprazole take to work
how long does omeprazole stay in the body
when does omeprazole start to work
which medicine for worms
which painkiller is best for a headache
what tablets help with hay fever
what helps without medicine
how to sleep better without tablets
how to lower blood pressure without medicine
can I drive while taking omeprazole
can I drink alcohol with omeprazole
can I drink coffee with omeprazole
can I have the flu jab while on omeprazole
can my child have omeprazole
can I give omeprazole to my daughter
can I give my 4 year old omeprazole
can I buy omeprazole without a prescription
do I need a prescription for omeprazole
is omeprazole addictive
is omeprazole an antibiotic
is omeprazole available as a liquid
how do I store omeprazole
where do I return old tablets
what if omeprazole does not help
does omeprazole interact with warfarin
does omeprazole affect the pill
why was I given omeprazole
why is omeprazole taken once a week
what happens at a medicines review
what does the writing on the box mean
how long does it take for omeprazole to work
how long does it take for omeprazole to kick in
how long does it take for a cold to go
how long does it take to get over flu
how long does it take to recover from an operation
how long does it take for stitches to dissolve
how long does tonsillitis last
how long does a cold take to go
when should I see a doctor about a cough
what is a normal blood pressure
what is a normal blood sugar
how much water should I drink
how much sleep do I need
how many calories are in an egg
how often should I have my eyes tested
how long before an operation must I not eat
how do I get rid of ants
how can I help a friend who self harms
how do I stop smoking
I take 20 mg of lisinopril and have a cough
I take 5 mg of amlodipine and my ankles swell
I am on 40 mg of omeprazole and still have pain
"""
"""Questions that are harmless, whatever the medicine."""
SAID = """
Ask your doctor before you stop the tablets.
Ask your doctor before you skip the tablets.
Ask your doctor before you leave out the tablets.
Ask your doctor before you come off the tablets.
Ask your doctor before you do without the tablets.
Ask your doctor before you replace the tablets.
Ask your doctor before you throw away the tablets.
Ask your doctor before you halve the tablets.
Ask your doctor before you miss the tablets.
Ask your doctor before you pause the tablets.
Ask your doctor before you change the tablets.
Ask your doctor before you cut down the tablets.
Do not stop insulin without asking your doctor.
Do not skip insulin without asking your doctor.
Do not leave out insulin without asking your doctor.
Do not come off insulin without asking your doctor.
Do not do without insulin without asking your doctor.
Do not replace insulin without asking your doctor.
Call a doctor if it does not get better.
Call the hospital if it does not get better.
Call an ambulance if it does not get better.
Call your midwife if it does not get better.
Most cases get better by themselves.
Never stop taking insulin.
Your doctor may stop the medicine.
Stop smoking.
In a study participants took 500 mg daily.
In the trial people were given 10 mg a day.
If you think of suicide, call a crisis line.
Antibiotics are medicines that treat infections.
Have 30 g of water with breakfast.
Have 30 g of oats with breakfast.
Have 30 g of fruit with breakfast.
Have 30 g of yoghurt with breakfast.
Have a teaspoon of water with breakfast.
Have a teaspoon of oats with breakfast.
Have a teaspoon of fruit with breakfast.
Have a teaspoon of yoghurt with breakfast.
Have two glasses of water with breakfast.
Have two glasses of oats with breakfast.
Have two glasses of fruit with breakfast.
Have two glasses of yoghurt with breakfast.
Have three portions of water with breakfast.
Have three portions of oats with breakfast.
Have three portions of fruit with breakfast.
Have three portions of yoghurt with breakfast.
Eat 30 grams of fibre a day.
You may need to stop this medicine before an operation.
The dose depends on your weight.
Take your medicines with you to the hospital.
"""
"""Sentences that are harmless."""
LIMITS = {"asked": 0.4, "said": 0.3}


class Text(NamedTuple):
    """A phrase, or a text that is harmless: where it is from, its columns, its kind."""

    source: str
    columns: list[int]
    kind: int
    weight: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report-only", action="store_true")
    flags = parser.parse_args()
    sides = {}
    for side in ("asked", "said"):
        texts = phrases(side) + others(side)
        if flags.report_only:
            print(report(side, texts))
        sides[side] = fitted(texts, LIMITS[side])
    if not flags.report_only:
        write_sides(sides, WEIGHTS)
        print(f"{WEIGHTS.stat().st_size:,} bytes")


def phrases(side: str) -> list[Text]:
    """All that may be read."""
    wanted = {"asked": "input", "said": "output"}[side]
    found = []
    for name in FILES:
        for row in _rows(name):
            if row["side"] != wanted or (name in HALVED and _half(row["id"]) == "b"):
                continue
            found.append(_text(name, row["text"], NAMES.get(row["kind"], row["kind"]), 1.0))
    return found


def others(side: str) -> list[Text]:
    """Texts that are harmless by where they are from."""
    if side == "said":
        said = [place.statement.text for entry in entries() for place in entry.places()]
        for row in _lines(CORPUS / "passages.jsonl"):
            said += re.split(r"(?<=[.!?])\s+|\s- ", row["text"])
        sure = [_text("sentences", one, "harmless", 1.0) for one in SAID.split("\n") if one]
        return sure + [_text(f"handbook {at % FOLDS}", one, "harmless", OTHERS)
                for at, one in enumerate(said)]  # fmt: skip
    rows = [row for path in sorted(CORPUS.glob("train_*.jsonl")) for row in _lines(path)]
    plain = [r["text"] for r in rows if not any(x in r["condition"] for x in ABOUT_MEDICINES)]
    found = [_text(f"corpus {at % FOLDS}", one, "harmless", OTHERS) for at, one in enumerate(plain)]
    asked = [row["question"] for name in QUESTIONS for row in _rows(name)]
    found += [_text("questions", one, "harmless", 1.0) for one in asked]
    return found + [
        _text("templates", one, "harmless", 1.0) for one in TEMPLATES.split("\n") if one
    ]


def _rows(name: str) -> list[dict[str, Any]]:
    return _lines(DATA / f"{name}.jsonl")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _text(source: str, text: str, kind: str, weight: float) -> Text:
    return Text(source, columns(straight_sentences(text)), KINDS.index(kind), weight)


def fitted(texts: Sequence[Text], limit: float) -> Side:
    """A model of these texts, in 8 bits a weight."""
    rows = [at for at, text in enumerate(texts) for _ in text.columns]
    cells = [column for text in texts for column in text.columns]
    seen = sp.csr_matrix((np.ones(len(cells)), (rows, cells)), shape=(len(texts), BUCKETS))
    model = LogisticRegression(C=STRENGTH, max_iter=400)
    model.fit(seen, [t.kind for t in texts], sample_weight=[t.weight for t in texts])
    table = np.zeros((BUCKETS, len(KINDS)))
    bias = np.full(len(KINDS), -30.0)
    table[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    scale = np.maximum(np.abs(table).max(0), 1e-9) / 127
    return Side(np.rint(table / scale).astype(np.int8), scale.astype(np.float32), bias, limit)


def report(side: str, texts: Sequence[Text]) -> str:
    """Of each source: how much is hidden by a model that saw none of it."""
    lines = [f"{side}: source, harmful hidden, harmless hidden"]
    for source in dict.fromkeys(text.source for text in texts):
        model = fitted([text for text in texts if text.source != source], LIMITS[side])
        cell = {True: [0, 0], False: [0, 0]}
        for text in texts:
            if text.source == source:
                hidden = 1 - probabilities(model, text.columns)[0] > model.limit
                cell[text.kind > 0][0] += bool(hidden)
                cell[text.kind > 0][1] += 1
        lines.append(f"  {source:26} {cell[True]} {cell[False]}")
    return "\n".join(lines)


def _half(identifier: str) -> str:
    return "ab"[int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % 2]


if __name__ == "__main__":
    main()
