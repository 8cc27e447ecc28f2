"""Ensemble layers are M ordinary networks; normalisers undo what they do."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robopref.nn import MANY_ROWS, EnsembleLinear, EnsembleMLP, Normalizer
from tests.plain_networks import plain


@pytest.mark.parametrize("rows", [4, MANY_ROWS])
def test_an_ensemble_is_its_members_and_so_are_its_gradients(rows, generator):
    ensemble = EnsembleMLP(3, 5, (7, 6), 2, generator=generator)
    x = torch.randn(rows, 5, generator=generator).requires_grad_()
    x_alone = x.detach().clone().requires_grad_()
    out = ensemble(x)
    out.square().mean().backward()
    for member in range(3):
        alone = plain(ensemble, member)
        torch.testing.assert_close(out[member], alone(x_alone))
        (alone(x_alone).square().mean() / 3).backward()
        for layer, linear in zip(ensemble.layers, alone[::2], strict=True):
            assert isinstance(layer, EnsembleLinear)
            assert isinstance(linear, nn.Linear)
            assert layer.weight.grad is not None
            assert layer.bias.grad is not None
            assert linear.weight.grad is not None
            torch.testing.assert_close(layer.weight.grad[member], linear.weight.grad.T)
            torch.testing.assert_close(layer.bias.grad[member, 0], linear.bias.grad)
    torch.testing.assert_close(x.grad, x_alone.grad)


def test_many_rows_go_through_onednn_where_it_can_multiply_them(generator):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("This build of torch is without oneDNN.")
    ensemble = EnsembleMLP(2, 5, (7,), 1, generator=generator)
    many = torch.zeros(MANY_ROWS, 5)

    def products(x):
        with torch.profiler.profile() as profile:
            ensemble(x)
        return {event.key for event in profile.key_averages()}

    assert "aten::mkldnn_linear" in products(many)
    assert "aten::mkldnn_linear" not in products(many[1:])
    with torch.autocast("cpu", torch.bfloat16):  # Its batched product is oneDNN's already.
        assert "aten::mkldnn_linear" not in products(many)
    ensemble.double()
    assert "aten::mkldnn_linear" not in products(many.double())


@pytest.mark.parametrize("rows", [4, MANY_ROWS])
def test_members_may_have_inputs_of_their_own(rows, generator):
    ensemble = EnsembleMLP(3, 5, (7,), 2, generator=generator)
    x = torch.randn(3, rows, 5, generator=generator)
    for member in range(3):
        torch.testing.assert_close(ensemble(x)[member], ensemble(x[member])[member])


@pytest.mark.parametrize("rows", [4, MANY_ROWS])
@pytest.mark.parametrize("hidden_sizes", [(), (7,)])
def test_its_input_is_left_as_it_was(rows, hidden_sizes, generator):
    ensemble = EnsembleMLP(2, 5, hidden_sizes, 1, generator=generator)
    x = torch.randn(rows, 5, generator=generator)
    before = x.clone()
    ensemble(x)
    assert torch.equal(x, before)


def test_members_start_apart_and_within_the_bound(generator):
    layer = EnsembleLinear(4, 16, 8, generator=generator)
    assert layer.weight.abs().max() <= 0.25
    assert layer.weight.abs().max() > 0.24
    assert not torch.equal(layer.weight[0], layer.weight[1])


def test_weights_come_from_the_generator_alone():
    states: list[dict[str, torch.Tensor]] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(states))
        ensemble = EnsembleMLP(2, 3, (4,), 1, generator=torch.Generator().manual_seed(seed))
        states.append(copy.deepcopy(ensemble.state_dict()))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["layers.0.weight"], states[2]["layers.0.weight"])
    ensemble.reset_parameters(torch.Generator().manual_seed(1))
    assert all(torch.equal(states[0][key], value) for key, value in ensemble.state_dict().items())


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20))
def test_what_is_normalised_comes_back(numbers):
    values = np.array(numbers, np.float32)[:, None]
    normalizer = Normalizer(1)
    normalizer.fit({"min": values.min(axis=0), "max": values.max(axis=0)})
    x = torch.from_numpy(values)
    assert normalizer(x).abs().max() <= 1 + 1e-3
    scale = float(np.abs(values).max()) + 1e-6
    assert normalizer.inverse(normalizer(x)).numpy() == pytest.approx(values, abs=1e-5 * scale)


def test_gaussian_features_have_mean_zero_and_deviation_one(rng):
    values = 3 + 5 * rng.standard_normal((1000, 2)).astype(np.float32)
    normalizer = Normalizer(2, "gaussian")
    normalizer.fit({"mean": values.mean(axis=0), "std": values.std(axis=0)})
    normal = normalizer(torch.from_numpy(values))
    assert normal.mean(0).numpy() == pytest.approx(np.zeros(2), abs=1e-4)
    assert normal.std(0).numpy() == pytest.approx(np.ones(2), abs=1e-2)


def test_a_feature_that_does_not_vary_is_only_shifted():
    normalizer = Normalizer(1)
    normalizer.fit({"min": np.array([2.0]), "max": np.array([2.0])})
    assert normalizer(torch.tensor([[2.5]])).item() == pytest.approx(0.5)
