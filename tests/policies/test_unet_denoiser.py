"""The UNet's products against PyTorch's convolutions, group norm and Mish."""

import pytest
import torch
from torch.nn import functional

from robopref.policies.unet_denoiser import (
    UNetDenoiserConfig,
    _Conv,
    _ConvBlock,
    _Downsample,
    _Upsample,
    mish,
)


def to_time_first(x):
    """Turn PyTorch's (R, C, T) into (T, R, C)."""
    return x.permute(2, 0, 1).contiguous()


def torch_weight(conv):
    """Turn a weight (taps, in, out) into PyTorch's (out, in, taps)."""
    return conv.weight.permute(2, 1, 0)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("num_steps", [1, 2, 4, 16])
def test_convolution_equals_pytorchs(kernel_size, num_steps, generator):
    conv = _Conv(6, 8, kernel_size)
    x = torch.randn(3, 6, num_steps, generator=generator)
    expected = functional.conv1d(x, torch_weight(conv), conv.bias, padding=kernel_size // 2)
    torch.testing.assert_close(conv(to_time_first(x)), to_time_first(expected))


@pytest.mark.parametrize("num_steps", [2, 4, 16])
def test_halving_equals_a_convolution_of_stride_two(num_steps, generator):
    halve = _Downsample(8)
    x = torch.randn(3, 8, num_steps, generator=generator)
    expected = functional.conv1d(x, torch_weight(halve.conv), halve.conv.bias, stride=2, padding=1)
    torch.testing.assert_close(halve(to_time_first(x)), to_time_first(expected))


@pytest.mark.parametrize("num_steps", [1, 2, 8])
def test_doubling_equals_a_transposed_convolution(num_steps, generator):
    double = _Upsample(8)
    x = torch.randn(3, 8, num_steps, generator=generator)
    weight = double.conv.weight.permute(1, 2, 0)  # conv_transpose1d has (in, out, taps).
    expected = functional.conv_transpose1d(x, weight, double.conv.bias, stride=2, padding=1)
    torch.testing.assert_close(double(to_time_first(x)), to_time_first(expected))


def test_block_equals_group_norm_and_mish(generator):
    block = _ConvBlock(UNetDenoiserConfig(num_groups=4), 8, 16)
    torch.nn.init.normal_(block.norm.weight, generator=generator)
    torch.nn.init.normal_(block.norm.bias, generator=generator)
    x = torch.randn(5, 8, 4, generator=generator)
    hidden = functional.conv1d(x, torch_weight(block.conv), block.conv.bias, padding=2)
    expected = functional.mish(block.norm(hidden))
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(
                block(to_time_first(x)), to_time_first(expected), rtol=1e-4, atol=1e-5
            )


def test_fast_mish_equals_pytorchs_everywhere():
    x = torch.cat((torch.linspace(-100, 100, 20_001), torch.tensor([-1e30, 1e30, 0.0])))
    with torch.no_grad():
        torch.testing.assert_close(mish(x), functional.mish(x), rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_pytorchs_convolution(generator):
    conv = _Conv(4, 4, 5)
    x = torch.randn(3, 4, 4, generator=generator, requires_grad=True)
    ours = torch.autograd.grad(conv(x.permute(2, 0, 1)).square().sum(), [x, conv.weight])
    expected = functional.conv1d(x, torch_weight(conv), conv.bias, padding=2)
    theirs = torch.autograd.grad(expected.square().sum(), [x, conv.weight])
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-4)


def test_chunk_must_be_halvable():
    with pytest.raises(ValueError) as error:
        UNetDenoiserConfig(channels=(32, 64, 128)).build(10, 2, 4)
    assert str(error.value) == (
        "`chunk_size` must be a multiple of 4 for a UNet with 3 levels, got 10."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "`kernel_size` must be odd, got 4."),
        ({"channels": (12,)}, "`channels` must be multiples of `num_groups` (=8), got [12]."),
        ({"step_dim": 5}, "`step_dim` must be even and at least 4, got 5."),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        UNetDenoiserConfig(**options)
    assert str(error.value) == message
