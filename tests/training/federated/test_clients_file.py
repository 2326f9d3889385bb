"""The file of clients: strict, its paths seen from where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from galenic.errors import UserError
from galenic.training.federated.clients import Client, Federation, read_federation
from galenic.training.federated.server import drawn_clients

GOOD = """
rounds: 2
clients:
  - {name: a, train: a.jsonl}
  - {name: b, train: "medqa, b.jsonl=0.5", data: data, weight: 2}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    for name in "ab":
        (folder / f"{name}.jsonl").touch()
    path = folder / "clients.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    federation = read_federation(write(tmp_path, GOOD))
    assert [client.train for client in federation.clients] == [
        f"{tmp_path}/a.jsonl",
        f"medqa, {tmp_path}/b.jsonl=0.5",
    ]
    assert federation.clients[1].data == f"{tmp_path}/data"
    assert (federation.rounds, federation.local_epochs, federation.fraction) == (2, 1, 1.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rounds: 2", "round: 2", "unknown key 'round'.*rounds"),
        ("rounds: 2", "rounds: 2\nrounds: 3", "appears twice"),
        ("rounds: 2", "rounds: 0", "rounds: .*greater than or equal to 1"),
        ("rounds: 2", "fraction: 1.5", "fraction: "),
        ("name: a,", "nam: a,", "unknown key of client 1 'nam'"),
        ("name: b", "name: a", "the name 'a' appears twice"),
        ("name: a", "name: ../a", "clients.0.name"),
        ("train: a.jsonl", "train: c.jsonl", "client a: there is no file .*c.jsonl"),
        ("data: data", "data: nowhere", "client b: there is no folder .*nowhere"),
        ("b.jsonl=0.5", "b.jsonl=0", "client b: .*the weight must be above 0"),
        ("weight: 2", "weight: -1", "clients.1.weight"),
        ("weight: 2}", "weight: 2", "not valid YAML"),
        (GOOD, "clients: []", "at least two"),
        (GOOD, "- 1", "a mapping with clients"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError, match=f"(?s)clients.yaml.*{message}"):
        read_federation(write(tmp_path, GOOD.replace(old, new)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_federation(tmp_path / "none.yaml")


def test_clients_are_drawn_by_seed_and_round() -> None:
    clients = tuple(Client(name=str(i), train="medqa") for i in range(10))
    some = Federation(clients=clients, fraction=0.3)
    drawn = [drawn_clients(some, number) for number in range(1, 30)]
    assert drawn == [drawn_clients(some, number) for number in range(1, 30)]
    assert all(len(set(one)) == 3 and one == sorted(one) for one in drawn)
    assert {place for one in drawn for place in one} == set(range(10))
    assert drawn_clients(some.model_copy(update={"fraction": 0.01}), 1)
    assert drawn_clients(some.model_copy(update={"fraction": 1.0}), 1) == list(range(10))
