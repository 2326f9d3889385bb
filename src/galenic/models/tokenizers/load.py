"""Load the transformers tokenizer of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from galenic.models.configuration import loading
from galenic.models.tokenizers.added import check_added_ids
from galenic.models.tokenizers.growth import check_growth
from galenic.strict_json import read_object

__all__ = ["read_tokenizer"]


def read_tokenizer(folder: Path, *, gguf: bool = False) -> Any:
    """Load the transformers tokenizer of a model folder.

    Args:
        folder: the model folder.
        gguf: whether the folder was converted from a GGUF; then ``tokenizer.json`` is used as it
            is, because AutoTokenizer may replace its rules by those of the architecture.

    Raises:
        UserError: a tokenizer file is damaged, contradicts itself, or makes texts far longer.
    """
    import transformers

    for file in folder.glob("tokenizer*.json"):
        facts = read_object(file)
        if file.name == "tokenizer.json" and not gguf:
            with loading(f"the tokenizer of {folder}"):
                check_added_ids(file, facts)
    kind = transformers.PreTrainedTokenizerFast if gguf else transformers.AutoTokenizer
    with loading(f"the tokenizer of {folder}"):
        found = kind.from_pretrained(folder, local_files_only=True)
        if core := getattr(found, "backend_tokenizer", None):  # None for those written in Python
            check_growth(core, str(folder))
        return found
