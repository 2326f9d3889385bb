"""Which topic is meant, what is asked of it, and what is said first."""

from __future__ import annotations

import pytest

from galenic.assistant.answer.aspects import asked_aspects
from galenic.assistant.answer.choose import choose
from galenic.assistant.answer.consider import consider
from galenic.assistant.answer.reading import read_question
from galenic.assistant.handbook.entry import Entry
from galenic.assistant.handbook.topics import Topics, topics
from galenic.retrieval.near_words import NearWords


def said(question: str) -> list[str]:
    return [one.place.statement.text for one in choose(read_question(topics(), question))]


@pytest.mark.parametrize(
    ("question", "entries"),
    [
        ("constipated toddler what helps", ["constipation"]),
        ("what brings on a migrane", ["migraine"]),
        ("is tonsilitis contagious", ["tonsillitis"]),
        ("how do i know if im dehydrated", ["dehydration"]),
        ("what does a stinking cold feel like", ["common-cold"]),
        ("how to sleep better", ["insomnia"]),
        ("can stress cause ibs", ["ibs"]),
        ("does lipitor cause muscle pain", ["statins"]),
        ("what's the difference between a cold and flu", ["flu", "common-cold"]),
        ("difference between type 1 and type 2 diabetes", ["type-1-diabetes", "type-2-diabetes"]),
        ("can I get pregnant on the pill", ["combined-pill"]),
        ("runnynose and sorethroat for 2days", ["common-cold", "sore-throat"]),
        ("is this the change?", ["menopause"]),
        ("a red dot on my arm that never changes", []),
        ("my 4 month old spits up after every bottle", ["baby-reflux"]),
    ],
)
def test_the_topic_is_found_in_a_persons_own_words(question: str, entries: list[str]) -> None:
    found = [one.entry.id for one in read_question(topics(), question).matches]
    assert sorted(found) == sorted(entries)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("what is a normal blood pressure", "/"),
        ("can I drive while taking codeine", "Do not drive"),
        ("does smoking cause high blood pressure", "smoking"),
        ("what's the difference between a cold and flu", "cold"),
        ("are cold sores catching", "spread"),
        ("can I eat brie when Im pregnant", "brie"),
        ("can I have paracetamol and ibuprofen at the same time", "together"),
        ("how often should a 55 year old woman have a mammogram", "three years"),
        ("I missed a dose of my statin", "do not double"),
    ],
)
def test_what_answers_comes_first(question: str, words: str) -> None:
    assert words in said(question)[0]


def _statements(texts: list[str]) -> list[dict[str, object]]:
    return [{"text": one, "from": ["p"]} for one in texts]


def entry(name: str, title: str, **fields: list[str] | dict[str, list[str]]) -> Entry:
    page = {"name": "A", "title": "B", "url": "https://www.nhs.uk/x", "date": "2026"}
    told = {
        k: {t: _statements(v[t]) for t in v} if isinstance(v, dict) else _statements(v)
        for k, v in fields.items()
    }
    return Entry.model_validate({
        "id": name, "kind": "topic", "title": title, "also": [], "group": "x",
        "sources": {"p": page}, **told,
    })  # fmt: skip


def made(**fields: list[str] | dict[str, list[str]]) -> Topics:
    """An entry on purple spots with these statements, among others, so that its name is rare."""
    others = [entry(f"{at}", f"Illness{at}", what=["Illness."]) for at in range(60)]
    return Topics([entry("purple-spots", "Purple spots", **fields), *others])


def test_the_field_asked_about_comes_first() -> None:
    spots = made(
        what=["Purple spots are spots.", "Purple spots are odd."],
        notice=["Purple spots itch.", "Purple spots ooze.", "Purple spots swell."],
        lasts=["Purple spots stay a while."],
        help=["Soap helps.", "Rest helps.", "Tea helps.", "Sun helps."],
    )

    def fields(question: str) -> list[str]:
        return [one.place.field for one in choose(read_question(spots, question))]

    assert fields("how long do purple spots last")[0] == "lasts"
    assert fields("what are the signs of purple spots")[:3] == ["notice"] * 3
    assert fields("what helps purple spots")[:4] == ["help"] * 4
    assert fields("what is a purple spot")[0] == "what"


@pytest.mark.parametrize(
    ("question", "aspect"),
    [
        ("how long am I contagious with a cold", "spread"),
        ("how long does a cold last", "duration"),
        ("is a BMI of 27 bad", "values"),
        ("should I go to A&E for a burn", "seek"),
        ("is asthma hereditary", "family"),
        ("is it normal to feel sick", "isnormal"),
        ("what happens if I miss my pill", "missed"),
    ],
)
def test_the_asked_thing_is_recognised(question: str, aspect: str) -> None:
    assert asked_aspects(question)[0].id == aspect


def test_how_is_it_does_not_ask_whether_it_is_something() -> None:
    for question, wanted in (
        ("How is it treated?", ["treatment"]),
        ("how is that diagnosed", ["tests"]),
        ("is it a cold?", ["symptoms"]),
    ):
        assert [one.id for one in asked_aspects(question)] == wanted, question


def test_near_words_are_other_endings_and_slips_and_no_words_of_their_own() -> None:
    near = NearWords(
        ["constipation", "tonsillitis", "asthma", "heart", "cough"], frozenset(["coat"])
    )
    assert near.near("constipated", "constipat") == "constipation"
    assert near.near("tonsilitis", "tonsiliti") == "tonsillitis"
    assert near.near("athsma", "athsma") == "asthma"
    for word in ("heater", "couch", "constant", "printer", "contest"):
        assert near.near(word, word) is None, word
    assert near.near("konstipation", "konstipation") is None  # the first letter is right
    assert near.near("tunsilytis", "tunsilyti") == "tonsillitis"  # written as it sounds
    assert near.near("asthme", "coat") is None  # a stem that is known is meant as it is


def test_words_of_text_messages_and_asking_words_are_understood() -> None:
    written = topics().mend("wen can my sun wiv chiken pox go bk to skool")
    assert written == "when can my son wiv chicken pox go back to school"


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        # the topic stands in one part of a story
        ("we live by the sea. I keep a parrot. My mother has gout and we sail a lot.", "gout"),
        ("I had a coil fitted on Friday, crampy, normal?", "contraception"),
        # one word of a longer name is no topic: "an eye that will not close"
        ("Why did they close my grandmother's hotel in 1987?", None),
    ],
)
def test_a_topic_in_one_part_of_a_story_is_found(question: str, entry: str | None) -> None:
    found = [one.entry.id for one in read_question(topics(), question).matches]
    assert found == ([entry] if entry else [])


def test_an_age_is_no_time_for_which_something_has_lasted() -> None:
    lasting = read_question(topics(), "cough for 6 months").aspects
    assert "persistent" in [one.id for one in lasting]
    aged = read_question(topics(), "is shingles contagious to her? she is 6 months").aspects
    assert [one.id for one in aged] == ["spread"]


def test_what_two_statements_say_alike_is_shown_once() -> None:
    spots = made(
        what=["Purple spots are spots."],
        help=["Warm soap helps purple spots.", "Warm soap often helps purple spots.", "Tea helps."],
    )
    told = [one.place.statement.text for one in choose(read_question(spots, "purple spots help"))]
    assert "Warm soap helps purple spots." in told
    assert "Warm soap often helps purple spots." not in told


def fields_of(known: Topics, question: str) -> list[str]:
    return [one.place.field for one in choose(read_question(known, question))]


def test_a_statement_may_say_in_other_words_what_is_asked() -> None:
    spots = made(
        what=["Purple spots are spots.", "Purple spots are odd.", "Purple spots are rare."],
        help=["Soap helps.", "Stay active with purple spots.", "Tea helps."],
    )
    found = choose(read_question(spots, "purple spots should i rest or walk"))
    assert found[0].place.statement.text == "Stay active with purple spots."


def test_how_long_it_has_lasted_asks_when_to_see_a_doctor() -> None:
    spots = made(
        what=["Purple spots are spots."],
        lasts=["Purple spots stay for two weeks."],
        seek={"days": ["See a doctor about purple spots that stay longer than three weeks."]},
    )
    assert "seek.days" in fields_of(spots, "had purple spots for 5 weeks")[:2]


def test_the_half_of_a_title_that_was_not_asked_for_comes_behind() -> None:
    titled = entry(
        "z", "Purple spots and green dots",
        what=["Green dots are dots.", "Purple spots are spots."], help=["Soap eases green dots."],
    )  # fmt: skip
    others = [entry(f"{at}", f"Illness{at}", what=["Illness."]) for at in range(60)]
    found = choose(read_question(Topics([titled, *others]), "what are purple spots"))
    assert found[0].place.statement.text == "Purple spots are spots."


def test_a_missed_dose_has_no_answer_where_the_entry_says_nothing_of_it() -> None:
    assert said("what if i forget a levothyroxine tablet") == []


def test_an_entry_on_several_things_answers_on_the_one_that_is_asked() -> None:
    several = {
        "what": ["A hip replacement puts in a new hip.", "A vasectomy cuts a tube for sperm."],
        "lasts": ["Recovery after a vasectomy takes a week.", "A new hip lasts for years."],
    }
    one = entry("operations", "Common operations", **several).model_copy(
        update={"group": "several", "also": ("vasectomy", "hip replacement", "nose job")}
    )
    others = [entry(f"{at}", f"Illness{at}", what=["Illness."]) for at in range(60)]
    known = Topics([one, *others])

    def texts(question: str) -> list[str]:
        return [found.place.statement.text for found in choose(read_question(known, question))]

    assert texts("how long to recover from a vasectomy") == [
        "Recovery after a vasectomy takes a week.",
        "A vasectomy cuts a tube for sperm.",
    ]
    assert texts("how long to recover from a nose job") == []


def test_advice_for_everybody_is_no_answer_in_pregnancy() -> None:
    spots = made(what=["Purple spots are spots."], help=["Strong soap helps purple spots."])
    assert choose(read_question(spots, "what helps purple spots"))
    assert not choose(read_question(spots, "what helps purple spots when pregnant"))


def _places(question: str) -> list[str]:
    reading = read_question(topics(), question)
    return [one.statement.text for one in consider(reading.matches[0], reading).places]


def test_statements_on_other_people_than_asked_about_are_left_out_but_not_warnings() -> None:
    adults = [one for one in _places("paracetamol with ibuprofen") if one.startswith("Adults")]
    pregnant = [one for one in _places("what is paracetamol") if "pregnan" in one.lower()]
    child = _places("can I give my child paracetamol with ibuprofen")
    assert adults and not set(adults) & set(child)
    entry = next(one for one in topics().known if one.id == "paracetamol")
    warned = {one.text for one in entry.ask_first}
    assert set(pregnant) & warned <= set(child)
    assert set(pregnant) <= set(_places("is paracetamol safe when pregnant"))
    assert {one.text for tier in ("emergency", "today", "days")
            for one in getattr(entry.seek, tier)} <= set(child)  # fmt: skip


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        ("how long does baby teething go on", "teething"),  # "dental-care" scores the same
        ("I get a tight chest walking uphill that goes when I stop", "chest-pain"),
        ("My skin itches all over but there's no rash. What could it be?", "itching"),
    ],
)
def test_equal_matches_go_by_the_title_and_what_is_denied_is_no_topic(
    question: str, entry: str
) -> None:
    assert read_question(topics(), question).matches[0].entry.id == entry


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        ("why does my heel hurt in the morning when I get out of bed", "plantar-fasciitis"),
        ("my period is late by a week but I am not pregnant", "periods"),
        ("how much sleep does a 10 year old need", "insomnia"),
        ("how much sleep does a 10 month old need", "baby-care"),
        ("I am 30 years old, how much sleep does my baby need", "baby-care"),
        ("I am pregnant and my period was late", "early-pregnancy"),
        ("my 4 year old has a fever", "fever-children"),  # "Fever in babies and children"
    ],
)
def test_beds_denied_conditions_and_babies_are_no_topic_where_nobody_asks_of_them(
    question: str, entry: str
) -> None:
    assert read_question(topics(), question).matches[0].entry.id == entry
