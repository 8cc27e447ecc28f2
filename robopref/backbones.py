"""Networks that turn pictures into features: pretrained ones, whose weights come from files.

Each says the mean and deviation that its weights were learned with. Pooled features say what is in
a picture; maps, of an earlier layer, say where as well, at an eighth of the resolution.

Shapes: N pictures, H W pixels, C F features.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from robopref.checkpoint import load_weights, read_weights
from robopref.efficientnet import FEATURES, load_lite0
from robopref.errors import check_at_least
from robopref.registry import import_extra
from robopref.seeding import make_generator, seeded_weights

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of torchvision's weights, pixels in [0, 1]."""


class Backbone(NamedTuple):
    """A network from normalised pictures (N, 3, H, W) to features (N, F), and how to normalise.

    `maps` is what it begins with: from the same pictures to maps (N, C, H / 8, W / 8).
    """

    network: nn.Module
    feature_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    maps: nn.Module
    map_dim: int


@dataclass(frozen=True)
class EfficientNetLite0Config:
    """EfficientNet-Lite0 learned on ImageNet; its weights come with a package."""

    weights: str = ""
    """A `.pth` file with them; nothing for that of the package."""

    def build(self) -> Backbone:
        """Return the network with its weights.

        Pixels were scaled to -1 to 1 in its training (127 and 128 of 255 there): with ImageNet's
        mean and deviation, as the package's description has it, the first normalisation sees five
        times the variance that it knows.

        Raises:
            MissingExtraError: The package is not installed.
            FileNotFoundError: There is no such file.
            CheckpointError: The file is damaged, or of another network.
        """
        network = load_lite0(Path(self.weights) if self.weights else None)
        network.fold_norms()
        mean, std = 127 / 255, 128 / 255
        maps, map_dim = network.maps()
        return Backbone(network, FEATURES, (mean, mean, mean), (std, std, std), maps, map_dim)


@dataclass(frozen=True)
class ResNet18Config:
    """ResNet-18 of torchvision, as RAPL's authors use it; the weights have to be at hand."""

    weights: str = ""
    """A `.pth` or `.safetensors` file with torchvision's names."""

    def build(self) -> Backbone:
        """Return the network up to its pooled features.

        Raises:
            MissingExtraError: torchvision is not installed.
            FileNotFoundError: No file was given, or there is none.
            CheckpointError: The file is damaged, or of another network.
        """
        models = import_extra("torchvision.models", purpose="ResNet-18", extra="vision")
        if not self.weights:
            raise FileNotFoundError(
                "ResNet-18 needs `weights`, a file of torchvision's names, got none. Fetch it "
                "where there is a network, with: python -c 'import torchvision.models as m; "
                'm.resnet18(weights="DEFAULT")\', and give the path that it prints.'
            )
        path = Path(self.weights)
        network = models.resnet18(weights=None)
        load_weights(
            network, read_weights(path), where=path, remedy="Give torchvision's resnet18 weights."
        )
        network.fc = nn.Identity()
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")
        maps = nn.Sequential(*(getattr(network, name) for name in names))
        return Backbone(network, 512, *IMAGENET, maps, 128)


@dataclass(frozen=True)
class TimmConfig:
    """Any model of timm, by its name; the weights from a file or from the Hugging Face hub."""

    model: str = "resnet18.a1_in1k"
    """Name in timm."""
    weights: str = ""
    """A `.pth` or `.safetensors` file; nothing to fetch them from the hub, or its cache."""

    def build(self) -> Backbone:
        """Return the model without its classifier.

        Raises:
            MissingExtraError: timm is not installed.
            FileNotFoundError: There is no such file, or the hub does not answer.
            CheckpointError: The file is damaged.
        """
        timm = import_extra("timm", purpose=f"The backbone '{self.model}'", extra="vision")
        if self.weights:
            network = timm.create_model(self.model, pretrained=False)
            load_weights(network, read_weights(Path(self.weights)), where=self.weights)
        else:
            network = _from_hub(timm, self.model)
        network.reset_classifier(0)
        facts = network.pretrained_cfg
        maps = _LastMaps(network)  # Which layer has which resolution differs from model to model.
        size = network.num_features
        return Backbone(network, size, facts["mean"], facts["std"], maps, size)


@dataclass(frozen=True)
class SmallCNNConfig:
    """Four convolutions from scratch: a control without any pretraining, or a start of one."""

    width: int = 32
    """Channels of the first layer; doubled by every further one."""
    weights: str = ""
    """A `.safetensors` file of trained ones; nothing for random weights."""
    seed: int = 0
    """Draws the random weights."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("width", self.width, 1)

    def build(self) -> Backbone:
        """Return the network.

        Raises:
            FileNotFoundError: There is no such file.
            CheckpointError: The file is damaged, or of another network.
        """
        widths = [3, *(self.width * 2**i for i in range(4))]
        with seeded_weights(make_generator(self.seed, "small-cnn")):
            layers: list[nn.Module] = []
            for inputs, outputs in pairwise(widths):
                layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU()]
            network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if self.weights:
            load_weights(network, read_weights(Path(self.weights)), where=self.weights)
        halves = (0.5, 0.5, 0.5)
        return Backbone(network, widths[-1], halves, halves, network[:6], widths[3])


def _from_hub(timm: Any, model: str) -> Any:
    try:
        return timm.create_model(model, pretrained=True)
    except OSError as error:
        raise FileNotFoundError(
            f"The weights of '{model}' could not be fetched from the hub: {error}. "
            "Give `weights`, a file that was fetched where there is a network."
        ) from error


class _LastMaps(nn.Module):
    """What a model of timm pools in the end, at whatever resolution it has."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        maps: Tensor = self.model.forward_features(pictures)
        return maps
