"""Registries that map names to code, imported on first use: ``name -> "module:attribute"``.

A new benchmark, runtime, scoring, pruning or quantization method needs one file and one line here,
or one entry point in another package (docs/extend.md): ``name = "module:attribute"`` in the group
``galenic.pruners``, ``galenic.benchmarks`` and so on.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from galenic.errors import UserError, unknown_name

__all__ = [
    "BENCHMARKS",
    "DISTILLERS",
    "ENGINES",
    "EXPORTERS",
    "FINETUNERS",
    "PRUNERS",
    "QUANTIZERS",
    "RECIPE_FINETUNERS",
    "RUNTIMES",
    "SCORINGS",
    "Registry",
]


log = logging.getLogger(__name__)


class Registry:
    """A mapping from names to objects of one kind, imported on first use; iteration keeps order.

    Attributes:
        kind: what the names denote, for messages.
        own: Galenic's own entries.
        group: entry point group through which other packages add entries; None for none.
    """

    def __init__(self, kind: str, own: dict[str, str], group: str | None = None) -> None:
        self.kind, self.own, self.group = kind, own, group
        self._broken: dict[str, str] = {}

    @cached_property
    def plugins(self) -> dict[str, EntryPoint]:
        """Entry points of other packages by name, without names that Galenic itself uses."""
        if self.group is None:
            return {}
        found: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=self.group), key=lambda one: one.name):
            if point.name in self.own or point.name in found:
                log.warning("%s is skipped: the name is taken", _where(self.kind, point))
            else:
                found[point.name] = point
        return found

    def __iter__(self) -> Iterator[str]:
        """Yield Galenic's names, then those of working plug-ins; warn about broken ones."""
        yield from self.own
        for name in self.plugins:
            if self._works(name):
                yield name

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.plugins

    def load(self, name: str) -> Any:
        """Import and return the named entry.

        Raises:
            UserError: the name is not listed (the message suggests near names), or it is a plug-in
                that does not load.
        """
        self.check(name)
        if name in self.own:
            module, attribute = self.own[name].split(":")
            return getattr(importlib.import_module(module), attribute)
        point = self.plugins[name]
        try:
            entry = point.load()
            said = entry.name
        except Exception as error:
            raise UserError(
                f"{_where(self.kind, point)} does not load ({type(error).__name__}: {error}). "
                "Mend or uninstall it."
            ) from error
        if said != name:
            raise UserError(
                f"{_where(self.kind, point)} calls itself {said!r}: `name` and entry "
                "point must be the same."
            )
        return entry

    def check(self, name: str) -> str:
        """Return the name unchanged if it is listed, without importing anything."""
        if name not in self:
            raise unknown_name(self.kind, name, [*self.own, *self.plugins])
        return name

    def _works(self, name: str) -> bool:
        """Whether a plug-in can be loaded; warns once if it cannot."""
        if name in self._broken:
            return False
        try:
            self.load(name)
        except UserError as error:
            self._broken[name] = str(error)
            log.warning("%s It is skipped.", error)
            return False
        return True


def _where(kind: str, point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else point.value
    return f"the {kind} {point.name!r} of the package {package}"


BENCHMARKS = Registry(
    "benchmark",
    {
        "pubmedqa": "galenic.data.benchmarks.pubmedqa:PUBMEDQA",
        "medqa_4options": "galenic.data.benchmarks.medqa:MEDQA_4OPTIONS",
        "medqa_5options": "galenic.data.benchmarks.medqa:MEDQA_5OPTIONS",
        "medmcqa": "galenic.data.benchmarks.medmcqa:MEDMCQA",
    },
    "galenic.benchmarks",
)

RUNTIMES = Registry(
    "runtime",
    {
        "llama": "galenic.runtimes.llama:LlamaRuntime",
        "torch": "galenic.runtimes.torch:TorchRuntime",
        "encoder": "galenic.runtimes.encoder:EncoderRuntime",
    },
    "galenic.runtimes",
)

SCORINGS = Registry(
    "scoring",
    {
        "letter": "galenic.evaluation.scoring.letter:Letter",
        "text": "galenic.evaluation.scoring.text:Text",
        "text_per_byte": "galenic.evaluation.scoring.text:TextPerByte",
        "generate": "galenic.evaluation.scoring.generate:Generate",
        "head": "galenic.evaluation.scoring.head:Head",
    },
    "galenic.scorings",
)

PRUNERS = Registry(
    "pruning method",
    {
        "magnitude": "galenic.compression.prune.magnitude:Magnitude",
        "wanda": "galenic.compression.prune.wanda:Wanda",
        "sparsegpt": "galenic.compression.prune.sparsegpt:SparseGPT",
        "width": "galenic.compression.prune.width:Width",
        "depth": "galenic.compression.prune.depth:Depth",
        "vocab": "galenic.compression.prune.vocab:Vocab",
        "experts": "galenic.compression.prune.experts:Experts",
    },
    "galenic.pruners",
)

QUANTIZERS = Registry(
    "quantization method",
    {
        "kquant": "galenic.compression.quantize.block_types:KQuant",
        "gptq": "galenic.compression.quantize.gptq:GPTQ",
        "nf4": "galenic.compression.quantize.nf4:NF4",
        "int8": "galenic.compression.quantize.int8:Int8",
        "auto_round": "galenic.compression.quantize.auto_round:AutoRound",
    },
    "galenic.quantizers",
)

EXPORTERS = Registry(
    "program",
    {
        "ollama": "galenic.exporters.ollama:Ollama",
        "llama.cpp": "galenic.exporters.llama_cpp:LlamaCpp",
        "transformers": "galenic.exporters.transformers:Transformers",
        "lm-eval": "galenic.exporters.lm_eval:LmEval",
    },
    "galenic.exporters",
)

ENGINES = Registry(
    "engine",
    {
        "local": "galenic.study.engines.local:LocalEngine",
        "ray": "galenic.study.engines.ray:RayEngine",
    },
    "galenic.engines",
)

FINETUNERS = Registry(
    "fine-tuning method",
    {
        "lora": "galenic.training.finetune.lora:LoRA",
        "full": "galenic.training.finetune.full:Full",
    },
    "galenic.finetuners",
)

RECIPE_FINETUNERS = Registry(
    "fine-tuning method",
    {
        "lora": "galenic.training.finetune.stage:LoRAStage",
        "full": "galenic.training.finetune.stage:FullStage",
    },
)

DISTILLERS = Registry(
    "distillation method",
    {
        "logits": "galenic.training.distill.logits:Logits",
        "sequence": "galenic.training.distill.sequence:Sequence",
    },
)
