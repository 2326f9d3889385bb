"""Resources for tests, made as a record would have them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from galenic.record.facts import Fact
from galenic.record.person import Person, read_person

__all__ = ["TODAY", "allergy", "code", "condition", "facts_of", "order", "person", "statement"]

TODAY = date(2026, 11, 25)


def code(text: str) -> dict[str, Any]:
    return {"coding": [{"code": text}]}


def condition(name: str, clinical: str = "active", verified: str = "confirmed", **more: Any) -> Any:
    return {
        "resourceType": "Condition",
        "clinicalStatus": code(clinical),
        "verificationStatus": code(verified),
        "code": {"text": name},
        "recordedDate": "2026-10-01",
        **more,
    }


def order(name: str, status: str = "active", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "status": status,
        "intent": "order",
        "medicationCodeableConcept": {"text": name},
        "authoredOn": "2026-10-10",
        **more,
    }


def statement(name: str, status: str = "active", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "MedicationStatement",
        "status": status,
        "medicationCodeableConcept": {"text": name},
        **more,
    }


def allergy(name: str, clinical: str = "active", verified: str = "confirmed", **more: Any) -> Any:
    return {
        "resourceType": "AllergyIntolerance",
        "clinicalStatus": code(clinical),
        "verificationStatus": code(verified),
        "code": {"text": name},
        **more,
    }


def person(*resources: Any) -> Person:
    entries = [{"resource": one} for one in resources]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return read_person(json.dumps(bundle), TODAY)


def facts_of(*resources: Any) -> tuple[Fact, ...]:
    return person(*resources).facts
