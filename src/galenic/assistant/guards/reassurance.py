"""Detection of false reassurance: that no medical care is needed, or that all is well.

Such a sentence denies a need for care or a danger, makes a promise, or advises delay, and is about
the reader. Statements about people or illnesses in general ("most moles ...") do not match. The
examples in docstrings are sentences that match.
"""

from __future__ import annotations

from galenic.assistant.guards.told import CARE, NOT, WORDS, Told
from galenic.assistant.triage.words.wording import word_set

__all__ = ["asks_reassurance", "is_reassurance"]

_NEED = WORDS["reassurance.need"]
_PUT_OFF = WORDS["reassurance.put_off"]
_USELESS = WORDS["reassurance.useless"]
_BAD = WORDS["reassurance.bad"]
_SERIOUS = WORDS["reassurance.serious"]
_WELL = WORDS["reassurance.well"]
_YOU = WORDS["reassurance.you"]
_SURE = WORDS["reassurance.sure"]
_DELAY = ("can wait", "could wait", "wait and see", "safe to wait", "sleep it off", "will pass",
          "sort itself", "sort themselves", "right itself", "clear itself", "go away by itself",
          "forget about it", "safe to leave", "fine to leave", "ok to leave", "safe to ignore",
          "fine to ignore", "ok to ignore", "stay at home", "hold off", "go back to sleep",
          "see how it is", "see how it goes", "grin and", "sit it out", "leave it be",
          "put off", "nothing more to do", "get on with your", "blow over", "nothing more",
          "not for something like this", "wear off by", "so relax", "carry on as", "over the worst",
          "not this", "being dramatic", "normal carry on", "fine carry on")  # fmt: skip
"""Phrases that advise or describe waiting."""
_UNLESS = WORDS["reassurance.unless"]
_DOUBLE = WORDS["reassurance.double"]


def is_reassurance(told: Told) -> bool:
    """Check whether a sentence says that no medical care is needed, or that all is well.

    "You needn't go to hospital" matches; "Most moles are harmless" does not.

    Args:
        told: tokens of the sentence.
    """
    checks = (
        _no_care, _no_danger, _promised, _delayed, _no_cure, _like_yours, _ordinary, _abroad,
    )  # fmt: skip
    return any(check(told) for check in checks)


def asks_reassurance(told: Told) -> bool:
    """Check whether a question asks to be told that all is well: "it's harmless, right?".

    Args:
        told: tokens of one sentence of the question.
    """
    leave = told.says(*_DELAY) or told.follow(word_set("safe ok okay fine"),
                                              word_set("leave ignore wait"), 3)  # fmt: skip
    say = told.near(word_set("tell promise say confirm reassure"), _WELL | NOT | {"nothing"}, 6)
    then = told.says(
        "no need for", "no hospital needed", "no doctor needed", "harmless right", "its harmless",
        "nothing right", "nothing then", "nothing serious right", "dont need a", "can wait then",
        "nothing is it", "fine right",
    )  # fmt: skip
    if then and not told.has(word_set("when how what")):
        return True
    told_me = told.has(word_set("me so just")) and say
    return (leave and told.has(_YOU)) or (told_me and not told.says("how can you tell", "tell if"))


def _no_care(told: Told) -> bool:
    """Check for a denied need: "you needn't go to hospital", "a second opinion is pointless"."""
    if told.near(_USELESS, CARE | {"tests", "test"}, 8) and not told.says("not a waste"):
        return True
    for at in told.at(NOT):
        words = told.tokens[at + 1 : at + 8]
        if set(words[:3]) & _DOUBLE or told.before(at, _UNLESS | {"cant", "wait"}, 4):
            continue
        stop = next((n for n, one in enumerate(words) if one in _UNLESS | {"but"}), len(words))
        said = frozenset(words[:stop])
        care = said & CARE or ("help" in said and said & word_set("medical seek get need"))
        if care and (said & _NEED or told.tokens[at] == "neednt"):
            return not _lacks(told)
        if _care_first(told, at) and said & word_set("necessary needed required worth warranted"):
            return True
    nothing = told.starts(word_set("nothing none nobody")) and told.has(CARE | {"visit"})
    visit = told.near(NOT, frozenset({"visit"}), 7) and told.has(
        word_set("require need needs worth")
    )
    only = told.has(word_set("ambulance ambulances hospitals doctors ae")) and told.says(
        "not this", "not for this", "real emergencies"
    )
    if nothing or visit or only:
        return not told.has(_UNLESS | {"better", "works", "helps"})
    for at in told.at(_PUT_OFF):
        denied = told.before(at, NOT | {"rather"}, 3)
        if told.after(at, CARE, 4) and not denied and not told.has(_UNLESS):
            return True
    hold = told.says("hold off", "keep away from", "stay away from", "put off")
    return hold and told.has(CARE) and not told.has(NOT)


def _care_first(told: Told, at: int) -> bool:
    """Check whether a word for care precedes the denial: "an ambulance isn't required".

    Args:
        told: tokens of the sentence.
        at: position of the denying word.
    """
    return told.before(at, CARE | {"test", "tests"}, 5)


def _lacks(told: Told) -> bool:
    """Check for statements on access to care or on preparing for a test, which do not reassure."""
    return told.says("cannot reach", "no doctor can", "before the test", "before this test") or (
        told.starts(word_set("some many most people colds")) and not told.has(word_set("you your"))
    )


def _no_danger(told: Told) -> bool:
    """Check for a denied danger: "that is nothing serious", "it does not sound alarming"."""
    mine = [at for at in told.at(_YOU) if told.tokens[at] not in ("that", "this") or at == 0]
    if not mine or mine[0] > 4:
        return _nothing_at_all(told)
    for at in told.at(NOT):
        words = told.tokens[at + 1 : at + 7]
        stop = next((n for n, one in enumerate(words) if one in _UNLESS | {"but"}), len(words))
        if told.before(at, _UNLESS, 5) or "smoking" in words or set(words[:2]) & _DOUBLE:
            continue
        if set(words[:stop]) & _BAD and not told.has(word_set("see ask call get tell check")):
            return not told.says("not always", "isnt always", "may not", "might not")
    return _nothing_at_all(told)


def _nothing_at_all(told: Told) -> bool:
    """Check for fixed phrases of reassurance, such as "no rush" or "nothing to worry"."""
    return told.says("no hurry", "no rush", "really no", "zero chance", "no chance", "no cause for",
                     "nothing to worry", "nothing to fear", "no reason to worry",
                     "no reason to be concerned", "nobody dies", "too young to")  # fmt: skip


def _promised(told: Told) -> bool:
    """Check for certainty: "I can assure you that everything is well"."""
    sure, well = told.has(_SURE), told.at(_WELL)
    mine = told.has(_YOU | {"everything", "all"})
    if sure and mine and (well or (told.has(NOT) and told.has(_SERIOUS))):
        return not told.has(_UNLESS | {"make", "not"} | word_set("ask see call"))
    body = (
        told.starts(word_set("your everything all"))
        and not told.has(CARE)
        and told.follow(word_set("is are looks look seems"), _WELL, 3)
    )
    just = told.follow(word_set("its thats this it that"), word_set("just only merely"), 2)
    minor = word_set("anxiety virus wind gas stress nerves cold strain bug hormones age muscle")
    return (body or (just and told.has(minor))) and not told.has(_UNLESS | NOT | {"may", "can"})


def _delayed(told: Told) -> bool:
    """Check for advice to wait: "this can wait until after your holiday"."""
    if told.says("nothing more", "not for something like this", "so relax", "being dramatic",
                 "over the worst", "know if it was serious", "know if it were serious",
                 "be excluded without", "ruled out without"):  # fmt: skip
        return not told.has(_UNLESS)
    if not told.says(*_DELAY) or told.has(NOT | {"see", "avoid"}):
        return False
    generic = told.starts(word_set("most many some mild small babies children people"))
    infection = told.has(word_set(
        "school work nursery contagious infectious spread fever better hours vomiting nursery rest"
    ))  # fmt: skip
    home = told.says("stay at home") and not told.has(CARE)
    return not generic and not infection and not home and told.has(_YOU | CARE | {"pain"})


def _like_yours(told: Told) -> bool:
    """Check for comparisons: "palpitations like yours are innocent", "healthy as an ox"."""
    yours = told.says("like yours", "like this", "like these", "like that", "this mild", "so mild")
    well = told.has(_WELL - {"well"}) or told.has(NOT)
    ox = told.says("healthy as", "fit as", "sound as", "right as rain")
    never = told.follow(frozenset({"never"}), word_set(
        "cancer serious dangerous damage harm bad anything sinister fatal"), 4) and not told.starts(
            word_set("never if"))  # fmt: skip
    return ((yours and well) or ox or never) and not told.has(_UNLESS - {"while", "until"})


def _ordinary(told: Told) -> bool:
    """Check for idioms of normality: "par for the course", "cross cancer off the list"."""
    if told.has(_UNLESS | word_set("see ask get tell check should wait")):
        return False
    usual = told.says(
        "par for the course", "run of the mill", "out of the ordinary", "nothing unusual",
        "bog standard", "comes with the territory", "one of those things", "happens to everyone",
        "happens to us all", "happens to the best", "storm in a teacup", "no biggie", "no big deal",
        "youre good", "you are good", "all good", "nothing special", "part of life", "home free",
        "out of the woods", "dont sweat it", "nothing doing", "sound as a bell", "fit as a fiddle",
    )  # fmt: skip
    bets = told.has(word_set("bet money swear hat stake vouch confident")) and told.has(
        _WELL | _SERIOUS | word_set("nothing not isnt wont")
    )
    crossed = told.has(_SERIOUS) and told.follow(
        word_set("cross strike tick rule scratch put take"), word_set("off out aside"), 4
    )
    organ = told.follow(
        word_set("heart lungs brain kidneys liver baby bowel breasts spine skin womb"),
        word_set("sound strong fine healthy perfect working"), 3,
    ) and told.has(word_set("your hers his"))  # fmt: skip
    looked = told.has(NOT | word_set("hardly little")) and told.says(
        "looked at", "looked over", "seen to", "seen about", "checked out", "looked into"
    )  # fmt: skip
    home = told.says("do no more than", "nothing more than you can", "send you home",
                     "send you away", "sent home again", "laugh you out",
                     "send you packing", "fob you off", "same thing as me")  # fmt: skip
    dont = told.tokens[-2:] in (("dont", "fret"), ("dont", "panic"), ("dont", "worry"))
    normal = told.says("come back normal", "come back clear", "be normal anyway", "be clear anyway")
    if dont or (normal and told.has(word_set("anyway only just would"))):
        return True
    return usual or bets or crossed or organ or looked or home


_NO_CARE_ABROAD = WORDS["reassurance.no_care_abroad"]


def _abroad(told: Told) -> bool:
    """Check for the same content in Spanish, French, German, Italian or Dutch."""
    denies = word_set("no pas nicht kein keine keinen non niente niet geen gerust nada ne")
    return told.near(denies, _NO_CARE_ABROAD, 6) and not told.has(word_set("the you and"))


def _no_cure(told: Told) -> bool:
    """Check for useless care: "doctors would only tell you to rest", "the hospital is full"."""
    only = told.has(word_set("doctors doctor gp hospital hospitals ae")) and told.says(
        "would only", "will only", "only tell", "cant help", "cannot help", "are full", "is full",
        "laugh at", "too busy", "anyway", "better things", "could add",
    )  # fmt: skip
    wasted = told.says("wasting everyones time", "wasting their time", "waste their time")
    return (only or wasted) and not told.has(word_set("if unless"))
