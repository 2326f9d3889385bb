"""Is anybody said to be ill now? General questions, stories, figures of speech, letters of old.

A sentence is set aside only where nothing in the whole message speaks of the present: a word like
"now", "since this morning" or "can't" anywhere makes all of it count.
"""

from __future__ import annotations

import re
from datetime import date

from galenic.assistant.triage.scope import Status
from galenic.assistant.triage.wording import Sentence

__all__ = ["asides_of"]

_FIGURES = re.compile(r"\b(?:well|fine|healthy|happy|good|ok|okay|fit|happily|great) (?:now|since|ever since|these days|today|nowadays|at present)\b|"
    r"\b(?:ever since|since then|nowadays|these days|years? since|now (?:and then|that|30|i want|the)|for years|from now on)\b|"
    r"\b(?:years?|decades?) ago\b|\bsince (?:19|20)\d\d\b|\bnow what\b|\bcant (?:eat|have|wait|stand|believe|afford|remember whether|decide)\b")  # fmt: skip
_PRESENT = re.compile(
    r"\b(?:now|right now|today|tonight|tonite|this (?:morning|afternoon|evening|minute|am)|yesterday|yesday|last (?:night|nite)|"
    r"since|\d+ ?(?:hours?|hrs?|h|minutes?|mins?)|(?:an|half an|few|couple of) hours?|all (?:day|night|morning)|(?:hours?|minutes?|days?) ago|started|starting|"
    r"suddenly|sudden|keeps?|keep (?:vomiting|being|getting|having|feeling)|still|getting|worse|worsening|woke|just (?:had|took|fell|started|got|been|hit|ate|swallowed|fainted|collapsed|passed)|"
    r"help|please|at the moment|currently|cant|wont|isnt|hasnt|havent|doesnt|didnt|not (?:breathing|waking|moving|responding|feeding)|"
    r"(?:hes|shes|im|theyre|is|are|am) (?:having|bleeding|shaking|fitting|choking|vomiting|burning|struggling|turning|going|being|lying|barely|really|so|very)|"
    r"my \w+ (?:hurts?|aches?|is|are|feels?|has|went|started|keeps|burns|swelled)|i (?:feel|took|swallowed|fell)|ive (?:got|been|taken|had this)|having|what (?:do|should) (?:i|we) do|need|on the floor|"
    r"x \d|post ?op|\d+ ?[mf]\b|[mf] ?\d\d\b|hx|pt|c or o|\d ?- ?7)\b"
)
_STORY = re.compile(
    r"\b(?:novel|fanfic\w*|short story|story ?line|my character|the character|screenplay|script|the film|a film|film last|horror film|movies?|in the series|netflix|soap|telly|tv (?:show|drama|series)|on tv|actress|actor|"
    r"opera|episode|podcast|documentary|poster|leaflet|essay|homework|assignment|dissertation|quiz|crossword|chem class|biology class|lesson|lecture|training day|first aid (?:course|poster|class)|newsletter|school (?:project|newsletter|play)|"
    r"nursing (?:exam|student)|medical student|student nurse|revising|revision|exam on|for our (?:\w+ )?(?:group|training|class|school)|history (?:essay|lesson)|giving a talk|a talk at|we.ve just had a talk|book club|historically|"
    r"in (?:the )?(?:war|navy|middle ages|victorian|1[5-9]\d\ds|19\d\ds)|nelsons|figuratively|emotionally|pun intended|metaphor\w*|so to speak|just curious|out of curiosity|curious|statistically|in general|generally speaking|general(?:ly)? guidelines?)\b"
)
_JEST = re.compile(r"\b(?:lol|lmao|rofl|haha\w*|ha ha|hehe|joking|jk|laughing)\b")
_TOPIC = re.compile(
    r"\b(?:insurance|vaccin\w*|jabs?\b|licen[cs]e|driving rules|fly|flying|flights?|travel|holiday|qualify|declar\w*|prevent\w*|grow out|inherit\w*|hereditary|genetic|contagious|catch|hug|common|rare|likely|chances?|real|true|myth|old wives|"
    r"same (?:thing )?as|difference|counts? as|range|normal (?:for|range|blood|pulse|bp)|recommended|guidelines?|screening|screened|checked regularly|risk of|at risk|lower (?:my|the) risk|dangerous|serious|toxic|poisonous|safe|worth|cost|price|fees?|"
    r"course|job|career|hobby|recipe|gym|diet|exercise|exercises|tips|advice on|products?|cream|scars?|leave|form|forms|appointment|register|prepayment|buy|brand|happen again|come back|come twice|come again|have it twice|again with|"
    r"work\b|mean|called|stand for|invented|discovered|history|realistic|always|usually|typically|everyone|people|someone|somebody|one|a person|adults?|children|kids|babies|women|men|ppl|teens?|how long (?:does|do|is|must)|how (?:do|does|common|often|likely|rare|quickly|is|are)|why (?:do|does|is|are)|what (?:is|are|causes|does|do|happens)|who is|which|where)\b"
)
_QUESTION = re.compile(
    r"^(?:(?:so|and|but|just|also|ok|okay|hi|hello|hey|anyway|quick question|question|genuine question|omg|well)\W+)*(?:im wondering|i wonder|wondering|wonder)?\s*(?:if|whether)?\s*"
    r"(?:what|whats|which|who|whos|where|wheres|when|why|whys|how|hows|is|are|do|does|did|can|could|should|would|will|has|have|tell me|explain|any(?:one|body)? (?:know|tips|recommend\w*)|ought|am i|may)\b"
)
_IMPERSONAL = re.compile(
    r"^(?:do|does|can|could|are|will|would) (?!i\b|we\b|you\b|he\b|she\b|they\b|my\b|our\b|this\b|it\b|that\b)"
)
_EMBEDDED = re.compile(r"\b(?:how (?:common|likely|rare|often|long|do|does)|what (?:is|are|does|can|should|do|helps)|whats|can i|should i|do i|is it|is there|are there|does it|will it|will they|could i|ought i|which|any (?:tips|advice|tricks|exercises))\b")  # fmt: skip
_PERSONAL = re.compile(
    r"\b(?:i|im|ive|id|me|my|mine|he|hes|his|him|she|shes|her|we|our|us|they|theyre|their|this|it|its|husband|wife|mum|mom|dad|son|daughter|baby|partner)\b"
)
_LONG_PAST = re.compile(
    r"\b(?:years? ago|yrs ago|decades? ago|months ago|(?:six|seven|eight|\d+) weeks ago|last (?:year|winter|summer|spring|autumn|month)|in (?:19|20)\d\d|as a (?:kid|child|boy|girl|teen\w*|baby|student)|when i was|at (?:age )?(?:\d\d|nineteen|eighteen)|"
    r"once|used to|in the past|past years|previously|before (?:i|we)|in the army|back in|had (?:\w+ ){0,3}(?:twice|once|three times)|survived|never had|years old when|when (?:my|our) \w+ were|i had|ive had|discharged|recovered|since birth|from my teens|was diagnosed)\b"
)
_LETTER = re.compile(
    r"\b(?:letter|discharge summary|clinic note|report|results? from|appointment of|dear (?:dr|doctor|mr|mrs|ms)|dictated|seen in clinic|admitted|date of)\b"
)
_YEAR = re.compile(r"\b(19[5-9]\d|20\d\d)\b")


def asides_of(
    text: str, sentences: list[Sentence], today: date | None = None
) -> list[Status | None]:
    """For each sentence why nothing in it counts; None where it may count."""
    said = [" ".join(sentence.tokens) for sentence in sentences]
    found = [_of_letter(one, today or date.today()) for one in said]
    if any(found):
        found = _of_paragraph(text, said, found)
    whole = _FIGURES.sub(" ", " . ".join(said))
    if _PRESENT.search(whole):
        return found
    asks = any(_is_general(one, s.asks) for one, s in zip(said, sentences, strict=True))
    story, jest = bool(_STORY.search(whole)), bool(_JEST.search(whole))
    for at, one in enumerate(said):
        if found[at] is not None:
            continue
        if story or jest or (_is_general(one, sentences[at].asks) and not _claims(one)):
            found[at] = "question"
        elif asks and _LONG_PAST.search(one):
            found[at] = "past"
    return found


def _is_general(said: str, asks: bool) -> bool:
    question = _QUESTION.search(said) is not None or (asks and _EMBEDDED.search(said) is not None)
    return question and (_TOPIC.search(said) or _IMPERSONAL.search(said)) is not None


def _claims(said: str) -> bool:
    """The question speaks of a person, and not only of what that person may do."""
    rest = re.sub(
        r"\b(?:can|could|should|would|may|do|did|will|am|ought|must|if) (?:i|we|you)(?: still| ever)? (?:know|keep|have to|need|carry|fly|travel|drive|take|give|use|eat|drink|buy|get|go|ask|do|declare|worry|qualify|catch|hug|prevent|look|wear|join|start|tell|talk|had)\b|"
        r"\b(?:is|are) (?:this|these|it) (?:\w+ ){0,3}(?=(?:toxic|poisonous|edible|safe|harmful|ok|okay)\b)|\bis it\b|\bis there\b|\bdoes it\b|\bit is true\b|\bare there\b|\bwill it\b|\bor is it\b|\bi wonder\b|\bim wondering\b|\bmy (?:children|kids|body|own|\d|(?:old )?scars)\b",
        " ", said,
    )  # fmt: skip
    return _PERSONAL.search(rest) is not None


def _of_letter(said: str, today: date) -> Status | None:
    years = [int(year) for year in _YEAR.findall(said)]
    if years and max(years) < today.year - 1 and _LETTER.search(said):
        return "past"
    return None


def _of_paragraph(text: str, said: list[str], found: list[Status | None]) -> list[Status | None]:
    """What follows a dated letter belongs to it, up to a blank line or to words of the present."""
    if "\n" not in text.strip():
        return found
    inside = False
    spread: list[Status | None] = []
    for one, status in zip(said, found, strict=True):
        inside = status is not None or (inside and not _PRESENT.search(one))
        spread.append("past" if inside else None)
    return spread
