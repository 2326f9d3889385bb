"""The triage rules as data: read, checked, made ready.

``rules.yaml`` is the shipped set: reviewable, not yet reviewed by a clinician.
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
"""Stands for a concept where the `masks` of the rules are found."""
LARGEST_FILE = 2_000_000
"""Bytes of a rules file."""

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(_Strict):
    """Public guidance that a rule follows.

    Attributes:
        name: publisher and page.
        url: its address.
        seen: the day on which the address was looked up and found in use; None = not looked up.
    """

    name: Text
    url: Annotated[str, Field(pattern=r"^https://\S+$")]
    seen: date | None = None


class Concept(_Strict):
    """Something a text may say: its phrases and those of other concepts.

    Attributes:
        say: phrases (see `galenic.assistant.triage.words.phrase`).
        include: concepts whose mentions are mentions of this one as well.
        lasting: it stays true when it is told as past ("a transplant ten years ago").
    """

    say: list[Text] = []
    include: list[Name] = []
    lasting: bool = False


class Population(_Strict):
    """People that a rule is about: an age in the text, or a concept, makes one of them.

    Attributes:
        says: the group in words for the reader; empty = its name.
    """

    says: str = ""
    concepts: list[Name] = []
    under_months: float | None = None
    from_years: float | None = None


class Rule(_Strict):
    """Everything in ``all_of`` and ``at_least`` of ``any_of`` present, in one of the populations.

    Attributes:
        id: its name in results.
        population: any of these; ``anyone`` if left out.
        tier: how soon help is needed.
        all_of: concepts that must all be there.
        any_of: concepts of which ``at_least`` must be there.
        when_gone: the tier when the text says that it has passed.
        reason: why, in plain words.
        do: what to do.
        source: key of a source.
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
    """A whole file of rules.

    Raises:
        ValueError: a name that is not defined, an id that appears twice, a phrase that cannot be
            read; names the rule or the concept.
    """

    words: dict[Annotated[str, Field(pattern=r"^[A-Z]+$")], list[Text]] = {}
    compounds: dict[str, list[str]] = {}
    masks: list[Text] = []
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
    """Rules made ready for texts.

    Attributes:
        rules: as they were read.
        symptoms: finds their concepts.
        context: finds what stands around them.
        families: for each concept, the concepts that it is a mention of, itself too.
        speller: mends misspelt words that would matter.
        quiet: concepts that only say whom a text is about.
    """

    rules: Rules
    symptoms: Matcher
    context: Matcher
    families: Mapping[str, frozenset[str]]
    speller: Speller
    quiet: frozenset[str]


def load_rules(path: Path) -> Rules:
    """Read a rules file of one's own.

    Raises:
        UserError: it cannot be read, or is no valid rules file; names rule or key and line.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UserError(f"--rules {path}: {size:,} bytes; at most {LARGEST_FILE:,} are read.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"--rules {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"--rules {path} is not UTF-8 text ({error.reason}). Save it as UTF-8."
        ) from error
    return _parse(text, f"--rules {path}")


def prepared(path: Path | None = None) -> Prepared:
    """The shipped rules, read once, or those of a file as it is now, ready for use.

    Raises:
        UserError: as `load_rules`.
    """
    return _shipped_rules() if path is None else _prepare(load_rules(path), path)


@cache
def _shipped_rules() -> Prepared:
    return _prepare(_parse(_shipped("rules.yaml"), "rules.yaml"), None)


def _prepare(rules: Rules, path: Path | None) -> Prepared:
    symptoms, context = Matcher(), Matcher()
    for name, concept in rules.concepts.items():
        symptoms.add(name, _phrases(f"concept {name}", concept.say, rules.words, path))
    symptoms.add(MASK, _phrases("masks", rules.masks, rules.words, path))
    found = yaml.safe_load(_shipped("context.yaml"))
    parts = TypeAdapter(dict[str, list[str]]).validate_python(found)
    if sorted(parts) != sorted(CONTEXT_PARTS):
        raise ValueError(f"context.yaml: {sorted(set(parts) ^ set(CONTEXT_PARTS))}")
    for name, phrases in parts.items():
        context.add(name, _phrases(name, phrases, _CONTEXT_WORDS, None))
    speller = Speller(rules.spelling, symptoms, context)
    return Prepared(rules, symptoms, context, _families(rules.concepts), speller, _quiet(rules))


_CONTEXT_WORDS = {"YEARNUM": ["year", "years", "yr", "yrs", "decade", "decades"]}


def _phrases(
    where: str, say: Iterable[str], words: Mapping[str, list[str]], path: Path | None
) -> list[Phrase]:
    try:
        return [parsed for phrase in say for parsed in parse_phrase(phrase, words)]
    except ValueError as error:
        raise UserError(f"{'rules' if path is None else path}: {where}: {error}.") from error


def _families(concepts: Mapping[str, Concept]) -> dict[str, frozenset[str]]:
    """The other way round from ``include``, through any number of steps."""
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
        raise UserError(f"{origin} is no valid YAML: {one_line(str(error))}.") from error
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
    """Plain YAML keeps the last of two equal keys."""
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
    """The names on the way to a value, with the rule's id, and the line nearest to it."""
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
    """The line of a key or item, and its value."""
    if isinstance(node, yaml.MappingNode):
        pairs = (pair for pair in node.value if pair[0].value == part)
        return next(((key.start_mark.line, value) for key, value in pairs), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None
