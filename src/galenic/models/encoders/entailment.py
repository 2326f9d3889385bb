"""Natural language inference by a sequence classification model of the user.

Any transformers folder with a classification head and a label for entailment will do, such as
models tuned on SNLI (Bowman et al. 2015, https://arxiv.org/abs/1508.05326) or MNLI. Which output
means what is read from ``id2label`` of its config. None is bundled, and no trained one was tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from galenic.errors import UserError
from galenic.models.configuration import loading, read_configuration
from galenic.models.encoders.encoder import refuse_writer, silent_report
from galenic.models.encoders.sentence import need_packages
from galenic.models.quiet import quiet_transformers
from galenic.models.tokenizers.load import read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from galenic.models.files import ModelFiles

__all__ = ["EntailmentModel", "load_entailment_model"]

WANTED = (
    "Name a folder of a transformers classifier of pairs of texts (NLI) whose config.json names "
    "the label `entailment` in id2label."
)


class EntailmentModel:
    """A loaded model that judges whether a sentence supports a claim.

    Attributes:
        name: as the user wrote it.
        entailment: output index of the label for entailment.
        contradiction: that of contradiction; None if the model has no such label.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name = name
        self.entailment, self.contradiction = _labels(name, model.config.id2label)
        self._model, self._tokenizer = model, tokenizer
        self._longest = min(int(getattr(model.config, "max_position_embeddings", 512)) - 2, 512)

    def judge(self, source: str, claim: str) -> tuple[float, float]:
        """Return the probabilities that a source entails a claim, and that it contradicts it.

        Args:
            source: sentence of a source, the premise.
            claim: sentence to be checked, the hypothesis.
        """
        import torch

        inputs = self._tokenizer(
            source,
            claim,
            truncation=True,
            max_length=self._longest,
            split_special_tokens=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            chances = self._model(**inputs).logits[0].double().softmax(-1).tolist()
        against = 0.0 if self.contradiction is None else chances[self.contradiction]
        return chances[self.entailment], against


def load_entailment_model(files: ModelFiles) -> EntailmentModel:
    """Load a model for entailment.

    Args:
        files: its folder, from `galenic.models.load.resolve_model`.

    Raises:
        UserError: packages are missing, it is not a classifier of pairs, has no label for
            entailment, or its weights do not fit its config.
    """
    need_packages("models for entailment")
    import torch
    import transformers

    if files.kind != "folder":
        raise UserError(f"{files.name} is a GGUF file, no model for entailment. {WANTED}")
    _labels(files.name, read_configuration(files.path, files.name).id2label)
    config = refuse_writer(files)
    tokenizer = read_tokenizer(files.path)
    with loading(files.name), quiet_transformers(), silent_report():
        model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
            files.path,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
        )
    if found["missing_keys"] or found["mismatched_keys"]:
        raise UserError(
            f"{files.name} has no trained classification head ({len(found['missing_keys'])} "
            f"weights are missing). {WANTED}"
        )
    return EntailmentModel(files.name, model.eval(), tokenizer)


def _labels(name: str, labels: Mapping[Any, str]) -> tuple[int, int | None]:
    """Return the output indices of entailment and of contradiction."""
    said = {int(at): str(label).lower().replace("-", "_") for at, label in labels.items()}
    yes = [at for at, one in said.items() if one.startswith("entail")]
    against = [at for at, one in said.items() if one.startswith("contradict")]
    if len(yes) != 1 or len(against) > 1:
        raise UserError(
            f"{name} is no model for entailment: none of its labels, or more than one, is it "
            f"({', '.join(map(str, labels.values()))}). {WANTED}"
        )
    return yes[0], against[0] if against else None
