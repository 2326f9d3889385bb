"""Chat templates give the text and the tokens that transformers gives."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from galenic.evaluation.chat.render import chat_prompt, render_chat
from galenic.models.load import resolve_model
from galenic.runtimes.torch import TorchRuntime
from tiny_hf import CHAT_TEMPLATE, write_tiny_hf

TALK = [
    {"role": "user", "content": "Is <b>it</b> a 'virus' & é?"},
    {"role": "assistant", "content": "Maybe."},
    {"role": "user", "content": "And now?"},
]
TEMPLATES = {
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content }}{% endgeneration %}\n{% else %}{{ m.content }}\n{% endif %}{% endfor %}",
    "set in generation": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}"
    "{{ x }}",
    "loop in generation": "{% for m in messages %}{% generation %}{{ loop.index }}{{ m.role }}"
    "{% endgeneration %}{% endfor %}",
    "tools": "{% if tools is not none %}TOOLS{{ tools | tojson }}{% endif %}" + CHAT_TEMPLATE,
    "no tools": "{% if tools is none %}NO{% endif %}{% if documents is none %}NO{% endif %}",
    "tojson": "{% for m in messages %}{{ m | tojson }}{{ m | tojson(indent=2) }}{% endfor %}",
    "special": "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}" + CHAT_TEMPLATE,
    "start token": "{{ bos_token }}" + CHAT_TEMPLATE,
    "break": "{% for m in messages %}{{ m.content }}{% break %}{% endfor %}",
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> TorchRuntime:
    folder = write_tiny_hf(tmp_path_factory.mktemp("chat") / "model", "llama")
    return TorchRuntime(resolve_model(str(folder)), threads=1)


@pytest.mark.parametrize("name", TEMPLATES)
def test_rendered_as_transformers_does(runtime: TorchRuntime, name: str) -> None:
    template = TEMPLATES[name]
    expected = runtime._tokenizer.apply_chat_template(
        TALK, chat_template=template, tokenize=False, add_generation_prompt=True
    )
    assert render_chat(template, TALK, runtime.special_tokens) == expected


@pytest.mark.parametrize("name", ["start token", "special"])
def test_the_start_token_stands_once(runtime: TorchRuntime, name: str) -> None:
    expected = runtime._tokenizer.apply_chat_template(
        TALK, chat_template=TEMPLATES[name], add_generation_prompt=True, return_dict=False
    )
    assert runtime.encode_batch([chat_prompt(runtime, TEMPLATES[name], TALK)]) == [expected]
