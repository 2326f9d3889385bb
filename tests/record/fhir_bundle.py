"""A health record of nobody, as a FHIR R4 bundle."""

from __future__ import annotations

import base64
from typing import Any

__all__ = ["BUNDLE"]


def coded(text: str, code: str = "0") -> dict[str, Any]:
    return {"coding": [{"system": "http://example.org", "code": code, "display": text}]}


def entry(kind: str, **fields: Any) -> dict[str, Any]:
    url = f"urn:uuid:{kind.lower()}-{fields.get('id', 1)}"
    return {"fullUrl": url, "resource": {"resourceType": kind, "id": "1", **fields}}


BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        entry("Patient", name=[{"family": "Secretname"}], gender="female", birthDate="1961-03-04"),
        entry(
            "Condition",
            code={"text": "Type 2 diabetes mellitus"},
            clinicalStatus=coded("Active"),
            onsetDateTime="2015-06-01T10:00:00Z",
        ),
        entry(
            "Observation",
            id="later",
            status="final",
            code=coded("Hemoglobin A1c"),
            effectiveDateTime="2024-02-01",
            valueQuantity={"value": 7.2, "unit": "%"},
            interpretation=[coded("High")],
            referenceRange=[
                {"low": {"value": 4, "unit": "%"}, "high": {"value": 5.6, "unit": "%"}}
            ],
        ),
        entry(
            "Observation",
            id="earlier",
            code=coded("Blood pressure"),
            effectiveDateTime="2020-01-05",
            component=[
                {"code": coded("Systolic"), "valueQuantity": {"value": 140, "unit": "mmHg"}},
                {"code": coded("Diastolic"), "valueQuantity": {"value": 90, "unit": "mmHg"}},
            ],
        ),
        entry("Medication", id="m1", code={"text": "Metformin 500 mg tablet"}),
        entry(
            "MedicationRequest",
            status="active",
            authoredOn="2016-01-01",
            medicationReference={"reference": "Medication/m1"},
            dosageInstruction=[{"text": "one tablet twice a day"}],
        ),
        entry(
            "MedicationStatement",
            status="active",
            effectivePeriod={"start": "2019-05-05"},
            medicationCodeableConcept={"text": "Vitamin D"},
        ),
        entry(
            "AllergyIntolerance",
            code={"text": "Penicillin"},
            criticality="high",
            recordedDate="1999-09-09",
            reaction=[{"manifestation": [{"text": "Hives"}]}],
        ),
        entry(
            "Immunization",
            status="completed",
            vaccineCode={"text": "Influenza vaccine"},
            occurrenceDateTime="2023-10-10",
        ),
        entry(
            "Procedure",
            status="completed",
            code={"text": "Appendectomy"},
            performedPeriod={"start": "1985-07-01"},
        ),
        entry(
            "DiagnosticReport",
            code={"text": "Chest X-ray"},
            effectiveDateTime="2022-02-02",
            conclusion="No sign of pneumonia.",
        ),
        entry(
            "DocumentReference",
            type={"text": "Discharge letter"},
            date="2021-01-01",
            content=[
                {
                    "attachment": {
                        "contentType": "text/plain",
                        "data": base64.b64encode(
                            b"Discharged home.\n\nRest for two weeks."
                        ).decode(),
                    }
                }
            ],
        ),
        entry("Encounter"),
        entry("Encounter", id="2"),
        {"fullUrl": "urn:uuid:empty"},
        "not an object",
    ],
}
