"""A model's tokenizer in a llama.cpp library, with what a GGUF says beyond llama.cpp's rules.

It takes any library without verifying it, as `galenic.runtimes.llama_engine` does.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from galenic.errors import UserError
from galenic.models.tokenizers.text_rules import KEY, TextRules, token_pattern
from galenic.runtimes.libllama import LibLlama
from galenic.runtimes.literal import literal_parts
from galenic.runtimes.llama_load import load_model

__all__ = ["LlamaVocab"]

_UNKNOWN, _CONTROL, _USER_DEFINED = 1 << 0, 1 << 3, 1 << 4  # llama_token_attr


class LlamaVocab:
    """A loaded model's tokenizer.

    Args:
        library: the loaded library.
        path: the GGUF file.
        only: whether the weights are left out.
        bare: whether to read texts as every other program does that is built on llama.cpp, without
            `galenic.models.tokenizers.text_rules.TextRules`.

    Raises:
        UserError: the library cannot load the file, or does not read texts as the file says.
    """

    def __init__(
        self, library: LibLlama, path: Path, *, only: bool = False, bare: bool = False
    ) -> None:
        self.library = library
        self._rules = TextRules()
        self._model = load_model(library, path, vocab_only=only)
        if not bare:
            self._rules = TextRules.read(self.metadata(KEY))
        if self._rules.spaces:  # they are put where they belong here, so not by llama.cpp
            LlamaVocab.close(self)
            self._model = load_model(library, path, vocab_only=only, space_prefix=False)
        self._vocab = library.llama_model_get_vocab(self._model)
        self.vocab_size = int(library.llama_vocab_n_tokens(self._vocab))
        if self._rules.spaces and self._puts_spaces():
            LlamaVocab.close(self)
            raise UserError(
                f"{library.files.name} puts spaces before texts though it was told not to. Use the "
                "packaged library (unset GALENIC_LIBLLAMA)."
            )

    def close(self) -> None:
        """Free the model. May be called more than once."""
        if self._model:
            self.library.llama_model_free(self._model)
            self._model = 0

    # What the model is

    @property
    def num_parameters(self) -> int:
        """Number of parameters, embeddings included."""
        return int(self.library.llama_model_n_params(self._model))

    @property
    def chat_template(self) -> str | None:
        """Jinja chat template in the file, or None."""
        template = self.library.llama_model_chat_template(self._model, None)
        return None if template is None else str(template.decode(errors="replace"))

    def metadata(self, key: str) -> str | None:
        """Value of a metadata key as text, or None if the file does not have it."""
        room = 1024
        while True:
            text = ctypes.create_string_buffer(room)
            size = self.library.llama_model_meta_val_str(self._model, key.encode(), text, room)
            if size < room:
                return None if size < 0 else text.value.decode(errors="replace")
            room = size + 1

    def special_tokens(self) -> dict[str, str]:
        """``bos_token``, ``eos_token``, ``pad_token`` and ``unk_token``, if the model has them."""
        lib, found = self.library, {}
        unknown = self.metadata("tokenizer.ggml.unknown_token_id") or ""
        for name, token in (
            ("bos_token", lib.llama_vocab_bos(self._vocab)),
            ("eos_token", lib.llama_vocab_eos(self._vocab)),
            ("pad_token", lib.llama_vocab_pad(self._vocab)),
            ("unk_token", int(unknown) if unknown.isdecimal() else -1),
        ):
            if 0 <= token < self.vocab_size:
                found[name] = lib.llama_vocab_get_text(self._vocab, token).decode(errors="replace")
        return found

    def control_tokens(self) -> tuple[str, ...]:
        """Texts of all tokens that the vocabulary marks as control tokens."""
        lib = self.library
        controls = (
            lib.llama_vocab_get_text(self._vocab, token)
            for token in range(self.vocab_size)
            if lib.llama_vocab_is_control(self._vocab, token)
        )
        return tuple(text.decode(errors="replace") for text in controls if text)

    def ends(self, token: int) -> bool:
        """Whether a token ends a generated text."""
        return bool(self.library.llama_vocab_is_eog(self._vocab, token))

    def pieces(self) -> list[str]:
        """Vocabulary entry of every token id."""
        texts = (self.library.llama_vocab_get_text(self._vocab, i) for i in range(self.vocab_size))
        return [text.decode(errors="replace") for text in texts]

    # Text and tokens

    @cached_property
    def _recognised(self) -> re.Pattern[str]:
        """Pattern of the tokens that are found in a text before it is split."""
        return self._tokens_of(_UNKNOWN | _CONTROL | _USER_DEFINED)

    @cached_property
    def _literal(self) -> re.Pattern[str]:
        """Pattern of those that are found in literal parts too."""
        return self._tokens_of(_USER_DEFINED)

    def _tokens_of(self, kinds: int) -> re.Pattern[str]:
        lib, size = self.library, range(self.vocab_size)
        ids = (token for token in size if lib.llama_vocab_get_attr(self._vocab, token) & kinds)
        texts = (lib.llama_vocab_get_text(self._vocab, token) for token in ids)
        return token_pattern(text.decode(errors="replace") for text in texts)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, with the model's start token and without its end token.

        Control tokens are not recognised in parts marked by `galenic.runtimes.literal`.
        """
        (first, _), *others = literal_parts(text)
        ids = self._tokenize(first, start=True, literal=False)
        if ids and self.library.llama_vocab_get_add_eos(self._vocab):
            ids.pop()
        for part, literal in others:
            ids += self._tokenize(part, start=False, literal=literal)
        return ids

    def _tokenize(self, text: str, *, start: bool, literal: bool) -> list[int]:
        if self._rules:
            text = self._rules.prepare(text, self._literal if literal else self._recognised)
        return self._split(text, start=start, literal=literal)

    def _puts_spaces(self) -> bool:
        first = self._split("a", start=False, literal=True)[0]
        text: bytes = self.library.llama_vocab_get_text(self._vocab, first)
        return text.decode(errors="replace").startswith("▁")

    def _split(self, text: str, *, start: bool, literal: bool) -> list[int]:
        data = text.encode()
        room = len(data) + 8  # at most one token per byte, plus start and end tokens
        tokens = (ctypes.c_int32 * room)()
        count = self.library.llama_tokenize(
            self._vocab, data, len(data), tokens, room, start, not literal
        )
        if count < 0:
            raise RuntimeError(f"llama_tokenize failed ({count}): {self.library.last_log()}")
        return tokens[:count]

    def detokenize(self, tokens: Sequence[int]) -> bytes:
        """UTF-8 bytes of token ids without special tokens; may start or end inside a character."""
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        room = 16 * len(tokens) + 16
        while True:
            text = ctypes.create_string_buffer(room)
            size = self.library.llama_detokenize(
                self._vocab, ids, len(tokens), text, room, False, False
            )
            if size >= 0:
                return text.raw[:size]
            room = -size
