"""lm-evaluation-harness scores a model through the server as the runtime does in process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inside import Inside

from galenic.models.load import resolve_model
from galenic.runtimes.base import Writing
from galenic.runtimes.llama import LlamaRuntime
from tiny import write_tiny_gguf

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]

STEM = "Question: Which one helps?\nA. Water\nB. Fire\nAnswer:"
PAIRS = [(STEM, " A"), (STEM, " B"), (STEM, " Water"), ("", "The heart"), ("Ça va?", " Mal 😀")]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "start"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "tiny.gguf"
    return write_tiny_gguf(path, add_bos=request.param)


@pytest.fixture(scope="module")
def harness(model: Path) -> Iterator[Any]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    pytest.importorskip("tenacity", reason="needs what the harness needs for servers")
    module = pytest.importorskip("lm_eval.models.openai_completions")
    server = Inside(LlamaRuntime(resolve_model(str(model)), threads=1))
    address = f"http://127.0.0.1:{server.port}/v1/completions"
    yield lambda **how: module.LocalCompletionsAPI(
        base_url=address, model=str(model), max_retries=1, **how
    )
    server.close()


def instances(kind: str, asked: list[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, one, number) for number, one in enumerate(asked)]


@pytest.mark.filterwarnings("ignore")  # the harness's own
@pytest.mark.parametrize("how", [{"batch_size": 1}, {"batch_size": 4}], ids=["alone", "batch"])
def test_log_likelihoods_are_those_in_process(
    harness: Any, model: Path, how: dict[str, Any]
) -> None:
    found = harness(**how).loglikelihood(instances("loglikelihood", PAIRS), disable_tqdm=True)
    with LlamaRuntime(resolve_model(str(model)), threads=1) as runtime:
        for (context, end), (value, greedy) in zip(PAIRS, found, strict=True):
            if context:
                assert value == pytest.approx(runtime.loglikelihood(context, [end])[0], abs=1e-9)
                likeliest = runtime.generate(context, Writing(max_tokens=12)).text
                assert greedy == likeliest.startswith(end)


@pytest.mark.filterwarnings("ignore")
def test_texts_are_continued(harness: Any, model: Path) -> None:
    asked = [(STEM, {"until": ["e"], "max_gen_toks": 8}), ("The", {"until": [], "max_gen_toks": 4})]
    found = harness(batch_size=1).generate_until(
        instances("generate_until", asked), disable_tqdm=True
    )
    with LlamaRuntime(resolve_model(str(model)), threads=1) as runtime:
        for (context, how), text in zip(asked, found, strict=True):
            stops = (*how["until"], runtime.special_tokens["eos_token"])
            writing = Writing(max_tokens=how["max_gen_toks"], stop=stops)
            assert text == runtime.generate(context, writing).text
