"""Second opinion of a language model on urgency, which can raise the tier but never lower it.

The model generates no text. It scores four courses of action as continuations of a prompt; each
log-likelihood is corrected by its mean over content-free inputs (contextual calibration, Zhao et
al. 2021, arXiv 2102.09690).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from galenic.assistant.triage.tiers import rank
from galenic.assistant.triage.triage import Triage, raise_to
from galenic.runtimes.base import Runtime, encode_requests
from galenic.runtimes.tree import build_pack, sum_by_request

__all__ = ["THRESHOLD", "ambulance_share", "with_opinion"]

THRESHOLD = 0.3
"""Share of probability for "call an ambulance now" above which the tier is raised to ``today``. Of
the 26 less urgent development vignettes, 2 exceed it with smollm2-135m and 3 with medical-135m;
of the 58 urgent ones, 21 and 35."""
MOST_CHARACTERS = 2_000
"""Maximum length of the scored text in characters; the end of a longer text is used."""
_COURSES = (
    " call an ambulance now",
    " see a doctor today",
    " see a doctor in the next days",
    " look after it at home",
)
_NOTHING = ("N/A", "", "something", "...")


def with_opinion(runtime: Runtime, text: str, found: Triage) -> Triage:
    """Return a triage result, raised to ``today`` if the model considers the text urgent."""
    if rank(found.tier) >= rank("today"):
        return found
    share = ambulance_share(runtime, text)
    if share <= THRESHOLD:
        return found
    reason = (
        f"The model {runtime.info.model} takes this for more urgent than the rules do. Small "
        "models are often wrong in this; better to ask today than too late."
    )
    return raise_to(found, "today", reason)


def ambulance_share(runtime: Runtime, text: str) -> float:
    """Return the calibrated probability, 0 to 1, of the most urgent of four courses of action."""
    said = _likelihoods(runtime, " ".join(text.split())[-MOST_CHARACTERS:])
    weights = [math.exp(one - before) for one, before in zip(said, _prior(runtime), strict=True)]
    return weights[0] / sum(weights)


@lru_cache(maxsize=1)
def _prior(runtime: Runtime) -> tuple[float, ...]:
    """Return the mean log-probability in nats of each course of action after content-free texts."""
    plain = [_likelihoods(runtime, nothing) for nothing in _NOTHING]
    return tuple(sum(column) / len(plain) for column in zip(*plain, strict=True))


def _likelihoods(runtime: Runtime, text: str) -> Sequence[float]:
    """Return the log-probability in nats of each course of action after a text."""
    asked = (
        f'A patient says: "{text}"\nQuestion: How soon does this patient need medical help?\n'
        "Answer: The patient should"
    )
    pack = build_pack(encode_requests(runtime, [(asked, course) for course in _COURSES]))
    return [float(one) for one in sum_by_request(pack, runtime.score(pack))]
