"""The `torch` runtime: any Hugging Face causal language model, through transformers, on the CPU.

A pack runs as one flat sequence: no padding, shared tokens once, the output head only at rows that
are read. The attention interface of transformers makes this possible for many architectures. A
model that does not use it, or needs attention features that are not supported here, is detected by
a check when it is loaded, and computed path by path instead, which is slower.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from galenic.errors import UserError
from galenic.models.configuration import loading, read_configuration
from galenic.models.encoders.encoder import refuse_encoder
from galenic.models.encoders.text_encoder import TextEncoder
from galenic.models.files import ModelFiles
from galenic.models.packing.bitsandbytes import cast_rest_, require_bitsandbytes
from galenic.models.packing.products import round_products_
from galenic.models.weights import load_causal
from galenic.runtimes.base import Generation, Runtime, RuntimeInfo, Writing, check_room
from galenic.runtimes.literal import literal_parts
from galenic.runtimes.threads import choose_threads
from galenic.runtimes.tree import Pack, Request, build_pack
from galenic.runtimes.tree_attention import ATTENTION, TreePlan, active_plan, tree_attention
from galenic.runtimes.writing import Writer, write

__all__ = ["DTYPES", "TorchRuntime"]

log = logging.getLogger(__name__)

DTYPES = {
    "float32": torch.float32,
    "mixed": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Type of weights and activations by name; ``mixed``: float32, with products in bfloat16."""

transformers.AttentionInterface.register(ATTENTION, tree_attention)


class TorchRuntime(Runtime):
    """A causal language model, run by PyTorch.

    Args:
        model: a folder, or a GGUF (dequantized once into the user cache).
        threads: compute threads; None chooses them by the current load.
        context_length: maximum tokens of a text; at most, and by default, the model's limit.
        dtype: a name in `DTYPES`.
    """

    name = "torch"
    dtypes = tuple(DTYPES)
    converts = ("gguf",)
    pack_tokens = 768

    def __init__(
        self,
        model: ModelFiles,
        *,
        threads: int | None = None,
        context_length: int | None = None,
        dtype: str = "float32",
    ) -> None:
        if model.adapter is not None:
            raise UserError(
                "--adapter runs on the llama runtime; for the torch runtime `galenic merge` adds "
                "an adapter to the weights."
            )
        folder, held, named = _weights(model, dtype)
        num_threads = threads or choose_threads()
        torch.set_num_threads(num_threads)
        config = read_configuration(folder, model.name)
        refuse_encoder(config, model.name)
        self._encoder = TextEncoder(folder, model.kind)
        self._tokenizer = self._encoder.tokenizer
        with loading(model.name):
            packing = _packing(config)
            self._model: Any = _load(folder, config, model.name, DTYPES[dtype])
            if packing:
                cast_rest_(self._model, DTYPES[dtype])
            if dtype == "mixed":
                round_products_(self._model)
        text_config = config.get_text_config()
        longest = int(getattr(text_config, "max_position_embeddings", None) or 1 << 20)
        self.info = RuntimeInfo(
            runtime=self.name,
            engine=f"transformers {transformers.__version__}, torch {torch.__version__}"
            + (f", {dtype}" if named else ""),
            model=model.name,
            sha256=model.sha256,
            architecture=named or str(config.model_type),
            num_parameters=int(self._model.num_parameters()),
            weights=f"{held}, {packing} by bitsandbytes" if packing else held,
            context_length=min(longest, context_length or longest),
            num_threads=num_threads,
        )
        self._prefix: tuple[int, ...] = ()
        self._prefix_state: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._plain = self._model.config._attn_implementation
        with loading(model.name):  # inconsistent settings only fail at the first run
            self.packs = self._can_pack()

    @classmethod
    def convert(cls, model: ModelFiles) -> None:
        from galenic.models.gguf.dequantize import dequantized_folder

        dequantized_folder(model)

    @property
    def _vocab_size(self) -> int:
        return int(self._model.get_input_embeddings().weight.shape[0])

    @property
    def chat_template(self) -> str | None:
        template = getattr(self._tokenizer, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        return template

    @property
    def special_tokens(self) -> dict[str, str]:
        names = ("bos_token", "eos_token", "pad_token", "unk_token")
        found = {name: getattr(self._tokenizer, name, None) for name in names}
        return {name: str(text) for name, text in found.items() if text}

    @property
    def end_tokens(self) -> tuple[int, ...]:
        end = self._model.generation_config.eos_token_id
        found = end if isinstance(end, list) else [end]
        return tuple(token for token in found if token is not None)

    @property
    def control_tokens(self) -> tuple[str, ...]:
        added = self._tokenizer.added_tokens_decoder.values()
        return tuple(str(token) for token in added if token.special)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._encoder.encode_batch([literal_parts(text)[0][0] for text in texts])
        for ids, text in zip(found, texts, strict=True):
            for part, literal in literal_parts(text)[1:]:
                ids.extend(self._encoder.encode_part(part, literal=literal))
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def score(self, pack: Pack) -> NDArray[np.float64]:
        with torch.inference_mode():
            return self._score_packed(pack) if self.packs else self._score_paths(pack)

    def vocabulary(self) -> list[str | None]:
        return self._encoder.pieces(self._vocab_size)

    def log_probs(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        if not 1 <= len(tokens) <= self.info.context_length:
            raise ValueError(f"{len(tokens)} tokens; it takes 1 to {self.info.context_length}")
        with self._attention(self._plain), torch.inference_mode():
            logits = self._model(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0]
            found: NDArray[np.float32] = torch.log_softmax(logits.float(), dim=-1).numpy()
        return found

    def time_tokens(self, prompt: str, num_tokens: int) -> list[float]:
        begun = time.perf_counter()
        tokens = self.encode_batch([prompt])[0]
        check_room(len(tokens), num_tokens, self.info.context_length)
        clock = _Clock(begun)
        self._continue(
            tokens,
            max_new_tokens=num_tokens,
            min_new_tokens=num_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            streamer=clock,
        )
        return clock.times

    def stream(
        self,
        prompt: str | Sequence[int],
        how: Writing,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> Generator[str, None, Generation]:
        tokens = self.encode_batch([prompt])[0] if isinstance(prompt, str) else list(prompt)
        check_room(len(tokens), how.max_tokens, self.info.context_length)
        ends = frozenset(self.end_tokens)
        cache: Any = None

        def read(ids: Sequence[int]) -> NDArray[np.float32]:
            nonlocal cache
            with self._attention(self._plain), torch.inference_mode():
                out = self._model(
                    input_ids=torch.tensor([list(ids)]), past_key_values=cache, use_cache=True
                )
            cache = out.past_key_values
            found: NDArray[np.float32] = out.logits[0, -1].float().numpy()
            return found

        writer = Writer(
            step=lambda token: read([token]),
            whole=lambda answer: self.decode(answer).rstrip("\ufffd"),
            last=self.decode,
            ends=ends.__contains__,
        )
        return (yield from write(read(tokens), writer, how, how.max_tokens, should_continue))

    def _continue(self, tokens: Sequence[int], **choice: Any) -> list[int]:
        """Generate new tokens with the model's own ``generate``."""
        ids = torch.tensor([list(tokens)])
        with self._attention(self._plain), torch.inference_mode():
            out = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                pad_token_id=self._tokenizer.pad_token_id or self._tokenizer.eos_token_id or 0,
                top_k=None,
                **choice,
            )
        new: list[int] = out[0, len(tokens) :].tolist()
        return new

    def close(self) -> None:
        self._model = None
        self._prefix, self._prefix_state = (), {}

    def _score_packed(self, pack: Pack) -> NDArray[np.float64]:
        if pack.prefix and pack.prefix != self._prefix:
            self._prefix_state = self._compute_prefix(pack.prefix)
            self._prefix = pack.prefix
        return self._score_plan(TreePlan(pack, self._prefix_state if pack.prefix else {}))

    def _score_plan(self, plan: TreePlan) -> NDArray[np.float64]:
        pack = plan.pack
        rows, place = np.unique(pack.read_rows, return_inverse=True)
        logits = self._forward(plan, rows)
        return _read(logits, place, pack.read_tokens)

    def _compute_prefix(
        self, prefix: tuple[int, ...]
    ) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        # One token is appended, so that the prefix is the context of a request; it is not computed.
        plan = TreePlan(build_pack([Request((*prefix, 0), len(prefix))]), keep={})
        self._forward(plan, np.array([len(prefix) - 1]))
        return plan.keep or {}

    def _forward(self, plan: TreePlan, rows: NDArray[Any]) -> torch.Tensor:
        """Logits at the given rows, shape (len(rows), vocabulary)."""
        pack = plan.pack
        with self._attention(ATTENTION), active_plan(plan):
            out = self._model(
                input_ids=torch.from_numpy(pack.tokens.astype(np.int64))[None],
                position_ids=torch.from_numpy(pack.positions.astype(np.int64))[None],
                use_cache=False,
                logits_to_keep=torch.from_numpy(rows.astype(np.int64)),
            )
        return out.logits[0]

    def _score_paths(self, pack: Pack) -> NDArray[np.float64]:
        """Score every path separately, with the model's own attention."""
        values = np.empty(len(pack.read_rows), dtype=np.float64)
        done = np.zeros(len(values), dtype=bool)
        leaf_of = {path: row for row, paths in enumerate(pack.leaves) for path in paths}
        for row in leaf_of.values():  # of a path's rows the last one, its leaf, is kept
            path = pack.path(row)
            rows_on_path = [row]
            while pack.parents[rows_on_path[-1]] >= 0:
                rows_on_path.append(int(pack.parents[rows_on_path[-1]]))
            mine = np.flatnonzero(np.isin(pack.read_rows, rows_on_path) & ~done)
            at = pack.positions[pack.read_rows[mine]]
            logits = self._model(input_ids=torch.tensor([path]), use_cache=False).logits[0]
            values[mine] = _read(logits[at], np.arange(len(mine)), pack.read_tokens[mine])
            done[mine] = True
        return values

    def _can_pack(self) -> bool:
        """Whether a small packed tree gets the same scores as its paths computed separately."""
        pack = _probe(self._vocab_size)
        with torch.inference_mode():
            expected = self._score_paths(pack)
            try:
                reason = self._why_not_packed(pack, expected)
            except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
        if reason:
            log.warning("packing is off for this architecture: %s", reason)
        return not reason

    def _why_not_packed(self, pack: Pack, expected: NDArray[np.float64]) -> str:
        """Return why this model cannot be packed, or an empty string.

        The test pack is short, so features that only affect long texts are read from the config.
        """
        config = self._model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if unknown := sorted(kinds - {"full_attention", "sliding_attention"}):
            return f"it has layers of kind {', '.join(unknown)}"
        if "logits_to_keep" not in inspect.signature(self._model.forward).parameters:
            return "its output head cannot be restricted to single positions"
        self._prefix_state = self._compute_prefix(pack.prefix)
        self._prefix = pack.prefix
        plan = TreePlan(pack, self._prefix_state)
        found = self._score_plan(plan)
        slides = getattr(config, "sliding_window", None) and getattr(
            config, "use_sliding_window", True
        )
        if slides and not hasattr(config, "layer_types"):
            kinds.add("sliding_attention")
        if "sliding_attention" in kinds and not plan.windows - {None}:
            return "its sliding window is not told to the attention function"
        exact = all(weight.dtype == torch.float32 for weight in self._model.parameters())
        tolerance = 1e-3 if exact else 0.2
        difference = float(np.abs(found - expected).max())
        if not difference <= tolerance:  # also when it is not a number
            return f"packed and single scores differ by {difference:.2g}"
        return ""

    def _attention(self, name: str) -> _AttentionChoice:
        return _AttentionChoice(self._model, name)


class _Clock:
    """Streamer for ``generate`` that records the time of each new token."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.times: list[float] = []
        self.has_prompt = False

    def put(self, tokens: torch.Tensor) -> None:  # noqa: ARG002
        if self.has_prompt:
            self.times.append(time.perf_counter() - self.begun)
        self.has_prompt = True  # the first call passes the prompt

    def end(self) -> None:
        """Do nothing; required by the streamer interface."""


class _AttentionChoice:
    """Context manager that switches a model's attention function."""

    def __init__(self, model: Any, name: str) -> None:
        self.configs = {id(c): c for m in model.modules() if (c := getattr(m, "config", None))}
        self.name = name

    def __enter__(self) -> None:
        self.before = {
            key: config._attn_implementation_internal for key, config in self.configs.items()
        }
        for config in self.configs.values():
            config._attn_implementation_internal = self.name

    def __exit__(self, *exc: object) -> None:
        for key, config in self.configs.items():
            config._attn_implementation_internal = self.before[key]


def _probe(vocab_size: int) -> Pack:
    """Small test tree after a prefix: one stem with three different branches."""
    stem = tuple(1 + (7 * i) % (vocab_size - 1) for i in range(9))
    requests = [
        Request(
            (*stem, 1 + (31 * i) % (vocab_size - 1), 1 + (17 * i) % (vocab_size - 1), 1), len(stem)
        )
        for i in range(1, 4)
    ]
    return build_pack(requests, stem[:4])


def _weights(model: ModelFiles, dtype: str) -> tuple[Path, str, str | None]:
    """Return the folder to load, the type of the weights, and a GGUF's architecture (else None).

    Type and architecture of a GGUF are named as in the llama runtime."""
    if model.kind != "gguf":
        return model.path, dtype, None
    from galenic.models.gguf.dequantize import check_room, dequantized_folder
    from galenic.models.gguf.header import check_gguf, quantization_label

    check_room(model)
    header = check_gguf(model.path)
    named = str(header.metadata["general.architecture"])
    return dequantized_folder(model), quantization_label(header), named


def _packing(config: Any) -> str:
    """Type of bitsandbytes quantization, such as ``int8`` or ``nf4``; empty for other models.

    Raises:
        UserError: the model needs bitsandbytes, which is not installed.
    """
    found = getattr(config, "quantization_config", None)
    if found is None:
        return ""
    described = found if isinstance(found, dict) else found.to_dict()
    if described.get("quant_method") != "bitsandbytes":
        return ""
    require_bitsandbytes()
    return "int8" if described.get("load_in_8bit") else str(described["bnb_4bit_quant_type"])


def _load(folder: Path, config: Any, name: str, dtype: torch.dtype) -> Any:
    try:
        model = load_causal(folder, config, name, dtype=dtype, attn_implementation="sdpa")
    except (ValueError, ImportError) as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        model = load_causal(folder, config, name, dtype=dtype, attn_implementation="eager")
    return model.eval()


def _read(
    logits: torch.Tensor, rows: NDArray[Any], tokens: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Log-probability of each read, given logits (r, vocabulary) and each read's row and token."""
    logits = logits.float()
    total = torch.logsumexp(logits, dim=-1)
    at = torch.from_numpy(rows.astype(np.int64))
    chosen = logits[at, torch.from_numpy(tokens.astype(np.int64))]
    values: NDArray[np.float64] = (chosen - total[at]).double().numpy()
    return values
