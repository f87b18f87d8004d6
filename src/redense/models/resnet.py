"""ResNet-18 for small images."""

from __future__ import annotations

from torch import nn

from redense.errors import ModelError


def resnet18(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Build torchvision's ResNet-18 with the stem used for CIFAR: one 3x3 convolution of stride 1, no pooling."""
    from torchvision.models import resnet18 as torchvision_resnet18

    if len(input_shape) != 3:
        raise ModelError(
            f"model resnet18: got inputs of shape {input_shape}; expected (channels, height, width); "
            "use --model mlp for tables"
        )
    model: nn.Module = torchvision_resnet18(weights=None, num_classes=num_classes)
    model.conv1 = nn.Conv2d(input_shape[0], 64, 3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model
