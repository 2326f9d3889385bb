"""Whether a text is on methods of self-harm: a means and its end, hoarding, hiding, secrecy.

Warnings ("can be fatal"), first aid and talk of feelings are left.
"""

from __future__ import annotations

from galenic.assistant.guards.told import MEDICINE, NOT, WORDS, Told
from galenic.assistant.triage.words.wording import word_set

__all__ = ["asks_method", "is_method"]

_MEANS = WORDS["methods.means"]
_HOW = WORDS["methods.how"]
_SAFETY = WORDS["methods.safety"]
_END = WORDS["methods.end"]
_SECRET = WORDS["methods.secret"]
_EATING = WORDS["methods.eating"]
_HURT = WORDS["methods.hurt"]
_WARNS = WORDS["methods.warns"]


def asks_method(told: Told) -> bool:
    """Whether a question asks for a way of harming oneself."""
    ends = told.says("end it", "end it all", "disappear forever", "not wake up", "never wake up",
                     "ending my life", "end my life", "not be here any more")  # fmt: skip
    if ends and told.has(_HOW | {"something", "anything"}):
        return True
    if told.has(_MEANS) and told.has(_HOW) and not told.has(_SAFETY | _WARNS - {"can", "may"}):
        return True
    if told.says("way out of this life", "way out of life", "before its over", "lose before",
                 "look like an accident", "so i dont wake", "i wont wake",
                 "not wake up again"):  # fmt: skip
        return True
    deadly = word_set("deadliest lethal deadly fatal strongest")
    mine = told.says("medicine cabinet", "in my house", "in the house", "at home", "under the sink")
    if (told.has(deadly) and mine) or told.says("do it without pain", "to go in my sleep",
                                              "way to go", "die in my sleep"):  # fmt: skip
        return not told.has(_SAFETY)
    falls = told.has(word_set("fall falling jump jumping")) and told.has(word_set("floor storey"))
    if falls and told.has(word_set("enough survive high")):
        return True
    alone = told.follow(frozenset({"without"}), _SECRET, 4) or told.has(word_set("secretly secret"))
    return alone and told.has(_EATING | {"eat", "eating", "hide"})


def is_method(told: Told) -> bool:
    """Whether a sentence says how to harm oneself, or that one had better be dead."""
    gone = told.says("if you were gone", "if you were dead", "without you", "were not here",
                     "werent here", "better off dead")  # fmt: skip
    if gone and told.has(word_set("better easier happier everybody everyone they family all")):
        return True
    unseen = told.follow(word_set("nobody noone"), word_set("miss find stop save care"), 3)
    if unseen and told.has(frozenset({"you"})):
        return True
    tied = told.has(word_set("tie knot loop hook")) and told.has(
        word_set("handle beam door neck lean rafter branch")
    )
    blade = told.has(word_set("razor blade scalpel")) and told.has(
        word_set("hide keep carry phone sleeve pocket")
    )
    letter = told.has(word_set("letter note goodbye")) and told.says(
        "house is empty", "home alone", "nobody is home", "alone in the house", "to your family"
    )
    bath = told.follow(word_set("bath tub"), MEDICINE | {"pills", "blade"}, 5) and told.has(
        word_set("then fill warm")
    )
    height = (
        told.has(word_set("height bridge building roof"))
        and told.has(word_set("metres meters floors floor above high"))
        and told.has(word_set("choose pick find least enough"))
    )
    thin = told.has(word_set("calories eat eating food")) and told.has(
        word_set("hide secret baggy noticing parents")
    )
    if (bath or height or thin) and not told.has(word_set("help suspect ask")):
        return True
    if (tied or blade or letter) and not told.has(_WARNS - {"can", "may", "keep"}):
        return True
    hoards = (
        told.follow(word_set("hide save collect hoard stash store"), MEDICINE, 3)
        and told.has(word_set("until enough all thirty dozens"))
        and any(one[0].isdecimal() or one == "enough" for one in told.tokens)
    )
    hides = (
        told.has(_HURT)
        and told.has(word_set("cover hide wear sleeves long conceal"))
        and (told.has(_SECRET | {"nobody"}))
    )
    surest = told.near(word_set("certain surest quickest painless reliable effective sure easiest"),
                       word_set("way ways method methods"), 2) and told.has(
                           MEDICINE | word_set("die them alcohol life rope"))  # fmt: skip
    throat = (
        told.has(word_set("fingers finger"))
        and told.has(frozenset({"throat"}))
        and told.has(word_set("slim thin weight after meal dinner eating sick vomit"))
    )
    deed = told.has(_MEANS) and told.has(
        word_set("neck wrist wrists garage door shut closed arm along tight tie fatal lethal")
    )
    if throat or hides or hoards or surest:
        return not told.has(_WARNS - {"can", "may", "keep"} | (NOT - {"nobody", "noone", "no"}))
    return deed and not told.has(_WARNS | (NOT - {"nobody"}))
