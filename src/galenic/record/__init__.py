"""A person's own data for a question: notes in free text, or a health record (FHIR) as facts."""
