"""Names of the models that come with redense, for help that is printed before PyTorch is loaded."""

NAMES = ("fmnist-cnn", "mlp", "resnet18")
OWN = f"package.module:factory (runs your code), or {', '.join(NAMES)}"
"""What a setting that names a model takes, in words."""
