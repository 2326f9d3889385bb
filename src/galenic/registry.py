"""Names to code, loaded only when asked for: ``name -> "module:attribute"``.

A new benchmark, runtime, scoring, pruning or quantization method is one file and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from galenic.errors import unknown_name

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


class Registry:
    """A lazy table of one kind of thing; iterating gives the names in their listed order."""

    def __init__(self, kind: str, entries: dict[str, str]) -> None:
        self.kind = kind
        self.entries = entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def load(self, name: str) -> Any:
        """Import and return the named entry.

        Raises:
            UserError: the name is not listed; the message suggests near names.
        """
        self.check(name)
        module, attribute = self.entries[name].split(":")
        return getattr(importlib.import_module(module), attribute)

    def check(self, name: str) -> str:
        """Return the name unchanged if it is listed, without importing anything."""
        if name not in self.entries:
            raise unknown_name(self.kind, name, self.entries)
        return name


BENCHMARKS = Registry(
    "benchmark",
    {
        "pubmedqa": "galenic.data.benchmarks.pubmedqa:PUBMEDQA",
        "medqa_4options": "galenic.data.benchmarks.medqa:MEDQA_4OPTIONS",
        "medqa_5options": "galenic.data.benchmarks.medqa:MEDQA_5OPTIONS",
        "medmcqa": "galenic.data.benchmarks.medmcqa:MEDMCQA",
    },
)

RUNTIMES = Registry(
    "runtime",
    {
        "llama": "galenic.runtimes.llama:LlamaRuntime",
        "torch": "galenic.runtimes.torch:TorchRuntime",
        "encoder": "galenic.runtimes.encoder:EncoderRuntime",
    },
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
    },
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
)

EXPORTERS = Registry(
    "program",
    {
        "ollama": "galenic.exporters.ollama:Ollama",
        "llama.cpp": "galenic.exporters.llama_cpp:LlamaCpp",
        "transformers": "galenic.exporters.transformers:Transformers",
        "lm-eval": "galenic.exporters.lm_eval:LmEval",
    },
)

ENGINES = Registry(
    "engine",
    {
        "local": "galenic.study.engines.local:LocalEngine",
        "ray": "galenic.study.engines.ray:RayEngine",
    },
)

FINETUNERS = Registry(
    "fine-tuning method",
    {
        "lora": "galenic.training.finetune.lora:LoRA",
        "full": "galenic.training.finetune.full:Full",
    },
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
