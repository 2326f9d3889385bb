"""Every family's blocks, taken apart, are the weights that transformers computes with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from galenic.errors import UserError
from galenic.models.families import EXPERTS, check_family
from galenic.models.families import FAMILIES as TABLE
from galenic.models.layers import count_parameters, read_layout
from tiny_hf import FAMILIES, MORE_FAMILIES, write_tiny_hf

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the train extra")

ALL = (*FAMILIES, *MORE_FAMILIES)
HEADS, KV_HEADS, HIDDEN, FFN = 4, 2, 48, 96
HEAD_SIZE = {"llama": 12, "qwen2": 12, "phi3": 12, "mistral": 16, "qwen3": 16, "gemma3": 16}


def load(root: Path, family: str) -> Any:
    folder = write_tiny_hf(root / family, family)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_and_shapes(tmp_path: Path, family: str) -> None:
    layout = read_layout(load(tmp_path, family))
    head = HEAD_SIZE[family]
    assert vars(layout.sizes) == {
        "hidden_size": HIDDEN,
        "num_heads": HEADS,
        "num_kv_heads": KV_HEADS,
        "head_size": head,
        "ffn_size": FFN,
    }
    expected = {
        "q": (HEADS * head, HIDDEN),
        "k": (KV_HEADS * head, HIDDEN),
        "v": (KV_HEADS * head, HIDDEN),
        "o": (HIDDEN, HEADS * head),
        "gate": (FFN, HIDDEN),
        "up": (FFN, HIDDEN),
        "down": (HIDDEN, FFN),
    }
    assert [block.index for block in layout.blocks] == [0, 1, 2]
    for block in layout.blocks:
        assert {role: tuple(one.weight.shape) for role, one in block.linears.items()} == expected
        for role, linear in block.linears.items():
            biased = family == "qwen2" and role in "qkv"
            assert (linear.bias is not None) == biased
            if biased:
                assert tuple(linear.bias.shape) == (expected[role][0],)


# GPT-NeoX, whose attention and feed-forward network have other forms: test_gpt_neox.py
@pytest.mark.parametrize("family", [name for name in ALL if name != "gpt_neox"])
def test_roles_do_what_their_names_say(tmp_path: Path, family: str) -> None:
    model = load(tmp_path, family)
    layout = read_layout(model)
    tokens = torch.arange(3, 15)[None]
    states: dict[str, Any] = {}
    block = layout.blocks[1]
    mlp = block.module.mlp
    keep = [mlp.register_forward_hook(lambda _, args, out: states.update(x=args[0], y=out))]
    # Values of token 0 pass attention unchanged: it attends to nothing but itself.
    keep.append(
        block.module.self_attn.register_forward_hook(
            lambda _, args, kwargs, out: states.update(h=kwargs["hidden_states"], a=out[0]),
            with_kwargs=True,
        )
    )
    with torch.no_grad():
        model(tokens, use_cache=False)
        weights = {role: linear.weight for role, linear in block.linears.items()}
        act = mlp.act_fn if hasattr(mlp, "act_fn") else mlp.activation_fn
        x = states["x"]
        channels = act(x @ weights["gate"].T) * (x @ weights["up"].T)
        torch.testing.assert_close(channels @ weights["down"].T, states["y"])
        value = states["h"][:, 0] @ weights["v"].T
        if block.linears["v"].bias is not None:
            value = value + block.linears["v"].bias
        heads = value.view(1, KV_HEADS, -1).repeat_interleave(HEADS // KV_HEADS, dim=1)
        torch.testing.assert_close(heads.flatten(1) @ weights["o"].T, states["a"][:, 0])
    for hook in keep:
        hook.remove()


@pytest.mark.parametrize("family", ["qwen2", "phi3"])
def test_writing_to_a_weight_changes_the_model(tmp_path: Path, family: str) -> None:
    model = load(tmp_path, family)
    layout = read_layout(model)
    layout.blocks[0].linears["k"].weight.fill_(7)
    attention = model.model.layers[0].self_attn
    if family == "phi3":
        fused = attention.qkv_proj.weight
        assert (fused[48:72] == 7).all()  # after 4 x 12 query rows
        assert not (fused[:48] == 7).any()
        assert not (fused[72:] == 7).any()
    else:
        assert (attention.k_proj.weight == 7).all()


@pytest.mark.parametrize("family", ALL)
def test_counts(tmp_path: Path, family: str) -> None:
    model = load(tmp_path, family)
    layout = read_layout(model)
    stored = dict(model.named_parameters())  # a shared weight is named once
    counts = count_parameters(layout)
    assert counts.total == sum(p.numel() for p in stored.values())
    assert counts.blocks == sum(p.numel() for n, p in stored.items() if ".layers." in n)
    assert counts.embeddings == sum(
        p.numel() for n, p in stored.items() if "embed" in n or "lm_head" in n
    )
    outside = [n for n in stored if ".layers." not in n and "norm" in n]
    final_norm = sum(stored[n].numel() for n in outside)
    assert counts.total == counts.embeddings + counts.blocks + final_norm


def test_every_family_of_the_table_is_tested_here(tmp_path: Path) -> None:
    configs = (write_tiny_hf(tmp_path / name, name) / "config.json" for name in ALL)
    made = {json.loads(path.read_text())["model_type"] for path in configs}
    assert made == set(TABLE) - EXPERTS  # those have tests of their own


def test_an_unknown_architecture_names_the_known_ones() -> None:
    config = SimpleNamespace(model_type="gemma4")
    with pytest.raises(
        UserError, match=r"'gemma4'.*gemma3_text.*llama, mistral, mixtral, olmo2, phi3"
    ):
        read_layout(SimpleNamespace(config=config))


def test_a_near_name_is_another_architecture() -> None:
    with pytest.raises(UserError, match=r"of here: 'lfm2'\. .*blocks are recurrent") as error:
        check_family("lfm2", "here")
    assert "Did you mean" not in str(error.value)


def test_a_shape_that_the_configuration_denies(tmp_path: Path) -> None:
    model = load(tmp_path, "llama")
    model.config.intermediate_size = 64
    with pytest.raises(UserError, match=r"layers\.0\.mlp\.gate_proj .*\(96, 48\).*\(64, 48\)"):
        read_layout(model)
