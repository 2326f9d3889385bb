"""The clients of a federated training, as a strictly validated YAML file.

    rounds: 5
    local_epochs: 1
    clients:
      - {name: clinic-a, train: clinic-a.jsonl}
      - {name: clinic-b, train: medqa, data: /srv/b, weight: 2}

Paths are relative to the file's folder. The clients' texts are not read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from galenic.data.benchmarks.custom import is_custom
from galenic.errors import UserError, unknown_name
from galenic.strict_yaml import read_yaml
from galenic.training.sources import parse_sources

__all__ = ["Client", "Federation", "read_federation"]


class Client(BaseModel):
    """A client, which trains on its own texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name: letters, digits, dots and hyphens; recorded in the manifest.",
    )
    train: str = Field(min_length=1, description="Training data of the client, as for --train.")
    data: str | None = Field(
        None, description="Folder with its data files; default: that of --data."
    )
    weight: float = Field(1.0, gt=0, le=1000, description="Weight of its texts in the average.")


class Federation(BaseModel):
    """The clients, and options of their joint training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients: tuple[Client, ...] = Field(min_length=2)
    rounds: int = Field(3, ge=1, description="Number of rounds.")
    local_epochs: int = Field(1, ge=1, description="Epochs per client and round.")
    local_steps: int | None = Field(
        None, ge=1, description="Maximum optimizer steps per client and round."
    )
    fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Fraction of the clients that train in a round, drawn at random.",
    )
    seed: int = Field(0, ge=0, description="Random seed of that draw.")
    at_once: int = Field(
        1,
        ge=1,
        description="Number of clients that train in parallel; each holds the model in memory.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Federation:
        names = [client.name for client in self.clients]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name {name!r} appears twice")
        return self


def read_federation(path: Path) -> Federation:
    """Read a federation file, and make all paths in it absolute.

    Raises:
        UserError: the file is missing or not valid YAML, has unknown or invalid entries, or names
            files that do not exist.
    """
    found = read_yaml(path)
    try:
        federation = _parse(found)
        clients = tuple(_found(client, path.absolute().parent) for client in federation.clients)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return federation.model_copy(update={"clients": clients})


def _parse(found: Any) -> Federation:
    if not isinstance(found, dict):
        raise UserError(f"a mapping with {', '.join(Federation.model_fields)} was expected.")
    _check_keys("key", found, Federation)
    clients = found.get("clients")
    if not isinstance(clients, list) or len(clients) < 2:
        raise UserError("clients: a list of at least two is needed.")
    for number, client in enumerate(clients, 1):
        if not isinstance(client, dict):
            raise UserError(f"client {number}: a mapping with name and train was expected.")
        _check_keys(f"key of client {number}", client, Client)
    try:
        return Federation(**found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "clients"
        raise UserError(f"{where}: {first['msg']}.") from error


def _check_keys(kind: str, given: dict[Any, Any], model: type[BaseModel]) -> None:
    for key in given:
        if key not in model.model_fields:
            raise unknown_name(kind, str(key), model.model_fields)


def _found(client: Client, folder: Path) -> Client:
    """Return the client with absolute paths.

    Raises:
        UserError: a file or folder does not exist.
    """
    try:
        parse_sources(client.train)
    except UserError as error:
        raise UserError(f"client {client.name}: {error}") from error
    parts = [_absolute(client, part.strip(), folder) for part in client.train.split(",") if part]
    data = client.data
    if data not in (None, "sample"):
        place = folder / Path(data).expanduser()
        if not place.is_dir():
            raise UserError(f"client {client.name}: there is no folder {place}.")
        data = str(place)
    return client.model_copy(update={"train": ", ".join(parts), "data": data})


def _absolute(client: Client, source: str, folder: Path) -> str:
    name, equals, weight = source.partition("=")
    if not is_custom(name.strip()):
        return source
    place = folder / Path(name.strip()).expanduser()
    if not place.is_file():
        raise UserError(f"client {client.name}: there is no file {place}.")
    return f"{place}{equals}{weight}"
