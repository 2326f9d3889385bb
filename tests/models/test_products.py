"""Products in bfloat16 against the same product in float64, rounded where it should be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")


class TwoLayerMLP(torch.nn.Module):
    """As transformers' ones: its name ends in MLP, and it holds linear layers without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (torch.nn.Linear(64, 64, bias=False) for _ in range(2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.down(torch.relu(self.up(inputs)))


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.inner, self.head = torch.nn.Linear(64, 32), torch.nn.Linear(64, 32, bias=False)
        for weight in (self.inner.weight, self.head.weight):
            weight.data = torch.randn(weight.shape, generator=generator)
        self.inner.bias.data.fill_(1000.1)  # in bfloat16 1000
        self.mlp = TwoLayerMLP()

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head


def test_inputs_weights_and_sum_are_rounded_but_not_the_bias_and_not_the_head() -> None:
    from galenic.models.packing.products import round_products_

    model = Model()
    inputs = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    rounded = [part.bfloat16().double() for part in (inputs, model.inner.weight)]
    expected = (rounded[0] @ rounded[1].T).bfloat16().double() + 1000.1
    head = model.head(inputs)
    round_products_(model)
    with torch.inference_mode():
        found = model.inner(inputs)
        assert found.dtype == torch.float32
        # the last bit of bfloat16 may differ by the order of the sum: 2^-8 of numbers up to 32
        assert torch.allclose(found.double(), expected, rtol=0, atol=0.13)
        assert (found.double() - expected).abs().median() < 1e-3
        assert torch.equal(model.head(inputs), head)
    assert [w.dtype for w in (model.inner.weight, model.head.weight)] == [
        torch.bfloat16,
        torch.float32,
    ]


def test_a_feed_forward_network_is_bfloat16_inside_and_float32_outside() -> None:
    from galenic.models.packing.products import round_products_

    model, inputs = Model(), torch.randn(5, 64)
    up, down = (layer.weight.detach().bfloat16() for layer in (model.mlp.up, model.mlp.down))
    expected = torch.relu(inputs.bfloat16() @ up.T) @ down.T
    round_products_(model)
    with torch.inference_mode():
        found = model.mlp(inputs)
    assert found.dtype == torch.float32
    assert model.mlp.up.weight.dtype == torch.bfloat16
    assert torch.allclose(found, expected.float(), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("width", "has_amx", "inside"),
    [(1536, True, "medium"), (1536, False, "highest"), (64, True, "highest")],
)
def test_products_are_rounded_in_a_large_model_on_amx_alone(
    monkeypatch: pytest.MonkeyPatch, width: int, has_amx: bool, inside: str
) -> None:
    from galenic.models.packing.products import rounded_products

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=width))
    layout = SimpleNamespace(model=SimpleNamespace(config=config))
    with pytest.raises(ZeroDivisionError), rounded_products(layout):
        assert torch.get_float32_matmul_precision() == inside
        _ = 1 / 0
    assert torch.get_float32_matmul_precision() == "highest"
