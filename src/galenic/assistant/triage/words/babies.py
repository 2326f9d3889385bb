"""Extract informally expressed ages of babies: "10 wks", "6/52", "born last Tuesday"."""

from __future__ import annotations

import re

from galenic.assistant.triage.words.numerals import as_digits
from galenic.assistant.triage.words.wording import flatten

__all__ = ["baby_months"]

_DAY = 12 / 365.25
_WEEK = 7 * _DAY
_AGE = re.compile(
    r"(?<![\d.,/])(?P<n>\d{1,2}(?:\.5)?)(?P<half>\s*(?:and|an) (?:a )?half|½)?[ -]?(?P<u>/52|/12|/7|weeks?|wks?|wk|w|months?|munths?|mths?|mth|mos?|days?|d)"
    r"(?:[ -]?(?:old|olds|of age|o))?\b(?!\s*(?:pregnan|gestation|ago|post|of (?!age)|since|later|now since|in a row|early|prem|without|straight|running|per|a week))"
)
_NO_AGE = re.compile(
    r"(?:for|since|last|past|every|within|after|another|next|first|over|about|than|of|day|in|these|took|x|d|wk|week|at|prem|born at|the|weighs?|cough|fever)\s*(?:the |about |nearly |only )?$"
)
_OF_BABY = re.compile(
    r"\b(?:bab\w+|newborn|neonate|infant|bub\w*|feeds?|feeding|fed|nappy|nappies|diapers?|breast|bottle|jabs|dob|d o b|date of birth|he|hes|she|shes|son|daughter|twins?|twin|little|grandson|granddaughter|nephew|niece|girl|boy|born|fontanel\w*|t \d\d|little one|tiny|little lad|lass|lo\b|new arrival|grizzl\w*|calpol|po|uo)\b"
)
_NOT_BABY = re.compile(
    r"\b(?:pregnan\w*|gestation|contractions?|bump|midwife says i|i am|im (?!worried|scared|not|so|a )|my (?:back|chest|leg|husband|wife|period|belly|stomach|own)|post ?op)\b"
)
_TURNED = re.compile(
    r"\b(?:shes|hes|she is|he is|turned|turns|is now|are now|babys|baby is|who is|now|(?:daughter|son|baby|boy|girl|twins?|infant) of|nearly|almost|not(?: even| yet| quite)?|"
    r"isnt(?: even| yet| quite)?|under|less than|barely|just|only|about|around) (?:even |yet |quite |about |just |only |now )?"
    r"(?P<n>\d{1,2}|a|an)(?P<half>\s*(?:and|an) (?:a )?half|½)?[ -]?(?P<u>weeks?|wks?|months?|mths?|days?)\b"
    r"(?!\s*(?:pregnan|gestation|ago|post|since|later|early|prem|with|without|straight|running|per|of))"
)
_BORN = re.compile(
    r"\b(?:born|dob|d o b|date of birth|delivered|gave birth|arrived|came (?:home|out)|home from (?:the )?hospital)\b[^.!?\n]{0,24}?\b(?:"
    r"(?P<n>\d{1,2}|a|an|1) (?P<u>day|week|month)s? ago|(?P<recent>today|yesterday|last night|this (?:week|morning)|"
    r"(?:last|on|this) (?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:mon|tues|wednes|thurs|fri|satur|sun)day|"
    r"on the \d{1,2}(?:st|nd|rd|th)?|last week))"
)
_AGED = re.compile(
    r"\b(?:my|our|the|her|his|this|a) (?P<u>day|week|month)s?[ -]old\b"
    r"(?! (?:\w*burn|bruis|cough|cut|fractur|injur|pain|pierc|rash|scar|tattoo|wound))"
)
"""An age without a number: "our month-old"."""
_RECENT_MONTHS = 0.25
"""Age in months that is assumed for a baby "born last Tuesday"."""
_ONLY = re.compile(
    r"[\d.,/ ]{1,20}(?:degrees?|deg|c|f|°)?[\s,.;:]{0,9}\d{1,2} ?(?:weeks?|wks?|months?|mths?|days?)( old)?[.!]?"
)
"""A text that consists of a value and an age: "39 degrees, 2 months". Bounded, as every part of a
pattern that could match the same characters as its neighbour: else 100,000 dots take minutes."""
_PER = {"/52": 0.23, "w": 0.23, "/12": 1.0, "m": 1.0, "/7": 0.0329, "d": 0.0329}


def baby_months(text: str) -> list[float]:
    """Return the lowest age of a baby in months, as a list of at most one item.

    "10 wks. 39.1", "12/52" and "born on Sunday" are recognized.
    """
    plain = as_digits(flatten(text))
    begins = plain.lstrip()
    if _NOT_BABY.search(plain) or not (
        any(of_baby.search(plain) for of_baby in (_OF_BABY, _AGED))
        or _AGE.match(begins)
        or (begins.startswith(("not ", "isnt ")) and _TURNED.match(begins))
        or _ONLY.fullmatch(plain.strip())
    ):
        return []
    found = _born(plain) + _turned(plain) + [_PER[one["u"][0]] for one in _AGED.finditer(plain)]
    for match in _AGE.finditer(plain):
        if _NO_AGE.search(plain[max(0, match.start() - 16) : match.start()]):
            continue
        unit = match["u"] if match["u"][0] == "/" else match["u"][0]
        months = (float(match["n"]) + (0.5 if match["half"] else 0)) * _PER[unit]
        if months < 24:
            found.append(months)
    return [min(found)] if found else []


def _born(plain: str) -> list[float]:
    """Return ages in months from dates of birth: "born last Wednesday", "born a month ago"."""
    found = []
    for match in _BORN.finditer(plain):
        if match["recent"]:
            found.append(_RECENT_MONTHS)
        else:
            number = 1.0 if match["n"] in ("a", "an") else float(match["n"])
            found.append(number * {"day": _DAY, "week": _WEEK, "month": 1.0}[match["u"]])
    return found


def _turned(plain: str) -> list[float]:
    """Return ages in months from phrases such as "she turned 5 weeks" or "not even a month"."""
    found = []
    for match in _TURNED.finditer(plain):
        number = 1.0 if match["n"] in ("a", "an") else float(match["n"])
        months = (number + (0.5 if match["half"] else 0)) * {"d": _DAY, "w": _WEEK, "m": 1.0}[
            match["u"][0]
        ]
        less = re.match(r"nearly|almost|not|isnt|under|less", match[0]) is not None
        if months < 24:
            found.append(max(0.0, months - 0.1) if less else months)
    return found
