"""Does a GGUF split texts into the same tokens as the folder that belongs to it?

Texts of many kinds are split by the folder's tokenizer, by the llama runtime, and by llama.cpp
alone, as every other program built on it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from galenic.models.encoders.text_encoder import TextEncoder
from galenic.runtimes.llama_vocab import LlamaVocab
from galenic.runtimes.selftest import verified_library

__all__ = ["PLAIN", "TEXTS", "TokenCheck", "compare_tokens"]

PLAIN = "plain text"
TEXTS: Mapping[str, Sequence[str]] = {
    PLAIN: (
        "The patient's blood pressure was 120/80 mmHg; she takes 5 mg of warfarin twice a day.",
        "Question: Which of these is most likely?\nA. Anaemia\nB. Asthma (mild)\n\nAnswer:",
        "Answer: A", "Answer:", "Don't: it's the patients' choice, isn't it? WE'LL SEE - 50% off!",
        "Potassium 6.7, sodium 139 and creatinine 1234567 on 2026-12-01.",
    ),
    "spaces at the beginning": (" A", "  two", " "),
    "several spaces": ("a  b   c         d", "ends in two  "),
    "tabs": ("a\tb\t\tc", "\ta"),
    "line breaks": ("a\n\n\nb", "\n\na", "a\r\n  b\n", " \n \n"),
    "composed accents": ("naïve café, Ménière, Å, ñ", "Sjögren ½ µg"),
    "decomposed accents": ("nai\u0308ve cafe\u0301, Me\u0301nie\u0300re, A\u030a", "Sjo\u0308gren"),
    "digits of all kinds": ("0123 ４５６ ² ³ ٣٤٥ Ⅳ", "1,000,000.50"),
    "Chinese, Japanese, Korean": ("患者の血圧は高い。", "病人发烧三天 38.5 度", "환자는 열이 있다"),
    "other scripts": ("Пациент жалуется", "يعاني المريض", "रोगी को बुखार है", "ΑΒγδ"),
    "emoji": ("😀👩‍⚕️ ❤️ 🇬🇧", "a😀b"),
    "full width": ("Ｆｕｌｌ　ｗｉｄｔｈ！", "ﬁne ﬂow ℃ ㎎ …"),
    "other white space": ("a\u00a0b\u2003c\u3000d", "a\u200bb\u200dc\ufeffd", "a\x0bb\x0cc"),
    "controls and marks": ("a\x01b\x7f", "“quoted” – dash — ‘x’ • §", "\u0301a \u20dd"),
}  # fmt: skip
"""Texts to compare, by what they have."""
BESIDE = "special tokens in a text"
SPACED = "special tokens with white space beside them"
MOST_TOKENS = 200
SHOWN = 4


@dataclass(frozen=True)
class TokenCheck:
    """Kinds of texts that are split otherwise than by the folder's tokenizer.

    Attributes:
        own: by the llama runtime.
        others: by llama.cpp without what the file says beyond its rules.
    """

    own: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether plain text is split alike by all."""
        return PLAIN not in (*self.own, *self.others)

    def told(self) -> tuple[str, ...]:
        """Say what differs, one sentence each; nothing if nothing does."""
        found = []
        if self.own:
            found.append(
                f"read into other tokens by llama.cpp than by the folder: {_listed(self.own)}"
            )
        if only := tuple(kind for kind in self.others if kind not in self.own):
            found.append(
                f"read as by the folder here, but into other tokens by other programs built on "
                f"llama.cpp: {_listed(only)}"
            )
        return tuple(found)


def compare_tokens(folder: Path, gguf: Path, *, converted: bool = False) -> TokenCheck:
    """Compare the tokens of a folder's tokenizer with those of a GGUF in llama.cpp.

    Args:
        folder: folder with the tokenizer's files.
        gguf: the GGUF made from it, or the one that it was made from.
        converted: whether the folder was made from the GGUF.

    Raises:
        UserError: one of the two cannot be loaded.
    """
    kinds = {**TEXTS, **dict(_with_tokens(folder))}
    encoder = TextEncoder(folder, "gguf" if converted else "folder")
    expected = {kind: encoder.encode_batch(texts) for kind, texts in kinds.items()}
    library = verified_library()
    found = []
    for bare in (False, True):
        vocab = LlamaVocab(library, gguf, only=True, bare=bare)
        try:
            ids = {kind: [vocab.encode(text) for text in texts] for kind, texts in kinds.items()}
        finally:
            vocab.close()
        found.append(tuple(kind for kind in kinds if ids[kind] != expected[kind]))
    return TokenCheck(*found)


def _with_tokens(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Texts with each of the tokenizer's added tokens in them."""
    facts = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = [token["content"] for token in facts.get("added_tokens") or ()]
    tokens = [token for token in added if token.strip(" ▁\t\r\n")][:MOST_TOKENS]
    yield BESIDE, [text for token in tokens for text in (token, f"a{token}b", f"{token}{token}.")]
    yield (
        SPACED,
        [
            text
            for token in tokens
            for text in (f"a {token} b", f"{token}\n\na\n{token}", f" {token}\t ")
        ],
    )


def _listed(kinds: Sequence[str]) -> str:
    more = f" and {len(kinds) - SHOWN} more" if len(kinds) > SHOWN else ""
    return ", ".join(kinds[:SHOWN]) + more
