"""Members of our ensembles as ordinary torch layers, to compare with."""

from torch import nn


def plain(ensemble, member):
    """Return one member as ordinary torch layers."""
    layers = []
    for layer in ensemble.layers:
        linear = nn.Linear(*layer.weight.shape[1:])
        linear.weight.data = layer.weight.data[member].T.clone()
        linear.bias.data = layer.bias.data[member, 0].clone()
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
