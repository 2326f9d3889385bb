"""The person: notes and health records (FHIR) as facts."""
