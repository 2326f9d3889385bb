"""Download the public data sets from the Hugging Face Hub once, into the user cache.

Needs the extra ``galenic[hub]``. The revision of each repository is resolved to a commit, its
parquet or JSON Lines files are read (no dataset scripts, which ``datasets`` 4 no longer runs),
converted to the local layout, counted, validated and written atomically; ``manifest.json`` records
repository, commit and hash. Later runs read the local file and download nothing while its hash
matches.

Where the sets come from:

* PubMedQA: ``qiaojin/PubMedQA``, config ``pqa_labeled``; its 1,000 rows are divided by the official
  lists of PMIDs, which are shipped with the package (``pubmedqa_split.json``).
* MedQA, 4 options: ``GBaker/MedQA-USMLE-4-options`` has train and test; dev, and all splits with
  5 options, come from the parquet branch of ``bigbio/med_qa``.
* MedMCQA: ``openlifescienceai/medmcqa``, where ``cop`` counts from 0.
"""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from galenic.cache import cache_folder, file_sha256, locked
from galenic.data import manifest
from galenic.data.jsonl import encode_gzip, write_bytes
from galenic.data.manifest import FileFacts
from galenic.data.rows import RowError, parse_row
from galenic.errors import UserError
from galenic.hub_failures import hub_failures
from galenic.limits import one_line

__all__ = ["HUB_SETS", "MISSHAPEN", "HubSet", "convert_medmcqa", "convert_medqa",
           "convert_pubmedqa", "data_cache", "fetch", "packed", "valid_rows"]  # fmt: skip

logger = logging.getLogger(__name__)

Row: TypeAlias = dict[str, Any]
_PARQUET = "refs/convert/parquet"
_LETTERS = "ABCDE"
MISSHAPEN = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What converting raises if a field is missing or of another kind."""


@dataclass(frozen=True)
class HubSet:
    """One part of a Hub repository and the local files made from it.

    Attributes:
        repo: repository id.
        pattern: glob of the data files in the repository.
        num_rows: expected number of rows.
        license: licence stated by the repository.
        convert: converts Hub rows to local rows by file name.
        revision: branch or commit.
    """

    repo: str
    pattern: str
    num_rows: int
    license: str
    convert: Callable[[Sequence[Row]], Mapping[str, list[Row]]]
    revision: str = "main"


def convert_pubmedqa(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Split PQA-L into the official test set, the ten folds (``cv_fold``), and both together."""
    text = files("galenic.data").joinpath("pubmedqa_split.json").read_text(encoding="utf-8")
    split = json.loads(text)
    by_pmid = {int(row["pubid"]): row for row in rows}
    test = [_pubmedqa_row(by_pmid, pmid, None) for pmid in split["test"]]
    cv = [
        _pubmedqa_row(by_pmid, pmid, fold)
        for fold, pmids in enumerate(split["cv_folds"])
        for pmid in pmids
    ]
    return {
        "pubmedqa/test.jsonl.gz": test,
        "pubmedqa/cv.jsonl.gz": cv,
        "pubmedqa/all.jsonl.gz": test + cv,
    }


def _pubmedqa_row(by_pmid: Mapping[int, Row], pmid: int, fold: int | None) -> Row:
    if pmid not in by_pmid:
        raise RowError(f"PMID {pmid} of the official split is not there")
    row = by_pmid[pmid]
    context = row["context"]
    converted = {
        "id": f"pubmedqa-{pmid}",
        "dataset": "pubmedqa",
        "split": "test" if fold is None else "cv",
        "question": row["question"],
        "context": "\n".join(context["contexts"]),
        "options": {word: word for word in ("yes", "no", "maybe")},
        "answer": row["final_decision"],
        "pmid": str(pmid),
        "cv_fold": fold,
        "context_labels": context["labels"],
        "meshes": context["meshes"],
    }
    for name in ("reasoning_required_pred", "reasoning_free_pred"):
        # The Hub copy holds these words as lists of letters.
        converted[name] = "".join(context.get(name) or "") or None
    return converted


def convert_medqa(
    rows: Sequence[Row], *, file: str, split: str, num_options: int
) -> dict[str, list[Row]]:
    """Convert MedQA rows; ids are row numbers, and so equal for 4 and 5 options.

    ``options`` is an object of letter and text, or a list of ``{"key": …, "value": …}``.
    """
    converted = []
    for number, row in enumerate(rows):
        raw = row["options"]
        pairs = raw.items() if isinstance(raw, dict) else [(o["key"], o["value"]) for o in raw]
        options = {letter: _clean(text) for letter, text in pairs if text is not None}
        if list(options) != list(_LETTERS[:num_options]):
            raise RowError(f"row {number} has the options {', '.join(options)}")
        converted.append(
            {
                "id": f"medqa-us-{split}-{number:05d}",
                "dataset": f"medqa_usmle_{num_options}opt",
                "split": split,
                "question": row["question"].strip(),
                "context": None,
                "options": options,
                "answer": row["answer_idx"],
                "answer_text": _clean(row["answer"]),
                "meta_info": row["meta_info"],
            }
        )
    return {file: converted}


def convert_medmcqa(rows: Sequence[Row], *, file: str, split: str) -> dict[str, list[Row]]:
    """Convert MedMCQA rows; ``cop`` counts from 0 (from 1 in the authors' files)."""
    converted = []
    for row in rows:
        options = {letter: (row[f"op{letter.lower()}"] or "").strip() for letter in "ABCD"}
        cop = row["cop"]
        converted.append(
            {
                "id": f"medmcqa-{row['id']}",
                "dataset": "medmcqa",
                "split": split,
                "question": row["question"].strip(),
                "context": None,
                "options": options,
                "answer": "ABCD"[cop] if cop in range(4) else None,
                **{name: row[name] for name in ("exp", "subject_name", "topic_name")},
                "choice_type": row["choice_type"],
            }
        )
    return {file: converted}


def _clean(text: str) -> str:
    """Strip white space, and the stray line break and quote of MedQA's last options."""
    text = text.strip()
    return text[:-2].rstrip() if text.endswith('\n"') else text


def _medqa_set(
    hub: tuple[str, str, str, str], num_rows: int, split: str, num_options: int
) -> tuple[str, HubSet]:
    repo, pattern, license_, revision = hub
    whole_train = f"medqa/train_{num_options}options.jsonl.gz"
    file = whole_train if split == "train" else f"medqa/{num_options}options_{split}.jsonl.gz"
    convert = partial(convert_medqa, file=file, split=split, num_options=num_options)
    return file, HubSet(repo, pattern, num_rows, license_, convert, revision)


def _hub_sets() -> dict[str, HubSet]:
    pubmedqa = HubSet(
        "qiaojin/PubMedQA", "pqa_labeled/train-*.parquet", 1000, "MIT", convert_pubmedqa
    )
    sets = {f"pubmedqa/{name}.jsonl.gz": pubmedqa for name in ("test", "cv", "all")}
    for split, rows in (("test", 1273), ("train", 10178)):
        pattern = f"phrases_no_exclude_{split}.jsonl"
        baker = ("GBaker/MedQA-USMLE-4-options", pattern, "CC BY 4.0", "main")
        file, hub_set = _medqa_set(baker, rows, split, 4)
        sets[file] = hub_set
    for k, split, rows in (
        (4, "dev", 1272),
        (5, "dev", 1272),
        (5, "test", 1273),
        (5, "train", 10178),
    ):
        config = "med_qa_en_source" if k == 5 else "med_qa_en_4options_source"
        pattern = f"{config}/{'validation' if split == 'dev' else split}/*.parquet"
        file, hub_set = _medqa_set(("bigbio/med_qa", pattern, "unknown", _PARQUET), rows, split, k)
        sets[file] = hub_set
    for split, rows in (("validation", 4183), ("train", 182822)):
        file = f"medmcqa/{split}.jsonl.gz"
        convert = partial(convert_medmcqa, file=file, split=split)
        pattern = f"data/{split}-*.parquet"
        sets[file] = HubSet("openlifescienceai/medmcqa", pattern, rows, "Apache-2.0", convert)
    return sets


HUB_SETS: Mapping[str, HubSet] = _hub_sets()
"""Source on the Hub of each local file name."""


def data_cache() -> Path:
    """Return the cache folder of downloaded data sets."""
    return cache_folder("data")


def fetch(name: str, folder: Path) -> None:
    """Make sure that the folder has a file and that it matches the manifest; download if needed.

    Raises:
        UserError: the file is not on the Hub, the extra is not installed, the Hub does not answer,
            or its content is not as expected.
    """
    if _is_there(name, folder):
        return
    if name not in HUB_SETS:
        raise UserError(f"{name} is not on the Hugging Face Hub; name a folder with --data.")
    for module in ("datasets", "huggingface_hub"):
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"{name} is not in the cache, and fetching it from the Hugging Face Hub needs the "
                f"package {module!r}. Run `pip install 'galenic[hub]'`, or name a folder with the "
                "files in --data, or try the packaged questions with --data sample."
            )
    hub_set = HUB_SETS[name]
    with locked(folder / manifest.MANIFEST):
        if not _is_there(name, folder):  # another process may have fetched it meanwhile
            _fetch_set(hub_set, folder)


def _is_there(name: str, folder: Path) -> bool:
    facts = manifest.own_facts(folder).get(name)
    path = folder / name
    return facts is not None and path.is_file() and file_sha256(path) == facts.sha256


def _fetch_set(hub_set: HubSet, folder: Path) -> None:
    logger.info("fetching %s (%s) from the Hugging Face Hub", hub_set.repo, hub_set.pattern)
    commit, rows = _download(hub_set)
    where = f"{hub_set.repo} (Hugging Face Hub) at {commit}, {hub_set.pattern}"
    if len(rows) != hub_set.num_rows:
        raise UserError(
            f"{where} holds {len(rows)} rows, expected {hub_set.num_rows}: the copy on the Hub has "
            "changed. Name a folder with the files in --data."
        )
    try:
        converted = hub_set.convert(rows)
    except MISSHAPEN as error:
        raise UserError(
            f"{where} is not laid out as expected ({type(error).__name__}: {error}): the copy on "
            "the Hub has changed. Name a folder with the files in --data."
        ) from error
    facts = dict(manifest.own_facts(folder))
    for name, local in converted.items():
        kept, dropped = valid_rows(local, where, lenient="/train" in name)
        write_bytes(folder / name, packed(kept, where))
        origin = where + (f"; {dropped} invalid rows left out" if dropped else "")
        facts[name] = FileFacts(
            sha256=file_sha256(folder / name),
            rows=len(kept),
            license=hub_set.license,
            origin=origin,
        )
    manifest.write_manifest(folder, facts)  # written last: all files it lists are complete


def valid_rows(rows: Sequence[Row], where: str, *, lenient: bool) -> tuple[list[Row], int]:
    """Return the converted rows that can be read again, and how many were left out.

    Args:
        rows: rows in the local layout.
        where: origin of the rows, for the message.
        lenient: leave invalid rows out, as is done with training sets.

    Raises:
        UserError: a row is invalid or repeats the id of another, and ``lenient`` is False; or
            no row is left.
    """
    kept: list[Row] = []
    seen: set[str] = set()
    for number, row in enumerate(rows):
        try:
            found = parse_row(row).id
            if found in seen:
                raise RowError(f"id {found!r} is there twice")
            seen.add(found)
        except RowError as error:
            if not lenient:
                raise UserError(f"{where}, row {number}: {error}.") from error
            logger.warning("%s, row %d is left out: %s", where, number, error)
        else:
            kept.append(row)
    if not kept:
        raise UserError(f"{where} holds no question that can be used.")
    return kept, len(rows) - len(kept)


def packed(rows: Sequence[Row], where: str) -> bytes:
    """Return rows as gzipped JSON Lines that can be read again.

    Raises:
        UserError: a field is no JSON, such as bytes or NaN; the message begins with ``where``.
    """
    try:
        return encode_gzip(rows)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} has a field that is no text ({one_line(str(error))}).") from error


def _download(hub_set: HubSet) -> tuple[str, list[Row]]:
    """Return the commit that the revision currently resolves to, and all its rows."""
    import datasets

    try:
        commit = _commit(hub_set.repo, hub_set.revision)
        with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            table = datasets.load_dataset(
                "parquet" if hub_set.pattern.endswith(".parquet") else "json",
                data_files=f"{_address(hub_set.repo, commit)}/{hub_set.pattern}",
                split="train",
                cache_dir=scratch,
            )
            return commit, table.to_list()
    except _hub_errors() as error:
        detail = " ".join(str(error).split())[:300]
        raise UserError(
            f"the Hugging Face Hub did not give {hub_set.repo} ({type(error).__name__}: {detail}). "
            "Try again with a network connection, name a folder with the files in --data, or write "
            "`--data sample` for the questions shipped with the package."
            + _cached_copy(hub_set.repo)
        ) from error


def _cached_copy(repo: str) -> str:
    """What to delete where a cached download stays damaged, as a sentence; empty without one."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"datasets--{repo.replace('/', '--')}"
    return f" If that does not help, delete {folder} first." if folder.is_dir() else ""


def _commit(repo: str, revision: str) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(repo, revision=revision).sha)


def _address(repo: str, commit: str) -> str:
    return f"hf://datasets/{repo}@{commit}"


def _hub_errors() -> tuple[type[BaseException], ...]:
    """Exceptions that the Hub libraries raise when a download fails."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import EntryNotFoundError

    missing = ValueError  # raised by datasets if no file matches
    return (missing, DatasetsError, EntryNotFoundError, *hub_failures())
