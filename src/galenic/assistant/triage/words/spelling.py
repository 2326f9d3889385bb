"""Correct misspelt words that triage phrases use.

A misspelling is one letter missing, added or replaced, or two adjacent letters swapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from galenic.assistant.triage.words.phrase import Matcher
from galenic.assistant.triage.words.wording import word_set

__all__ = ["Speller"]

SHORTEST = 6
"""Minimum length of a word to correct; shorter ones are too similar to others ("ever", "fever")."""
SHORTEST_CHANGED = 8
"""The same for a replaced letter ("cooking", "choking")."""
LONGEST = 24
COMMON = word_set(
    "without things thinks thought though through another because before really please little "
    "people person should morning whether weather better letter matter mother father brother "
    "bother rather either nothing anything something everything coming having giving living "
    "wanted waited walked talked worked looked looking working walking talking getting setting "
    "letting sitting hitting eating reading leading beating heading hearing wearing bearing "
    "sharing strange change chance charge course source second person reason season contact "
    "contract country county quite quiet rights lights nights sights weight height flight "
    "bright slight sleeping sweeping dripping drinking thinking breaking speaking creaking "
    "meeting moving loving counting stopping shopping stepping running turning burned learned "
    "praying paying staying playing saying buying trying crying drying flying biting "
    "fight checking switches possible relieve computed stained remove inserted decrease "
    "freeze enlarge reaching staring sized injection injections faces storing binding joins "
    "expose skinning bowing flushing notching branching coronal crowding raising thorough "
    "relieves crusting compromise spanning topics topic balanced stretchy cloud crust stated "
    "sever suckling stain spelling explored blinking construction deliver marking squinting "
    "farther pieced startled spain grasping discharged thirty barley irritant infested "
    "homeless weigh contracts seats stranger liked property calls cooked exercised baked "
    "filing slash rinsing squeeze tables deceased noting exploring planing baking varnish "
    "meditation slipping trophic twinkle landry bounding ejection tuning camping troubled "
    "bridging rumbling tracing stocking stranding contusion beach propped emergence finishes "
    "sevens tipped feather clamping inspect tuned compute cooking clinic faster shallow "
    "action current currently states nearby starts lining staging storage forming attach "
    "strong stores cushing rippling beaking "
    "absorbed african aspiring backing bacteria banking baring beast beasts blanc blending "
    "blockade bowles bowls braking breached breaches breaching breeding bride bridget busting "
    "callous camps candid capped carving cashed cesar channing chanting charging chloride "
    "clare cleanser cleansing clement clippers cloths commuter compete condo construct "
    "constructing coroner coupe craving criss crumbled curran curse custer delicious delivers "
    "deterrent dipping downing drafting election exiting fiend filed finer finisher finnish "
    "firearms flapping flats flatter flattering flooring follower forgo freeing freight fried "
    "froze gains garbage garde gentlemen genus granting hanover hater haven heather heres "
    "heron horne horribly hosting housing hungary inflamed invented invested johnston lager "
    "loner masking massages mistaken misused moths mourning nigerian oversight pakistani "
    "peering persona pierson planar planting pleas ponds posse primates princes racking "
    "radiant rally recital repealing risking sacked sacred scaled scarred scorpio scouting "
    "scrapped seating seattle selling sells sewing shelling shipping shitting siding singles "
    "sings sinned sipping sizing slashed slaying sliver sneaking sniff snuff sorts sowing "
    "specs spoiled spoiling sporting spurs stacking staining stared starling starring "
    "startling starving stating stats statues steaks stinking stirling stirs stitched stokes "
    "stomping streaming strings subbed suits sutter swaying swearing tapped tempe thanking "
    "thinning ticked ticker treasury treat tricked tricking trough trucking tumblr turing "
    "tying ugandan unbeatable unbelievably vices waiters walters weaving wheeling whopping "
    "wight wretched zoned "
)
"""Ordinary words that are one letter away from a triage word and are never corrected. Of the 30,000
most frequent English words (wordfreq 3.1), these were all that would have been changed, apart
from inflections and common misspellings."""


class Speller:
    """Spelling corrector whose vocabulary is the words of triage phrases.

    The first letter must be correct, and a word that any phrase uses is never changed.

    Args:
        table: Fixed corrections.
        matchers: Matchers whose phrases define the known words; corrections lead only to words of
            the first one.
    """

    def __init__(self, table: Mapping[str, str], *matchers: Matcher) -> None:
        self.table = dict(table)
        self.matchers = matchers
        self.targets: dict[str, str] = {}
        for word in sorted(matchers[0].vocabulary | matchers[0].stems | set(self.table.values())):
            if SHORTEST <= len(word) <= LONGEST:
                for form in (word, *_shorter(word)):
                    self.targets.setdefault(form, word)

    def mend(self, token: str) -> str:
        """Return the corrected word, or the token itself if no correction applies.

        With "breathing" among the known words, "breahting" becomes "breathing".
        """
        if token in self.table:
            return self.table[token]
        known = self.matchers[0].vocabulary
        if token.endswith("in") and token not in known and token + "g" in known:
            return token + "g"
        if not SHORTEST - 1 <= len(token) <= LONGEST + 1 or token[0].isdecimal():
            return token
        if token in COMMON or any(matcher.knows(token) for matcher in self.matchers):
            return token
        for form in (token, *_shorter(token)):
            word = self.targets.get(form)
            if word is not None and word[0] == token[0] and _is_slip(token, word):
                return word
        return token


def _is_slip(given: str, meant: str) -> bool:
    """Check whether two words differ by one letter missing, added or replaced, or by a swap."""
    if len(given) != len(meant):
        short, long = sorted((given, meant), key=len)
        return len(long) == len(short) + 1 and short in _shorter(long)
    wrong = [at for at in range(len(given)) if given[at] != meant[at]]
    if len(wrong) == 1:
        return len(given) >= SHORTEST_CHANGED
    first, last = wrong[0], wrong[-1]
    swapped = len(wrong) == 2 and last == first + 1
    return swapped and given[first] == meant[last] and given[last] == meant[first]


def _shorter(word: str) -> Iterable[str]:
    """Yield the word with one letter removed, for each letter but the first."""
    return (word[:at] + word[at + 1 :] for at in range(1, len(word)))
