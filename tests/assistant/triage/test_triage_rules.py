"""The rules file: valid, sourced, reachable; and what is said of a file that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import galenic.assistant
from galenic.assistant.triage.rules import Population, Rule, Rules, load_rules, prepared
from galenic.assistant.triage.triage import triage
from galenic.assistant.triage.words.phrase import Matcher, parse_phrase
from galenic.assistant.triage.words.wording import plain_tokens
from galenic.errors import UserError

SHIPPED = Path(galenic.assistant.__file__).parent / "triage" / "rules.yaml"
RULES = load_rules(SHIPPED)
SMALL = """\
sources:
  here: {name: A guide, url: "https://example.org/guide"}
concepts:
  spots: {say: [green spots, "#3-5 spots"]}
rules:
  - id: green
    tier: days
    all_of: [spots]
    reason: Spots.
    do: Look.
    source: here
"""


def spoken(phrase: str) -> str:
    """One way to say a phrase."""
    said = []
    for part in phrase.split():
        choice = part.removesuffix("?").split("|")[0]
        if part == "..":
            continue
        if choice.isupper():
            choice = RULES.words[choice][0]
        if choice.startswith("#"):
            choice = choice[1:].split("-")[0]
        said.append(choice.rstrip("*").replace("_", " "))
    return " ".join(said)


def sayings(concept: str) -> list[str]:
    found = RULES.concepts[concept]
    return [*found.say, *(say for part in found.include for say in sayings(part))]


def about(population: Population) -> str:
    if population.concepts:
        return "Note: " + spoken(sayings(population.concepts[0])[0])
    if population.under_months is not None:
        return "She is 1 month old"
    return "I am 90 years old"


def text_for(rule: Rule) -> str:
    parts = [spoken(sayings(name)[0]) for name in (*rule.all_of, *rule.any_of[: rule.at_least])]
    parts += [about(RULES.populations[name]) for name in rule.population[:1]]
    return ". ".join(parts) + "."


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_every_rule_fires_and_has_a_source(rule: Rule) -> None:
    fired = {finding.id: finding for finding in triage(text_for(rule)).findings}
    assert rule.id in fired, text_for(rule)
    finding = fired[rule.id]
    assert finding.words and finding.reason.endswith(".")
    assert finding.source == RULES.sources[rule.source]
    assert finding.source.url.startswith("https://")


@pytest.mark.parametrize("name", RULES.concepts)
def test_every_phrase_is_found_as_it_is_written(name: str) -> None:
    ready = prepared()
    for phrase in RULES.concepts[name].say:
        tokens = [ready.speller.mend(token) for token in plain_tokens(spoken(phrase))]
        assert name in {mention.concept for mention in ready.symptoms.find(tokens)}, phrase


def test_nothing_stands_unused() -> None:
    used = {name for rule in RULES.rules for name in (*rule.all_of, *rule.any_of)}
    used |= {name for group in RULES.populations.values() for name in group.concepts}
    used |= {name for concept in RULES.concepts.values() for name in concept.include}
    assert set(RULES.concepts) - used == set()
    assert {group for rule in RULES.rules for group in rule.population} == set(RULES.populations)
    assert {rule.source for rule in RULES.rules} == set(RULES.sources)


@pytest.mark.slow
def test_both_yaml_readers_agree() -> None:
    text = SHIPPED.read_text("utf-8")
    assert Rules.model_validate(yaml.load(text, yaml.SafeLoader)) == RULES


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rules_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    result = triage("I have 4 spots", path)
    assert result.tier == "days" and result.findings[0].source.name == "A guide"
    assert triage("I have chest pain", path).tier == "unknown"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("tier: days", "tiers: days"), "line 7: rules: rule green: tiers: "),
        (("tier: days", "tier: soon"), "line 7: rules: rule green: tier: "),
        (("[spots]", "[dots]"), "rule green: there is no concept 'dots'"),
        (("source: here", "source: there"), "rule green: there is no source 'there'"),
        (("all_of: [spots]", "population: [men]"), "all_of or any_of"),
        (("    tier: days", "    population: [men]\n    tier: days"), "no population 'men'"),
        (("tier: days", "tier: days\n    tier: today"), "line 8: the key 'tier' appears twice"),
        (("https:", "ftp:"), "line 2: sources: here: url: "),
        (("green spots", '".. spots"'), "concept spots: phrase '.. spots'"),
        (("green spots", "GREEN spots"), "there is no word set GREEN"),
        (("green spots", '"gr* spots"'), "at least 3 letters before the *"),
        (("concepts:", "concepts: ["), "is not valid YAML"),
        (("rules:", "rule:"), "line 5: rule: Extra inputs"),
        (("do: Look.", 'do: ""'), "line 10: rules: rule green: do: "),
        (("id: green", "id: Green"), "line 6: rules: rule Green: id: "),
        (("[spots]", "[spots]\n    at_least: 0"), "line 9: rules: rule green: at_least: "),
        (("[spots]", "[spots]\n    at_least: '1'"), "line 9: rules: rule green: at_least: "),
        (("all_of: [spots]", "any_of: [spots]\n    at_least: 2"), "at_least 2 of 1 concepts"),
        (("{say:", "{include: [dots], say:"), "concept spots: there is no concept 'dots'"),
        (
            ("rules:", "populations: {men: {concepts: [dots]}}\nrules:"),
            "population men: there is no concept 'dots'",
        ),
        (("concepts:", "words: {Men: [men]}\nconcepts:"), "words"),
    ],
)
def test_a_bad_file_is_named_with_its_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        triage("text", write(tmp_path, SMALL.replace(*change, 1)))
    assert message in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    twice = SMALL + SMALL[SMALL.index("  - id") :]
    for text, message in (
        ("", "is empty"),
        ("[" * 5000, "--rules"),
        (twice, "green appears twice"),
    ):
        with pytest.raises(UserError, match=message):
            load_rules(write(tmp_path, text))
    with pytest.raises(UserError, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        load_rules(tmp_path / "bytes.yaml")


def test_the_largest_file_and_one_without_a_rule(tmp_path: Path) -> None:
    filled = SMALL + "#" * (2_000_000 - len(SMALL))
    assert [rule.id for rule in load_rules(write(tmp_path, filled)).rules] == ["green"]
    with pytest.raises(UserError, match="2,000,001 bytes; 2,000,000 are allowed"):
        load_rules(write(tmp_path, filled + "#"))
    none = SMALL[: SMALL.index("\n  - id")] + " []"
    with pytest.raises(UserError, match="line 5: rules: "):
        load_rules(write(tmp_path, none))
    with pytest.raises(ValueError, match="frozen"):
        RULES.rules[0].tier = "days"


def test_narrower_concepts_count_for_wider_ones_and_people_are_no_symptoms(tmp_path: Path) -> None:
    """Four concepts, the narrowest first, so that one pass over them is not enough."""
    concepts = """concepts:
  lowest: {say: [low spots]}
  low: {include: [lowest]}
  middle: {include: [low]}
  spots: {include: [middle]}
  beard: {say: [a beard]}
  young: {say: [young man]}
populations: {men: {concepts: [beard, young, low]}}
rules:"""
    start, end = SMALL.index("concepts:"), SMALL.index("rules:") + len("rules:")
    text = (SMALL[:start] + concepts + SMALL[end:]).replace("[spots]", "[spots, young]")
    path = write(tmp_path, text)
    ready = prepared(path)
    assert ready.families == {
        "lowest": {"lowest", "low", "middle", "spots"},
        "low": {"low", "middle", "spots"},
        "middle": {"middle", "spots"},
        "spots": {"spots"},
        "beard": {"beard"},
        "young": {"young"},
    }
    assert ready.quiet == {"beard", "low"}
    assert triage("A young man with low spots", path).tier == "days"
    assert triage("A young man with spots", path).tier == "unknown"


def test_phrases() -> None:
    matcher = Matcher()
    sets = {"PAIN": ["pain", "hurt*"]}
    matcher.add("chest", parse_phrase("chest .. PAIN", sets))
    matcher.add("back", parse_phrase("back|lower_back stiff really? bad", sets))

    def found(text: str) -> set[str]:
        return {mention.concept for mention in matcher.find(plain_tokens(text))}

    assert found("my chest it really hurts") == {"chest"}
    assert found("chest is fine, no pain") == set()
    assert found("chest a b c d e f pain") == {"chest"}
    assert found("chest a b c d e f g pain") == set()
    assert found("lower back stiff bad") == found("back stiff really bad") == {"back"}
