from typing import Any

import pytest

from galenic.data.rows import RowError, parse_row


def row(**changes: Any) -> dict[str, Any]:
    good = {
        "id": "q1",
        "dataset": "x",
        "split": "test",
        "question": "Which?",
        "context": None,
        "options": {"A": "one", "B": "two"},
        "answer": "B",
    }
    return {**good, **changes}


def test_good_row() -> None:
    example = parse_row(row(context="Read this.", year="2005", exp="because"))
    assert (example.id, example.question, example.context) == ("q1", "Which?", "Read this.")
    assert list(example.options.items()) == [("A", "one"), ("B", "two")]
    assert example.answer == "B"
    assert example.meta == {"year": "2005", "exp": "because"}


def test_two_equal_texts_are_kept_as_the_source_has_them() -> None:
    assert parse_row(row(options={"A": "same", "B": "same"})).options["B"] == "same"


def test_conclusion_of_an_abstract_is_dropped_whole() -> None:
    example = parse_row(row(long_answer="so the answer is two"))
    assert "so the answer is two" not in repr(example)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"answer": None}, "`answer` is missing"),
        ({"answer": "C"}, "`answer` 'C' is none of the options A, B"),
        ({"answer": ["A"]}, "is none of the options"),
        ({"answer": 1}, "`answer` 1 is none of the options"),
        ({"options": {"A": "one"}}, "at least two options, found 1"),
        ({"options": None}, "`options` must be an object"),
        ({"options": {"A": "one", "a": "two"}}, "option label 'a' is there twice"),
        ({"options": {"A": "one", " B": "two"}}, "white space around it"),
        ({"options": {"A": "one", "B": " "}}, "option 'B' is empty"),
        ({"options": {"A": "one", "B": 2}}, "option 'B' must be text, not 2"),
        ({"question": "\n"}, "`question` is empty"),
        ({"question": None}, "`question` must be text, not missing or null"),
        ({"question": "half \ud800"}, "half a surrogate pair"),
        ({"context": ""}, "`context` is empty"),
        ({"id": ""}, "`id` is empty"),
        ({"id": 7}, "`id` must be text, not 7"),
    ],
)
def test_broken_rows(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RowError) as error:
        parse_row(row(**changes))
    assert problem in str(error.value)
