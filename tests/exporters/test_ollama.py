"""Modelfiles: the Go template gives what the model's own Jinja template gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from go_template import render_go

from galenic.errors import UserError
from galenic.evaluation.chat.render import render_chat
from galenic.exporters.chat import TALKS, find_form
from galenic.exporters.ollama import context_for, modelfile
from galenic.exporters.run import export
from tiny import write_tiny_gguf

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
GENERATE = "{% if add_generation_prompt %}"
HEADERS = (
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
)
TEMPLATES = {
    "mistral 0.2": "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != "
    "(loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + eos_token}}{% endif %}{% endfor %}",
    "mistral with system": "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{% set s = messages[0].content + '\n\n' %}{% set ms = messages[1:] %}{% else %}"
    "{% set s = '' %}"
    "{% set ms = messages %}{% endif %}{% for m in ms %}{% if m.role == 'user' %}[INST] "
    "{{ s if loop.first else '' }}{{ m.content }} [/INST]{% else %}{{ m.content }}{{ eos_token }}"
    "{% endif %}{% endfor %}",
    "zephyr": "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + "
    "'\n' }}{% endfor %}" + GENERATE + "{{ '<|assistant|>\n' }}{% endif %}",
    "alpaca": "{% for m in messages %}{% if m.role=='user' %}### Instruction:\n{{ m.content }}\n\n"
    "{% elif m.role == 'system' %}{{ m.content }}\n\n{% else %}### Response:\n{{ m.content }}\n\n"
    "{% endif %}{% endfor %}" + GENERATE + "### Response:\n{% endif %}",
    "llama 3": "{{ bos_token }}{% for m in messages %}" + HEADERS + "{% endfor %}" + GENERATE
    + "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "llama 3.1, dates": "{{ bos_token }}{% set s = '' %}{% set ms = messages %}"
    "{% if messages[0]['role']=='system' %}{% set s = messages[0]['content'] %}"
    "{% set ms = messages[1:] %}{% endif %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{{ s }}<|eot_id|>"
    "{% for m in ms %}" + HEADERS + "{% endfor %}" + GENERATE
    + "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "chatml": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}" + GENERATE + "<|im_start|>assistant\n{% endif %}",
    "chatml, default with quotes": "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
    "You are \"Doc\", say \"\"\"no\"\"\" {{ '{{' }} x }} \\ now.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    + GENERATE + "<|im_start|>assistant\n{% endif %}",
    "gemma": "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no') }}"
    "{% endif %}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}" + GENERATE + "<start_of_turn>model\n{% endif %}",
    "phi": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    + GENERATE + "<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
}  # fmt: skip
STOPS = {
    "mistral 0.2": "</s>", "mistral with system": "</s>", "zephyr": "</s>",
    "alpaca": "### Instruction:", "llama 3": "<|eot_id|>", "llama 3.1, dates": "<|eot_id|>",
    "chatml": "<|im_end|>", "chatml, default with quotes": "<|im_end|>", "gemma": "<end_of_turn>",
    "phi": "<|end|>",
}  # fmt: skip
CONTROL = ("<s>", "</s>", "<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>", "<|user|>")


def parsed(text: str) -> dict[str, list[str]]:
    """A Modelfile as Ollama reads it: values in three quotation marks hold anything but these."""
    found: dict[str, list[str]] = {}
    rule = r'^(FROM|TEMPLATE|SYSTEM|PARAMETER \w+) (?:"""(.*?)"""|"([^"\n]*)"|([^"\n]*))$'
    for match in re.finditer(rule, text, re.DOTALL | re.MULTILINE):
        value = next(one for one in match.groups()[1:] if one is not None)
        found.setdefault(match[1], []).append(value)
    rest = re.sub(rule, "", text, flags=re.DOTALL | re.MULTILINE)
    assert all(not line or line.startswith("#") for line in rest.splitlines()), rest
    return found


def as_ollama(template: str, talk: Sequence[Mapping[str, str]]) -> str:
    """What Ollama puts into a template: all messages, and the system's by itself too."""
    system = next((one["content"] for one in talk if one["role"] == "system"), "")
    messages = [{"Role": one["role"], "Content": one["content"]} for one in talk]
    return render_go(template, {"System": system, "Messages": messages})


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_the_go_template_writes_what_the_models_own_does(name: str) -> None:
    form = find_form(TEMPLATES[name], SPECIAL)
    assert form is not None
    stops = form.stops(CONTROL)
    assert stops == (STOPS[name],)
    [template] = parsed(modelfile("model.gguf", form, stops, (2048, 2048)))["TEMPLATE"]
    merged = name in ("mistral 0.2", "gemma")  # which refuse a system's message
    for talk in TALKS:
        given = [dict(one) for one in talk]
        if merged and given[0]["role"] == "system":
            given[1]["content"] = f"{given[0]['content']}\n\n{given[1]['content']}"
            given = given[1:]
        assert as_ollama(template, talk) == render_chat(TEMPLATES[name], given, SPECIAL)


def test_an_answer_that_was_begun_is_continued() -> None:
    form = find_form(TEMPLATES["chatml"], SPECIAL)
    assert form is not None
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "It is"}]
    assert as_ollama(form.template, talk).endswith("<|im_start|>assistant\nIt is")


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ loop.index }}: {{ m.content }}\n{% endfor %}",
        "{{ raise_exception('never') }}",
        "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
        "{% for m in messages %}{{ m.role }}{% if m.content | length > 20 %}!{% endif %}"
        "{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.role }}:{{ m.content.split('</think>')[-1] }}{% endfor %}",
        "{% if '/no_think' in messages[0].content %}off{% endif %}"
        "{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}",
    ],
)
def test_a_template_that_does_more_is_refused(template: str, tmp_path: Path) -> None:
    assert find_form(template, SPECIAL) is None
    model = write_tiny_gguf(tmp_path / "tiny.gguf", chat_template=template)
    with pytest.raises(UserError, match=r"runs no Jinja.*llama-server --jinja"):
        export(str(model), "ollama", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_date_is_that_of_the_export(tmp_path: Path) -> None:
    dated = "Today: {{ strftime_now('%d %b %Y') }}\n" + TEMPLATES["chatml"]
    export(str(write_tiny_gguf(tmp_path / "m.gguf", chat_template=dated)), "ollama", tmp_path / "o")
    text = (tmp_path / "o" / "Modelfile").read_text()
    [template] = parsed(text)["TEMPLATE"]
    assert as_ollama(template, TALKS[0]).startswith(f"Today: {date.today():%d %b %Y}\n<|im_start|>")
    assert "# the template writes today's date" in text


@pytest.mark.parametrize("add_bos", [True, False])
def test_the_start_token_is_there_once(tmp_path: Path, add_bos: bool) -> None:
    template = "{{ bos_token }}" + TEMPLATES["chatml"]
    model = write_tiny_gguf(tmp_path / "m.gguf", chat_template=template, add_bos=add_bos)
    export(str(model), "ollama", tmp_path / "out")
    [found] = parsed((tmp_path / "out" / "Modelfile").read_text())["TEMPLATE"]
    text = as_ollama(found, TALKS[0])
    assert text.startswith("<|im_start|>" if add_bos else "<|endoftext|><|im_start|>")


def test_what_is_quoted_and_the_rest_of_the_file(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "m.gguf")
    export(str(model), "ollama", tmp_path / "out")
    found = parsed((tmp_path / "out" / "Modelfile").read_text())
    assert found["FROM"] == ["./model.gguf"]
    assert found["PARAMETER stop"] == ["<|im_end|>"]
    assert found["PARAMETER num_ctx"] == ["2048"]
    assert found["PARAMETER temperature"] == ["0"]
    plain = parsed(modelfile("m.gguf", None, ('say "x"', "end"), None))
    assert plain["TEMPLATE"] == ["{{ .Prompt }}"]
    assert plain["PARAMETER stop"] == ['say "x"', "end"]


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        # Llama 3.1 8B: 128 kB a token, 8192 tokens are 1 GiB
        ((131072, 32, 32, 8, 4096, 128), 8192),
        # SmolLM2 135M: 23 kB a token
        ((8192, 30, 9, 3, 576, None), 8192),
        ((131072, 30, 9, 3, 576, None), 46080),
        # so wide that 1 GiB is less than a short conversation
        ((4096, 80, 128, 128, 16384, 128), 2048),
        ((512, 80, 128, 128, 16384, 128), 512),
    ],
)
def test_the_context_is_what_fits_a_gibibyte(sizes: tuple[Any, ...], wanted: int) -> None:
    keys = ("context_length", "block_count", "attention.head_count", "attention.head_count_kv")
    keys += ("embedding_length", "attention.key_length")
    metadata = {f"llama.{k}": v for k, v in zip(keys, sizes, strict=True) if v is not None}
    found = context_for({"general.architecture": "llama", **metadata})
    assert found == (wanted, sizes[0])
    text = modelfile("m.gguf", None, (), found)
    assert ("need more memory" in text) == (wanted < sizes[0])


@pytest.mark.parametrize(
    ("turn", "stop"),
    [
        ("{{ m.role | title }}: {{ m.content }}\n", "User:"),
        ("{{ m.role }}\n{{ m.content }}\n", "\nuser\n"),  # "user" alone is a word of answers
        ('"{{ m.role }}": "{{ m.content }}"\n', '"\n"user": "'),
        ("- {{ m.role }} - {{ m.content }} ;\n", " ;\n- user -"),
        ('"""{{ m.role }}\n{{ m.content }}"""\n', '"""'),
        ("\\{{ m.role }}\\n{{ m.content }}\\end\n", "\\end"),
        ("<{{ m.role }}>{{ m.content }}\u2028</{{ m.role }}>", "</assistant><user>"),
        ("{{ m.content }}\n\n", None),
    ],
)
def test_stops_are_nothing_that_an_answer_holds(turn: str, stop: str | None) -> None:
    template = "{% for m in messages %}" + turn + "{% endfor %}"
    form = find_form(template, SPECIAL)
    assert form is not None
    stops = form.stops(CONTROL)
    assert stops == (() if stop is None else (stop,))
    found = parsed(modelfile("model.gguf", form, stops, None))
    assert found.get("PARAMETER stop", []) == list(stops)
    assert as_ollama(found["TEMPLATE"][0], TALKS[1]) == render_chat(template, TALKS[1], SPECIAL)


def test_what_changes_in_long_conversations_is_refused() -> None:
    long = "{% if messages | length > 20 %}!{% endif %}"
    turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    assert find_form(turns, SPECIAL) is not None
    assert find_form(long + turns, SPECIAL) is None


def test_names_and_folders_that_a_shell_would_split(tmp_path: Path) -> None:
    model = write_tiny_gguf(tmp_path / "My Model (v2).gguf", chat_template=TEMPLATES["chatml"])
    use = export(str(model), "ollama", tmp_path / "the export").splitlines()
    assert use[-2:] == [
        f"ollama create my-model-v2 -f '{tmp_path}/the export'/Modelfile",
        "ollama run my-model-v2",
    ]
