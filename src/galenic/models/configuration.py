"""A model's configuration as transformers has it; what is wrong with one is said in one way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from galenic.errors import UserError
from galenic.limits import one_line
from galenic.strict_json import read_object

__all__ = [
    "changed_configuration",
    "loading",
    "read_configuration",
    "read_tokenizer",
    "refusals",
]


def read_configuration(folder: Path, name: str) -> Any:
    """Read a model folder's configuration.

    Args:
        folder: with ``config.json``.
        name: of the model, for messages.

    Raises:
        UserError: transformers does not know the architecture, or does not accept the values.
    """
    import transformers

    def say(why: str) -> UserError:
        return UserError(
            f"transformers {transformers.__version__} cannot read the configuration of {name}: "
            f"{why}\nThe files may be damaged or made for another version; models that bring code "
            "of their own are not run."
        )

    with refusals(say):
        return transformers.AutoConfig.from_pretrained(folder)


def changed_configuration(config: Any, changes: dict[str, Any]) -> Any:
    """A configuration of the same architecture with other values.

    Raises:
        ValueError: transformers does not accept them for this architecture.
    """
    with refusals(ValueError):
        return type(config)(**copy.deepcopy(config).to_dict() | changes)


@contextmanager
def refusals(say: Callable[[str], Exception]) -> Iterator[None]:
    """Around a library that reads a file: whatever it raises becomes ``say(why)``, in one line.

    transformers, tokenizers and safetensors check little before they use it, so anything may come.
    The checks of huggingface_hub name themselves first; that is left out.
    """
    try:
        yield
    except (UserError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:
        named = error.__cause__ if isinstance(error.__cause__, ValueError | TypeError) else error
        why = one_line(str(named)) or type(named).__name__
        raise say(why) from error


def loading(name: str) -> AbstractContextManager[None]:
    """Around transformers as it loads a model: whatever it raises is a UserError.

    Args:
        name: of the model.
    """
    import transformers

    return refusals(
        lambda why: UserError(
            f"transformers {transformers.__version__} cannot load {name}: {why}\nThe files may be "
            "damaged or made for another version; models that bring code of their own are not run."
        )
    )


def read_tokenizer(folder: Path, *, gguf: bool = False) -> Any:
    """The tokenizer of a model folder, as transformers has it.

    Args:
        folder: of the model.
        gguf: whether it was made of a GGUF, whose rules transformers must not replace by its own.

    Raises:
        UserError: it is damaged.
    """
    import transformers

    for file in folder.glob("tokenizer*.json"):
        read_object(file)
    kind = transformers.PreTrainedTokenizerFast if gguf else transformers.AutoTokenizer
    with loading(f"the tokenizer of {folder}"):
        return kind.from_pretrained(folder, local_files_only=True)
