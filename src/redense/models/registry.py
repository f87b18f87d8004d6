"""Build a model by name and make sure that it fits the data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from redense.errors import FOREIGN, ModelError
from redense.files.reading import plain_bytes
from redense.files.tensors import tensors_of
from redense.models.evaluation import evaluating
from redense.models.fmnist_cnn import FmnistCNN
from redense.models.integers import EMBEDDINGS
from redense.models.mlp import mlp
from redense.models.resnet import resnet18
from redense.seeding import derive, seed_global
from redense.text import did_you_mean
from redense.user_code import call, is_object_name, load_object

Factory = Callable[[tuple[int, ...], int], nn.Module]

FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
"""Kinds of weights that may stand for one another; of 8-bit floats a scale is kept elsewhere."""
MODELS: dict[str, Factory] = {"fmnist-cnn": FmnistCNN, "mlp": mlp, "resnet18": resnet18}


def resolve(name: str, input_shape: tuple[int, ...]) -> str:
    """Replace ``auto`` by the model that suits the shape of the inputs.

    >>> resolve("auto", (1, 28, 28)), resolve("auto", (446,)), resolve("auto", (3, 32, 32))
    ('fmnist-cnn', 'mlp', 'resnet18')
    """
    if name != "auto":
        return name
    if len(input_shape) == 1:
        return "mlp"
    return "fmnist-cnn" if input_shape == (1, 28, 28) else "resnet18"


def build(name: str, input_shape: tuple[int, ...], num_classes: int, seed: int = 0) -> nn.Module:
    """Build a model whose initial weights depend on `seed` alone; the caller's random state is left as it was.

    `name` is one of `MODELS` or ``package.module:factory``, which is called with those of `input_shape` and
    `num_classes` that it takes, by keyword. Raises `ModelError` when there is no such model or the factory fails.

    >>> a, b = (build("mlp", (4,), 2, seed=1) for _ in range(2))
    >>> all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    True
    """
    factory = _factory(name)
    with torch.random.fork_rng(devices=[]):
        seed_global(derive(seed, "weights"))
        model = call(
            factory, f"model {name}: the factory", ModelError, input_shape=input_shape, num_classes=num_classes
        )
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {name}: the factory returned {type(model).__name__}; expected a torch.nn.Module")
    return model


def load_weights(name: str, model: nn.Module, path: Path) -> None:
    """Load a state_dict, safetensors, into the model of that name; raise `ModelError` when it does not fit."""
    try:
        data = plain_bytes(Path(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); expected a state_dict in safetensors") from None
    try:
        state = tensors_of(data)
    except ValueError as error:
        raise ModelError(
            f"{path}: cannot be read as safetensors ({error}); expected a state_dict in safetensors, for nothing is "
            f"unpickled; a PyTorch file is converted by python -c 'import torch, safetensors.torch as s; "
            f's.save_file(torch.load("{path}", weights_only=True), "{Path(path).with_suffix(".safetensors")}")\''
        ) from None
    own = model.state_dict()
    for key in sorted(state.keys() & own.keys()):
        if own[key].dtype in FLOATS and state[key].dtype not in FLOATS:  # counters may have become floats with the rest
            raise ModelError(
                f"{path}: {key} is {_dtype(state[key])}; expected {_dtype(own[key])}, as in {name}: values of another "
                "kind mean something else"
            )
        if not torch.equal(state[key].to(own[key].dtype).isfinite(), state[key].isfinite()):
            raise ModelError(
                f"{path}: {key} has values beyond {_dtype(own[key])}; expected finite ones, as in {name}: convert the "
                "model to its own kind of floats and save it anew"
            )
    _load(model, state, f"{path}: does not fit {name}", "name the model it was saved from")


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _load(model: nn.Module, state: Mapping[str, torch.Tensor], refusal: str, remedy: str) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ModelError(f"{refusal}: {first}; {remedy}") from None


def check_fit(name: str, model: nn.Module, examples: torch.Tensor, num_classes: int) -> None:
    """Run two examples [2, ...] through the model; raise `ModelError` unless it gives one logit a class.

    Also for an embedding with sparse gradients, which the optimizers of recipes do not take.
    """
    try:
        with evaluating(model):
            output = model(examples)
    except FOREIGN as error:
        whole = "" if examples.is_floating_point() else f", integers from {examples.min()} to {examples.max()},"
        small = "" if examples.is_floating_point() else _small_embeddings(model, int(examples.max()))
        raise ModelError(
            f"model {name}: inputs of shape {tuple(examples.shape[1:])}{whole} raised {type(error).__name__}: "
            f"{error}{small}"
        ) from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (2, num_classes):
        raise ModelError(
            f"model {name}: two examples give an output of {shape}; expected (2, {num_classes}), one logit a class"
        )
    for called, module in model.named_modules():
        if isinstance(module, EMBEDDINGS) and module.sparse:
            raise ModelError(
                f"model {name}: got sparse gradients of {called}; expected dense ones: make it with sparse=False"
            )


def _small_embeddings(model: nn.Module, largest: int) -> str:
    """Name the embeddings that an integer is too large for."""
    small = {
        name or "the model": module.num_embeddings
        for name, module in model.named_modules()
        if isinstance(module, EMBEDDINGS) and module.num_embeddings <= largest
    }
    return "".join(f"; {name} takes integers from 0 to {size - 1}" for name, size in small.items())


def architecture(model: nn.Module) -> str:
    """Fingerprint a model's structure: the printed modules and every parameter's and buffer's name, shape and type.

    Code that computes something else with the same modules is not seen: give it another name, or another folder.
    """
    entries = [f"{name} {tuple(value.shape)} {value.dtype}" for name, value in model.state_dict().items()]
    printed = re.sub(r" at 0x[0-9a-f]+", "", repr(model))  # addresses differ from process to process
    return hashlib.sha256("\n".join([printed, *entries]).encode()).hexdigest()


def _factory(name: str) -> Callable[..., nn.Module]:
    if name in MODELS:
        return MODELS[name]
    if is_object_name(name):
        factory: Callable[..., nn.Module] = load_object(name, ModelError, "model")
        return factory
    raise ModelError(
        f"unknown model {name!r}{did_you_mean(name, MODELS)}; expected one of {', '.join(MODELS)} "
        "or package.module:factory"
    )


def placed(model: nn.Module, device: str | torch.device) -> nn.Module:
    """Move a model to a device, and its convolutions to channels-last, the layout in which they get their inputs."""
    moved: nn.Module = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def rebuild(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    state: Mapping[str, torch.Tensor],
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build a stored model again: as `build` with its seed, then the weights of its state_dict, on a device.

    The seed matters for what a state_dict leaves out, such as random buffers that are not persistent. Raises
    `ModelError` where the state_dict is another model's.

    >>> stored = build("mlp", (4,), 2, seed=1)
    >>> torch.equal(rebuild("mlp", (4,), 2, stored.state_dict())[-1].weight, stored[-1].weight)
    True
    """
    model = build(name, input_shape, num_classes, seed)
    _load(model, state, f"model {name}: the stored weights do not fit it", "run the recipe again")
    return placed(model, device)
