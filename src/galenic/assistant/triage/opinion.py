"""A model's opinion of how soon help is needed: it may raise the tier of the rules, never lower it.

It writes nothing: likelihoods of four courses of action are compared, less what they are behind
texts that say nothing (contextual calibration, Zhao et al. 2021, arXiv 2102.09690).
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
"""Share of "call an ambulance now" from which a text is for ``today``: of the 26 development
vignettes that are less urgent 2 have more with smollm2-135m and 3 with medical-135m; of the 58
urgent ones 21 and 35."""
MOST_CHARACTERS = 2_000
"""Of a text; the end of a longer one counts, which is what was said last."""
_COURSES = (
    " call an ambulance now",
    " see a doctor today",
    " see a doctor in the next days",
    " look after it at home",
)
_NOTHING = ("N/A", "", "something", "...")


def with_opinion(runtime: Runtime, text: str, found: Triage) -> Triage:
    """What the rules found, or raised to ``today`` where the model takes the text for urgent."""
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
    """Share of the most urgent of four courses, 0 to 1."""
    said = _likelihoods(runtime, " ".join(text.split())[-MOST_CHARACTERS:])
    weights = [math.exp(one - before) for one, before in zip(said, _prior(runtime), strict=True)]
    return weights[0] / sum(weights)


@lru_cache(maxsize=1)
def _prior(runtime: Runtime) -> tuple[float, ...]:
    """Mean log-probability in nats of each course behind texts that say nothing."""
    plain = [_likelihoods(runtime, nothing) for nothing in _NOTHING]
    return tuple(sum(column) / len(plain) for column in zip(*plain, strict=True))


def _likelihoods(runtime: Runtime, text: str) -> Sequence[float]:
    """Log-probability in nats of each course behind a text."""
    asked = (
        f'A patient says: "{text}"\nQuestion: How soon does this patient need medical help?\n'
        "Answer: The patient should"
    )
    pack = build_pack(encode_requests(runtime, [(asked, course) for course in _COURSES]))
    return [float(one) for one in sum_by_request(pack, runtime.score(pack))]
