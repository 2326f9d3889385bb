"""Load, validate and compile triage rules.

``rules.yaml`` is the rule set that comes with Galenic. It is written to be reviewed; no clinician
has reviewed it yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from galenic.assistant.triage.scope import CONTEXT_PARTS
from galenic.assistant.triage.words.phrase import Matcher, Phrase, parse_phrase
from galenic.assistant.triage.words.spelling import Speller
from galenic.errors import UserError
from galenic.limits import one_line
from galenic.reading import read_file

__all__ = [
    "MASK",
    "Concept",
    "Population",
    "Prepared",
    "Rule",
    "Rules",
    "Source",
    "load_rules",
    "prepared",
]

MASK = "_mask"
"""Pseudo-concept for the phrases under ``masks`` in the rules, such as "hay fever", inside which
other concepts are not recognized."""
LARGEST_FILE = 2_000_000
"""Maximum size of a rules file in bytes."""

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(_Strict):
    """Published guidance that a rule follows.

    Attributes:
        name: Publisher and title of the page.
        url: Address of the page.
        seen: Day on which the address was checked; None if it was not.
    """

    name: Text
    url: Annotated[str, Field(pattern=r"^https://\S+$")]
    seen: date | None = None


class Concept(_Strict):
    """Something that a text may mention, such as "chest pain", with the phrases that express it.

    Attributes:
        say: Phrases in the syntax of `galenic.assistant.triage.words.phrase`.
        include: Narrower concepts; a mention of one of them is a mention of this one as well.
        lasting: Whether it still holds if told in the past ("a transplant ten years ago").
    """

    say: list[Text] = []
    include: list[Name] = []
    lasting: bool = False


class Population(_Strict):
    """A group of people that rules can refer to, defined by concepts or by an age.

    A person belongs to it if the text or the record mentions one of the concepts or a matching age.

    Attributes:
        says: Name of the group for the reader; if empty, its key is used.
        concepts: Concepts of which any one makes the person a member.
        under_months: Upper age limit in months (excluded); None for no limit.
        from_years: Lower age limit in years; None for no limit.
    """

    says: str = ""
    concepts: list[Name] = []
    under_months: float | None = None
    from_years: float | None = None


class Rule(_Strict):
    """A triage rule: a combination of concepts and the tier that it leads to.

    It matches if all concepts of ``all_of`` and at least ``at_least`` of ``any_of`` are present and
    the person belongs to one of the populations.

    Attributes:
        id: Name of the rule in results.
        population: Population groups of which any one suffices; if empty, the rule applies to
            anyone.
        tier: How soon help is needed.
        all_of: Concepts that must all be present.
        any_of: Concepts of which at least ``at_least`` must be present.
        at_least: Number of concepts of ``any_of`` that must be present.
        when_gone: Tier if the text says that the symptoms have passed; None to keep ``tier``.
        reason: Why, in plain words for the reader.
        do: What to do, in plain words for the reader.
        source: Key of a source.
    """

    id: Name
    population: list[Name] = []
    tier: Literal["emergency", "today", "days", "self-care"]
    all_of: list[Name] = []
    any_of: list[Name] = []
    at_least: Annotated[int, Field(ge=1)] = 1
    when_gone: Literal["today", "days"] | None = None
    reason: Text
    do: Text
    source: Name

    @model_validator(mode="after")
    def _asks_for_something(self) -> Rule:
        if not self.all_of and not self.any_of:
            raise ValueError("all_of or any_of must name a concept")
        if self.any_of and self.at_least > len(self.any_of):
            raise ValueError(f"at_least {self.at_least} of {len(self.any_of)} concepts")
        return self


class Rules(_Strict):
    """Contents of a rules file.

    Attributes:
        words: Named word sets, written in capitals in phrases.
        compounds: For a word, the words after it that change its meaning; "x" is then appended to
            it, so that its own phrases no longer match.
        masks: Phrases such as "hay fever", inside which other concepts are not recognized.
        names: Phrases such as "stroke" that only name a danger. A rule of tier ``emergency`` that
            rests on them alone leads to ``today`` if nobody is said to have it now.
        spelling: Fixed spelling corrections.
        sources: Published guidance by key.
        concepts: Concepts by name.
        populations: Population groups by name.
        rules: The rules.

    Raises:
        ValueError: If a name is not defined, an id appears twice or a phrase is invalid; the
            message names the rule or the concept.
    """

    words: dict[Annotated[str, Field(pattern=r"^[A-Z]+$")], list[Text]] = {}
    compounds: dict[str, list[str]] = {}
    masks: list[Text] = []
    names: list[Text] = []
    spelling: dict[str, str] = {}
    sources: dict[Name, Source]
    concepts: dict[Name, Concept]
    populations: dict[Name, Population] = {}
    rules: Annotated[list[Rule], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_known(self) -> Rules:
        for name, concept in self.concepts.items():
            self._need("concept", f"concept {name}", concept.include, self.concepts)
        for name, population in self.populations.items():
            self._need("concept", f"population {name}", population.concepts, self.concepts)
        seen: set[str] = set()
        for rule in self.rules:
            where = f"rule {rule.id}"
            if rule.id in seen:
                raise ValueError(f"{where} appears twice")
            seen.add(rule.id)
            self._need("concept", where, [*rule.all_of, *rule.any_of], self.concepts)
            self._need("population", where, rule.population, self.populations)
            self._need("source", where, [rule.source], self.sources)
        return self

    @staticmethod
    def _need(kind: str, where: str, names: Iterable[str], known: Mapping[str, Any]) -> None:
        for name in names:
            if name not in known:
                raise ValueError(f"{where}: there is no {kind} {name!r}")


@dataclass(frozen=True)
class Prepared:
    """Compiled rules, ready to be applied to texts.

    Attributes:
        rules: The rules as loaded.
        symptoms: Matcher for the phrases of concepts.
        context: Matcher for the phrases of ``context.yaml``.
        names: Matcher for the phrases that only name a danger.
        families: For each concept, all concepts that a mention of it also mentions: itself and
            those that include it, directly or indirectly.
        speller: Corrector for misspelt words of the rules.
        quiet: Concepts that only describe who the person is, not what they suffer from.
    """

    rules: Rules
    symptoms: Matcher
    context: Matcher
    names: Matcher
    families: Mapping[str, frozenset[str]]
    speller: Speller
    quiet: frozenset[str]


def load_rules(path: Path) -> Rules:
    """Load a custom rules file.

    Raises:
        UserError: If the file cannot be read or is not a valid rules file; the message names the
            rule or key and the line.
    """
    try:
        text = read_file(path, LARGEST_FILE).decode("utf-8")
    except OSError as error:
        raise UserError(f"--rules {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"--rules {path} is not UTF-8 text ({error.reason}). Save it as UTF-8."
        ) from error
    return _parse(text, f"--rules {path}")


def prepared(path: Path | None = None) -> Prepared:
    """Return the compiled rules of a file, or those of Galenic, compiled once, if it is None.

    Raises:
        UserError: As for `load_rules`.
    """
    return _shipped_rules() if path is None else _prepare(load_rules(path), path)


@cache
def _shipped_rules() -> Prepared:
    return _prepare(_parse(_shipped("rules.yaml"), "rules.yaml"), None)


def _prepare(rules: Rules, path: Path | None) -> Prepared:
    symptoms, context, names = Matcher(), Matcher(), Matcher()
    for name, concept in rules.concepts.items():
        symptoms.add(name, _phrases(f"concept {name}", concept.say, rules.words, path))
    symptoms.add(MASK, _phrases("masks", rules.masks, rules.words, path))
    names.add("names", _phrases("names", rules.names, rules.words, path))
    found = yaml.safe_load(_shipped("context.yaml"))
    parts = TypeAdapter(dict[str, list[str]]).validate_python(found)
    if sorted(parts) != sorted(CONTEXT_PARTS):
        raise ValueError(f"context.yaml: {sorted(set(parts) ^ set(CONTEXT_PARTS))}")
    for name, phrases in parts.items():
        context.add(name, _phrases(name, phrases, _CONTEXT_WORDS, None))
    speller = Speller(rules.spelling, symptoms, context)
    families = _families(rules.concepts)
    return Prepared(rules, symptoms, context, names, families, speller, _quiet(rules))


_CONTEXT_WORDS = {"YEARNUM": ["year", "years", "yr", "yrs", "decade", "decades"]}


def _phrases(
    where: str, say: Iterable[str], words: Mapping[str, list[str]], path: Path | None
) -> list[Phrase]:
    try:
        return [parsed for phrase in say for parsed in parse_phrase(phrase, words)]
    except ValueError as error:
        raise UserError(f"{'rules' if path is None else path}: {where}: {error}.") from error


def _families(concepts: Mapping[str, Concept]) -> dict[str, frozenset[str]]:
    """Return for each concept the set of concepts that its mentions count for."""
    above: dict[str, set[str]] = {name: {name} for name in concepts}
    for _ in range(len(concepts)):
        before = sum(map(len, above.values()))
        for name, concept in concepts.items():
            for part in concept.include:
                above[part] |= above[name]
        if sum(map(len, above.values())) == before:
            break
    return {name: frozenset(names) for name, names in above.items()}


def _quiet(rules: Rules) -> frozenset[str]:
    used = {name for rule in rules.rules for name in (*rule.all_of, *rule.any_of)}
    people = {name for population in rules.populations.values() for name in population.concepts}
    return frozenset(people - used)


def _shipped(name: str) -> str:
    return files("galenic.assistant.triage").joinpath(name).read_text(encoding="utf-8")


def _parse(text: str, origin: str) -> Rules:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise UserError(f"{origin} is empty.")
        _no_twins(node, origin)
        found = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise UserError(f"{origin} is not valid YAML: {one_line(str(error))}.") from error
    except RecursionError as error:
        raise UserError(f"{origin} is nested too deeply.") from error
    finally:
        loader.dispose()
    try:
        return Rules.model_validate(found)
    except ValidationError as error:
        errors = error.errors()
        first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
        where, line = _place(node, first["loc"])
        raise UserError(f"{origin}, line {line}: {where}{first['msg']}.") from error


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _no_twins(node: yaml.Node, origin: str) -> None:
    """Raise a UserError if a YAML mapping has a key twice; YAML would keep the last one."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen if isinstance(key.value, str) else False:
                line = key.start_mark.line + 1
                raise UserError(f"{origin}, line {line}: the key {key.value!r} appears twice.")
            seen.add(str(key.value))
            _no_twins(value, origin)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _no_twins(item, origin)


def _place(node: yaml.Node, loc: tuple[int | str, ...]) -> tuple[str, int]:
    """Return the path to an invalid value, with the id of its rule, and the nearest line number."""
    names: list[str] = []
    line = node.start_mark.line
    for part in loc:
        found = _child(node, part)
        if found is None:
            names.append(str(part))
            break
        line, node = found
        rule = _child(node, "id")
        names.append(f"rule {rule[1].value}" if rule is not None else str(part))
    return (": ".join(names) + ": " if names else ""), line + 1


def _child(node: yaml.Node, part: int | str) -> tuple[int, yaml.Node] | None:
    """Return the zero-based line and node of a mapping key or list item; None if missing."""
    if isinstance(node, yaml.MappingNode):
        pairs = (pair for pair in node.value if pair[0].value == part)
        return next(((key.start_mark.line, value) for key, value in pairs), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None
