"""Sentence encoders: one unit-length vector for each text, as in sentence-transformers.

The vector is the mean of the last hidden states over all tokens except padding (Reimers and
Gurevych, Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks, EMNLP 2019).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.configuration import loading
from galenic.models.encoders.encoder import longest_pair, refuse_writer, silent_report
from galenic.models.quiet import quiet_transformers
from galenic.models.tokenizers.load import read_tokenizer

if TYPE_CHECKING:
    from galenic.models.files import ModelFiles
from galenic.strict_json import parse_json

__all__ = ["SentenceEncoder", "load_sentence_encoder", "need_packages"]

BATCH = 16
"""Texts per batch; batches hold texts of similar length."""
SAME = 1e-3
"""Accepted difference of a vector's entries between a text alone and padded in a batch."""
MODULES = ("Transformer", "Pooling", "Normalize")
"""Supported module types in ``modules.json`` of sentence-transformers."""


class SentenceEncoder:
    """A loaded sentence encoder. Thread-safe.

    Attributes:
        files: the model's files.
        longest: maximum tokens of a text; the rest is truncated.
    """

    def __init__(self, files: ModelFiles, model: Any, tokenizer: Any, longest: int) -> None:
        self.files = files
        self.longest = longest
        self._model = model
        self._tokenizer = tokenizer
        self._takes = set(inspect.signature(model.forward).parameters)
        self._lock = Lock()  # tokenizers hold padding as mutable state

    @property
    def width(self) -> int:
        """Dimension of the vectors."""
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts as unit-length vectors, shape (n, width)."""
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        with self._lock:
            for batch in _by_length(texts):
                vectors[batch] = self._pooled([texts[number] for number in batch])
        return vectors

    def _pooled(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        plain = [text.encode("utf-8", "replace").decode() for text in texts]  # lone surrogates
        inputs = self._tokenizer(
            plain,
            padding=True,
            truncation=True,
            max_length=self.longest,
            split_special_tokens=True,  # "[SEP]" in a text is plain text
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = self._model(
                **{name: value for name, value in inputs.items() if name in self._takes}
            ).last_hidden_state  # (n, tokens, width)
            mask = inputs["attention_mask"][:, :, None].to(states.dtype)
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            found: NDArray[np.float32] = torch.nn.functional.normalize(means).numpy()
        return found


def need_packages(what: str = "embeddings") -> None:
    """Raise UserError, which says ``what`` needs them, if torch or transformers is missing."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{what} need an extra ({error.name} is missing): pip install 'galenic[train]'."
        ) from error


def load_sentence_encoder(files: ModelFiles) -> SentenceEncoder:
    """Load a sentence encoder from its folder, and check that batching keeps its vectors.

    Raises:
        UserError: packages are missing, the model is not an encoder or cannot be loaded, or it
            pools its vectors in another way than by the mean over tokens.
    """
    need_packages()
    import torch
    import transformers

    config = refuse_writer(files)
    _check_modules(files.path)
    tokenizer = read_tokenizer(files.path)
    with loading(files.name), quiet_transformers(), silent_report():
        model, found = transformers.AutoModel.from_pretrained(
            files.path,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
        )
    lost = [key for key in found["missing_keys"] if "pooler" not in key]
    if lost or found["mismatched_keys"]:
        raise UserError(f"{files.name}: the weights do not fit its config.json.")
    if tokenizer.pad_token_id is None:
        raise UserError(f"{files.name}: its tokenizer has no token for padding.")
    longest = min(longest_pair(model, tokenizer), _stated_longest(files.path))
    encoder = SentenceEncoder(files, model.eval(), tokenizer, longest)
    _check_padding(encoder)
    return encoder


def _by_length(texts: Sequence[str]) -> Iterator[list[int]]:
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    return (order[start : start + BATCH] for start in range(0, len(order), BATCH))


def _stated_longest(folder: Path) -> int:
    """Maximum tokens that sentence-transformers uses for the model; 512 where not stated."""
    stated = _read(folder / "sentence_bert_config.json").get("max_seq_length")
    return stated if isinstance(stated, int) and stated > 2 else 512


def _check_modules(folder: Path) -> None:
    listed = _read(folder / "modules.json").get("", [])
    kinds = {str(module.get("type")).rpartition(".")[2] for module in listed}
    pooling = _read(folder / "1_Pooling" / "config.json")
    others = [key for key, on in pooling.items() if key.startswith("pooling_mode_") and on is True]
    others = [key for key in others if key != "pooling_mode_mean_tokens"]
    if strange := [*sorted(kinds - set(MODULES)), *others]:
        raise UserError(
            f"{folder} does not use plain mean pooling "
            f"({', '.join(strange)}); only encoders with mean pooling can be used."
        )


def _read(file: Path) -> dict[str, Any]:
    """Read a JSON file: an object as it is, a list under the key "", ``{}`` if there is no file."""
    if not file.is_file():
        return {}
    found = parse_json(file.read_bytes(), str(file))
    return found if isinstance(found, dict) else {"": found}


def _check_padding(encoder: SentenceEncoder) -> None:
    texts = ["a b c d e f", "h"]
    together = encoder.encode(texts)
    single = np.concatenate([encoder.encode([text]) for text in texts])
    difference = float(np.abs(together - single).max())
    if not difference <= SAME:
        raise UserError(
            f"{encoder.files.name} cannot be used: its vectors for texts of different lengths "
            f"change when they are computed together (by {difference:.2g})."
        )
