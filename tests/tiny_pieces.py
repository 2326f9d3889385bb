"""Tiny SentencePiece-style tokenizers, built as the published files of each family are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

__all__ = ["KINDS", "ranked_merges", "tiny_pieces", "write_tiny_pieces"]

KINDS = ("llama2", "mistral", "phi3", "gemma3", "gemma3 tied")
"""Gemma 3 twice: runs of spaces ranked one by one, or all alike and then by their length."""
LETTERS = "▁abtheopinrsABQ012é中.,'/-:\n"
WORDS = ("▁the", "▁of", "▁and", "▁patient", "▁Question", "Answer", "▁yes", "▁no", "abab", "▁ab▁ab",
         "12ab", "\n\n", "▁\n")  # fmt: skip
PHI3_TOKENS = (
    "<|endoftext|>",
    "<|assistant|>",
    "<|user|>",
    "<|end|>",
    "<|im_start|>",
    "<|im_end|>",
)


def tiny_pieces() -> list[str]:
    """Runs of spaces, every pair of some letters, words letter by letter, single letters last."""
    pairs = [
        left + right for left in LETTERS[:16] for right in LETTERS[:16] if left + right != "▁▁"
    ]
    words = [word[:end] for word in WORDS for end in range(2, len(word) + 1)]
    runs = ["▁" * length for length in range(2, 9)]
    letters = sorted({*LETTERS, *"".join(WORDS)})
    return [*dict.fromkeys([*runs, *sorted(pairs, key=hash_of), *words, *letters])]


def hash_of(text: str) -> int:
    """An order that does not follow the alphabet and is the same everywhere."""
    return sum(ord(letter) * 7919**at for at, letter in enumerate(text, 1)) % 1009


def ranked_merges(pieces: list[str], known: set[str]) -> list[tuple[str, str]]:
    """All ways to cut each piece in two, in the order of the pieces, as transformers converts."""
    merges = []
    for piece in pieces:
        cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        merges += [cut for cut in cuts if known.issuperset(cut)]
    return merges


def write_tiny_pieces(folder: Path, kind: str) -> PreTrainedTokenizerFast:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` of a kind."""
    from transformers import PreTrainedTokenizerFast

    core = _core(kind.removesuffix(" tied"), tied=kind.endswith("tied"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    if kind.startswith("gemma3"):
        names = {name: f"<{name[:3]}>" for name in names}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, clean_up_tokenization_spaces=False, **names
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _core(kind: str, tied: bool) -> Tokenizer:
    from tokenizers import Tokenizer, models

    special = ["<unk>", "<s>", "</s>"]
    if kind == "gemma3":
        special = ["<pad>", "<eos>", "<bos>", "<unk>", "<unused0>", "<td>"]
    pieces = tiny_pieces()
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = ranked_merges(pieces, set(tokens))
    if tied:
        runs = [cut for cut in merges if set("".join(cut)) == {"▁"}]
        runs.sort(key=lambda cut: (len(cut[0]), len(cut[1])), reverse=True)
        merges = [*runs, *(cut for cut in merges if cut not in runs)]
    if kind == "gemma3":
        vocabulary["\t"] = vocabulary["<0x09>"]
    core = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    _spell_spaces(core, kind)
    for token in _added(kind):
        (core.add_special_tokens if token.special else core.add_tokens)([token])
    _put_first(core, kind)
    return core


def _spell_spaces(core: Tokenizer, kind: str) -> None:
    from tokenizers import decoders, normalizers, pre_tokenizers

    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    spell = normalizers.Replace(" ", "▁")
    if kind == "gemma3":
        core.normalizer = spell
        core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    elif kind == "mistral":  # from version 0.3 on
        core.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    else:
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spell])
    core.decoder = decoders.Sequence(
        back if kind == "gemma3" else [*back, decoders.Strip(" ", 1, 0)]
    )


def _added(kind: str) -> list[AddedToken]:
    from tokenizers import AddedToken

    def token(name: str, special: bool = True, **options: Any) -> AddedToken:
        return AddedToken(name, special=special, normalized=False, **options)

    if kind == "gemma3":
        runs = [token("\n" * length, special=False) for length in range(2, 5)]
        spaces = [token("▁" * length, special=False) for length in range(2, 9)]
        rest = [token(name) for name in ("<start_of_turn>", "<end_of_turn>")]
        return [*map(token, ("<pad>", "<eos>", "<bos>", "<unk>")), token("<unused0>", False),
                token("<td>", False), *runs, *spaces, *rest]  # fmt: skip
    if kind == "phi3":
        first = [token("<unk>"), token("<s>"), token("</s>", False, rstrip=True)]
        return first + [token(name, rstrip=name != "<|endoftext|>") for name in PHI3_TOKENS]
    inst = ("[INST]", "[/INST]") if kind == "mistral" else ()
    return [token(name) for name in ("<unk>", "<s>", "</s>", *inst)]


def _put_first(core: Tokenizer, kind: str) -> None:
    from tokenizers import processors

    first = {"gemma3": "<bos>", "phi3": ""}.get(kind, "<s>")
    if first:
        core.post_processor = processors.TemplateProcessing(
            single=[first, "$A"],
            pair=[first, "$A", first, "$B:1"],
            special_tokens=[(first, core.token_to_id(first))],
        )
    else:
        core.post_processor = processors.TemplateProcessing(single=["$A"], pair=["$A", "$B:1"])
