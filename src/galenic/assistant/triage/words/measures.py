"""Extract measured values from a text: what was measured, the number and its unit.

Each kind of value has patterns (a name before the number, or a unit after it), a plausible range
and a unit conversion. Values from the past are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from galenic.assistant.triage.words.numerals import as_digits
from galenic.assistant.triage.words.wording import flatten

__all__ = ["Measured", "measure"]


@dataclass(frozen=True)
class Measured:
    """A measured value.

    Attributes:
        kind: What was measured, for example ``temperature``.
        value: The number in the unit that ``data/thresholds.yaml`` uses for the kind.
        words: The words of the text, for example "temp is 39.2".
    """

    kind: str
    value: float
    words: str


_N = r"(?P<v>\d{1,3}(?:[.,]\d{1,2})?)"
_GAP = r"[^!?;\n]{0,%d}?"
_NO_TIME = (
    r"(?![\d.,]*\d|\s*(?:-\s*|to\s+)?\d*\s*(?:min|hour|hr|day|week|wk|month|mth|year|yr|sec|times|am\b|pm\b|"
    r"o'?clock|st\b|nd\b|rd\b|th\b|kg|lb|stone|cm\b|feet|ft\b|miles?|k\b|year))"
)


def _named(names: str, gap: int = 25, number: str = _N, after: str = _NO_TIME) -> str:
    """Build a pattern for a name followed by a number."""
    return rf"\b(?:{names})(?![a-z]){_GAP % gap}(?<![\d.,/])(?<!type ){number}{after}"


@dataclass(frozen=True)
class _Kind:
    name: str
    patterns: tuple[re.Pattern[str], ...]
    low: float
    high: float
    convert: Callable[[float, str], float]
    beside: re.Pattern[str] | None


def _same(value: float, _: str) -> float:
    return value


def _celsius(value: float, said: str) -> float:
    fahrenheit = value > 86 or bool(re.search(r"\d\s*(?:°|º|deg\w*)?\s*f(?:ahrenheit)?\b", said))
    if fahrenheit and value < 93:
        return 0.0  # "29F" is a woman aged 29
    return round((value - 32) / 1.8, 2) if fahrenheit else value


def _mmol(value: float, said: str) -> float:
    """Convert glucose to mmol/L; above 36, or if "mg" follows, the number is taken as mg/dL."""
    return round(value / 18, 2) if "mg" in said or value > 36 else value


def _per_litre(value: float, _: str) -> float:
    """Convert haemoglobin to g/L; a number up to 25 is taken as g/dL."""
    return value * 10 if value <= 25 else value


def _percent_hba1c(value: float, _: str) -> float:
    """Convert HbA1c to percent; a number above 20 is taken as mmol/mol."""
    return round(value / 10.929 + 2.15, 1) if value > 20 else value


def _kind(
    name: str,
    low: float,
    high: float,
    *patterns: str,
    convert: Callable[[float, str], float] = _same,
    beside: str = "",
) -> _Kind:
    compiled = tuple(re.compile(p) for p in patterns)
    return _Kind(name, compiled, low, high, convert, re.compile(beside) if beside else None)


_TEMP = r"temp(?:erature|s)?|thermometer|fever(?:ish)?|febrile|pyrexia\w*|pyrexial|tmax|tympanic|rectal(?:ly)?|armpit|axilla\w*"
_OX = (
    r"pulse ?ox\w*|oximeter|sats?|sa?p[o0]2|sats are|o2(?: sats?| levels?)?|oxi?y?gen(?: levels?| sats?| saturations?)?|"
    r"saturations?|satting|desat\w*|finger (?:peg|probe|thing|clip|monitor)|peg"
)
_SUGAR = r"(?:blood )?(?:sugars?|sugers?|glucose)|bgl?|bms?|cbg|glu|gluc|dexcom|libre|sensor|meter|meeter|finger ?prick|hypo"
_ILL = (
    r"temp|fever|febrile|pyrex|hot\b|burning|boiling|roasting|warm|shiver|shak|chill|rigor|thermom|forehead|poorly|"
    r"\bill\b|sick|unwell|bab(?:y|ies)|newborn|infant|toddler|bub\b|flush|sweat|rash|cough|throat|vomit|chemo|sepsis|flu\b|covid"
)
"""Words of illness, required beside a bare "is 39" or "at 40", which may also be an age."""
_YOUNG = r"\b(?:newborn|neonate|(?:\d|1[0-2])[- ]?(?:weeks?|wks?)[- ]old|twins? (?:are|is)|bab(?:y|ies) (?:has|have|is|are|got|had))\b"
"""Words for infants, required beside a bare "has 39"."""
_NOT_FOOD = r"(?!\s*(?:g\b|grams?|spoon|tea|cube|lump|tsp|calor))" + _NO_TIME

_KINDS = (
    _kind(
        "temperature", 25, 43.5,
        r"(?<![\d.,/])(?P<v>\d{2,3}(?:[.,]\d{1,2})?)\s*(?:°|º|degrees?|degs?)?\s*(?:c|f|celsius|centigrade|fahrenheit)\b(?!\s*-?\s*(?:section|diff))",
        r"(?<![\d.,/])(?P<v>\d{2,3}(?:[.,]\d{1,2})?)\s*(?:°|º|degrees?\b)(?! (?:angle|turn))",
        _named(_TEMP, 40, r"(?P<v>(?:3[3-9]|4[0-3]|9[4-9]|10\d)(?:[.,]\d{1,2})?)", _NO_TIME + r"(?!\s*%)"),
        r"(?<![\d.,/])(?P<v>3[89](?:[.,]\d)?|4[01](?:[.,]\d)?|10[0-6](?:[.,]\d)?)\s*(?:degree )?(?:fever|temp)\b",
        convert=_celsius,
    ),
    _kind("oxygen", 40, 100,
        _named(_OX, 40, r"(?P<v>[4-9]\d|100)", _NO_TIME + r"(?!\s*(?:l\b|litres?|liters?|bpm|/))"),
        r"(?<![\d.,/])(?P<v>[4-9]\d)\s*(?:%|percent|per cent)\s*(?:oxygen|sats?|o2|saturation|on (?:the )?(?:room )?air|ra\b|air)",
        r"\bgadget (?:reads|says|shows) (?P<v>[6-9]\d)\b",
        r"\b(?P<v>[78]\d)\s*(?:%|percent|per cent)(?=[^.!?\n]{0,60}\b(?:breath|chest|lips|sucking|panting|blue|covid|pneumonia|cough)\w*)",
    ),
    _kind("pulse", 15, 320,
        _named(r"pulse(?! ?ox)|heart ?rate|hr|h/r|heart ?beat(?:s|ing)?|heart(?: is|s)? (?:going|doing|at|beating)|bpm|ticker|pulse rate|hr~|smart ?watch|fitbit|garmin|apple watch|my watch|watch (?:says|reads|shows|alarm)", 28,
               r"(?P<v>\d{2,3})(?![.,]\d)", _NO_TIME + r"(?!\s*(?:/\s*\d|%|percent|over \d))"),
        r"\bsvt\s*(?:of|at)?\s*~?\s*(?P<v>[12]\d\d)\b",
        r"(?<![\d.,/])(?P<v>\d{2,3})\s*(?:bpm|beats?\b(?: (?:a|per) min\w*)?|b/?min)",
    ),
    _kind("breathing", 3, 120,
        r"\b(?:rr|resps?|resp(?:iratory)? rate|respiration rate|breathing rate|breaths?(?: per min\w*)?|breathing)\s*(?:is|at|of|about|around|~|=|:|-|now|up to|was)*\s*(?P<v>\d{1,3})(?:\s*(?:times|breaths|x)?\s*(?:a|per|/)\s*min\w*|(?!\s*(?:%|/|min|hour|hr|day|week|month|year|sec|times|ml|puffs?|\d)))",
        r"(?<![\d.,/])(?P<v>\d{1,3})\s*(?:breaths?|resps?)(?:\s*(?:a|per|/)\s*min\w*|\b)",
        r"\bbreath\w*[^.!?\n]{0,30}?(?P<v>\d{2,3})\s*(?:times|breaths|x)?\s*(?:a|per|/|in a)\s*min\w*",
    ),
    _kind("glucose", 0.5, 60,
        _named(_SUGAR, 32, r"(?P<v>\d{1,3}(?:[.,]\d)?)\s*(?:mmol|mg)?", _NOT_FOOD + r"(?!\s*(?:%|/\d|units?|iu\b|hypos?))"),
        r"(?<![\d.,/])(?P<v>\d{1,3}(?:[.,]\d)?)\s*(?:mmol(?:/l)?|mg/dl)\s*(?:sugar|glucose|blood sugar)",
        convert=_mmol,
    ),
    _kind("ketones", 0.1, 15, _named(r"(?:blood )?ketones?", 18, r"(?P<v>\d{1,2}(?:[.,]\d)?)", _NO_TIME + r"(?!\s*\+)")),
    _kind("potassium", 1.2, 10,
        _named(r"pot+as+ium|serum k|k\+|k", 26, r"(?P<v>\d(?:[.,]\d{1,2})?)", _NO_TIME + r"(?!\s*(?:%|g\b|mg|banana|tablet|/))")),
    _kind("sodium", 95, 185, _named(r"sodium|na\+?", 20, r"(?P<v>1\d\d|9\d)", r"(?!\s*(?:mg|g\b|%))")),
    _kind("calcium", 1.0, 5.5, _named(r"(?:corr(?:ected)? |adj(?:usted)? )?(?:calcium|ca)", 24, r"(?P<v>[1-4][.,]\d{1,2})", _NO_TIME)),
    _kind("haemoglobin", 20, 230,
        _named(r"ha?emoglobin|hgb|hb|blood count", 22, r"(?P<v>\d{1,3}(?:[.,]\d)?)", _NO_TIME + r"(?!\s*%)"), convert=_per_litre),
    _kind("platelets", 0.5, 900, _named(r"platelets?|plts?", 22, r"(?P<v>\d{1,3})", _NO_TIME + r"(?!\d|,\d{3}|\s*(?:%|mg))")),
    _kind("neutrophils", 0, 40, _named(r"neutrophils?|neuts?|anc", 20, r"(?P<v>\d{1,2}[.,]\d{1,2})", r"(?!\s*%)")),
    _kind("inr", 0.8, 20, _named(r"inr", 32, r"[>~]?\s*(?P<v>\d{1,2}(?:[.,]\d)?)", _NO_TIME + r"(?!\s*(?:/|lakh|rupee))")),
    _kind("hba1c", 3.5, 22, _named(r"hba1c|a1c|hb a1c", 22, r"(?P<v>\d{1,3}(?:[.,]\d)?)", _NO_TIME), convert=_percent_hba1c),
    _kind("lithium", 0.1, 10, _named(r"lithium(?: level| blood level| level is)?|li", 20, r"(?P<v>\d[.,]\d{1,2})", r"(?!\s*(?:mg|g\b))")),
    _kind("troponin", 0, 100000, _named(r"(?:hs-?)?trop(?:onin)?s?", 40, r"(?P<v>\d{1,5}(?:[.,]\d+)?)", r"")),
    _kind("lactate", 0.3, 25, _named(r"lactate|lac", 14, r"(?P<v>\d{1,2}(?:[.,]\d)?)", _NO_TIME)),
    _kind(
        "temperature", 25, 43.5,
        r"(?<![\d.,/])(?P<v>(?:3[6-9]|4[0-2])[.,]\d|(?:9[5-9]|10[0-6])[.,]\d)" + _NO_TIME
        + r"(?!\s*(?:%|/|mmol|mg|ml|inch|over|g\b|l\b|x\b|units?|weeks|per))",
        r"\b(?:hit|hits|reads|reading|reached|spik\w+|running|up to|hot)\s+(?:a\s+|about\s+|at\s+|around\s+|over\s+)?(?P<v>3[89]|4[01]|10[0-6])"
        + _NO_TIME + r"(?!\s*(?:%|/|mmol|mg|ml|bpm|over|units?|weeks|per|on the|and (?:a|my|i)\b|percent|degrees? angle))(?=[^.]*)",
        convert=_celsius,
    ),
    _kind(
        "temperature", 25, 43.5,
        r"\b(?:is|was|at|of|over|shows|showing|says)\s+(?:a\s+|about\s+|at\s+|around\s+|over\s+)?(?P<v>3[89]|4[01]|10[0-6])"
        + _NO_TIME + r"(?!\s*(?:%|/|mmol|mg|ml|bpm|over|units?|weeks|per|on the|and (?:a|my|i)\b|percent|degrees? angle))(?=[^.]*)",
        beside=_ILL, convert=_celsius,
    ),
    _kind(
        "temperature", 25, 43.5,
        r"\b(?:has|got|had|have|having|running|with|and|,)\s+(?:a\s+)?(?P<v>3[89]|4[01]|10[0-5])"
        + _NO_TIME + r"(?!\s*(?:%|/|mmol|mg|ml|bpm|over|units?|weeks|per|and\b|percent|teeth|toys|degrees? angle))",
        beside=_YOUNG, convert=_celsius,
    ),
    _kind("gcs", 3, 15, _named(r"gcs", 10, r"(?P<v>\d{1,2})", r"")),
)  # fmt: skip
_PRESSURE = re.compile(
    r"(?<![\d.,/])(?P<v>\d{2,3})\s*(?:/|over|on|by|-|\\)\s*(?P<w>\d{2,3})(?![\d/]|[.,]\d|\s*(?:weeks|wks|days|hours|years|%|vision|yr|min|mg|mcg|ml))"
)
_SYSTOLIC = re.compile(
    r"\b(?:s?bp|bl[ou]+d pres\w*|pressure|systolic|sbp|top number)\b(?:(?!turning|aged?\b|\bim\b|\bi am)[^!?;\n]){0,28}?(?<![\d.,/])(?P<v>\d{2,3})(?![\d.,/]*\d|\s*(?:/|over|on|%|mg|ml|min|day|week|hour|year|month|times|points|s\b|bar|psi|hpa|mbar|mill))"
)
_PRESSURE_NAMED = re.compile(
    r"\b(?:s?bp|pres\w*|systolic|cuff|monitor|machine|hypertens\w*|reading|readings|reads|home|obs)\b"
)
_PAST = re.compile(
    r"\b(?:(?:in|since|from|of|back in|by) (?:19[4-9]\d|20[0-2]\d)|years? ago|yrs? ago|years? back|months ago|"
    r"last year|as a (?:child|kid|teen\w*|baby)|when i was (?:a |in |\d)|used to|years later|decades? ago|once (?:hit|had|was|reached))\b"
)
_NORM = re.compile(
    r"\bwhat(?:s| is| are)? (?:a |an |the |my )?(?:normal|healthy|ideal|average|typical)\b"
    r"|\bwhat should (?:my|the|his|her|a|an) (?:\w+ ){1,4}be (?:at|for|aged?)\b"
)
"""Questions about normal values; the number in them is an age."""
_PRESENT = re.compile(
    r"\b(?:now|today|tonight|again|currently|still|since (?:this|last|yesterday)|this (?:morning|evening|afternoon)|just|tod\w*)\b"
)
_SEGMENT = re.compile(r"(?<!\d)[.!?;](?!\d)|(?<=\d)[.!?;](?=\s|$)|(?<=[a-z])[.!?;]|\n")


def measure(text: str) -> list[Measured]:
    """Return the plausible measured values of a text, in text order within each kind.

    "My temp is 101F and BP 150/95" gives a temperature of 38.33 °C and two blood pressures,
    systolic 150 and diastolic 95 mmHg.
    """
    found: list[Measured] = []
    for segment in _segments(as_digits(flatten(text))):
        if any(c.isdecimal() for c in segment):
            aside = _PAST.search(segment) or _NORM.search(segment)
            if aside and not _PRESENT.search(segment):
                continue
            used = {i for m in _PRESSURE.finditer(segment) for i in range(*m.span())}
            found += _pressures(segment, used)
            for kind in _KINDS:
                found += _of_kind(kind, segment, used)
    return list(dict.fromkeys(found))


def _segments(text: str) -> Iterator[str]:
    for part in _SEGMENT.split(text):
        if part and part.strip():
            for at in range(0, len(part), 600):
                yield part[at : at + 700]


def _of_kind(kind: _Kind, segment: str, used: set[int]) -> Iterator[Measured]:
    """Yield the values of a kind in a segment."""
    if kind.beside and not kind.beside.search(segment):
        return
    for pattern in kind.patterns:
        for match in pattern.finditer(segment):
            at = match.start("v")
            if at in used:
                continue
            value = kind.convert(_number(match["v"]), segment[at : match.end("v") + 12])
            if kind.low <= value <= kind.high:
                used.add(at)
                yield Measured(kind.name, value, match[0].strip())


def _pressures(segment: str, used: set[int]) -> Iterator[Measured]:
    named = bool(_PRESSURE_NAMED.search(segment))
    for match in _PRESSURE.finditer(segment):
        upper, lower = float(match["v"]), float(match["w"])
        plain = "/" in match[0] and 60 <= upper <= 280 and lower >= 30 and lower % 1 == 0
        if not (40 <= upper <= 300 and 20 <= lower <= 190 and upper > lower + 5):
            continue
        if not named and not plain:
            continue
        yield Measured("systolic", upper, match[0].strip())
        yield Measured("diastolic", lower, match[0].strip())
    for match in _SYSTOLIC.finditer(segment):
        value = float(match["v"])
        if 40 <= value <= 300 and match.start("v") not in used:
            used.add(match.start("v"))
            yield Measured("systolic", value, match[0].strip())


def _number(said: str) -> float:
    return float(said.replace(",", "."))
