"""Finding the state dict in what ``torch.save`` wrote: DINO, MAE, timm, torchvision, BigGAN, ..."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.rules import Record, name_of, refusal
from rosetta_lab.models.checkpoints.stored import StoredTensor
from rosetta_lab.models.checkpoints.tensors import Numbers

Value = TypeVar("Value")

# Where trainers put the network, best first: moving averages before what was being trained.
NESTED = (
    *("state_dict_ema", "model_ema", "ema", "teacher", "state_dict", "model_state_dict"),
    *("model", "network", "net", "generator", "netG_state_dict", "student"),
)
WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")
HEADS = ("head.", "projector.", "predictor.", "prototypes.")
BIGGAN = ("embeddings.weight", "generator.gen_z.weight_orig")
BIGGAN_ARGUMENTS = (
    *("output_dim", "z_dim", "channel_width", "num_classes", "layers"),
    *("attention_layer_position", "eps", "n_stats"),
)


def find_state_dict(checkpoint: object, budget: Budget) -> dict[str, Numbers]:
    """The state dict of ``checkpoint``, wherever it is nested, under the names that it has there.

    Args:
        checkpoint: contents of a file.
        budget: what may be made of them.

    Raises:
        RosettaError: there is none.
    """
    entries = checkpoint
    for _ in range(4):
        if isinstance(entries, Record):  # a whole module, which takes its class to rebuild
            raise refusal(entries.kind)
        if not isinstance(entries, Mapping):
            break
        count = sum(isinstance(v, StoredTensor) or _is_odd(v) for v in entries.values())
        if count and 2 * count > len(entries):
            return tensors_of(entries, budget)
        entries = next((entries[key] for key in NESTED if key in entries), None)
    names = list(checkpoint)[:8] if isinstance(checkpoint, Mapping) else []
    found = ", ".join(name_of(name) if isinstance(name, str) else "..." for name in names)
    raise RosettaError(
        f"no state dict in a {type(checkpoint).__name__} [{found[:200]}].\n"
        f"Expected names and tensors, or a dict with one of {', '.join(NESTED[:7])}, ..."
    )


def tensors_of(entries: Mapping[Any, object], budget: Budget) -> dict[str, Numbers]:
    """The tensors among ``entries``.

    Raises:
        RosettaError: one is sparse, quantised or the like.
    """
    state = {}
    for name, value in entries.items():
        if _is_odd(value):
            raise RosettaError(
                f"{name_of(name)} is made by {value!r}; expected a plain tensor of numbers.\n"
                "Get a file with the bare state dict, or safetensors, and pass weights=PATH."
            )
        if isinstance(value, StoredTensor):
            state[name_of(name)] = value.numbers(budget)
    return state


def _is_odd(value: object) -> bool:
    """Whether it stands for a tensor that is no plain row of numbers."""
    return isinstance(value, Record) and value.kind.module == "torch._utils"


def unwrapped(state: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """``state``, and again and again without the prefix of a wrapper, as long as it has one.

    A wrapper (``module.`` of DistributedDataParallel and the like) is the beginning of every name.
    A network that was trained as the ``backbone.`` of projection heads, as DINO's, comes without
    the heads. Which of the results a network means by its own names, its names tell.
    """
    current = dict(state)
    while current:
        yield current
        current = _without_wrapper(current)


def _without_wrapper(state: Mapping[str, Value]) -> dict[str, Value]:
    for wrapper in WRAPPERS:
        inner = [name for name in state if name.startswith(wrapper)]
        heads = [name for name in state if wrapper == "backbone." and name.startswith(HEADS)]
        if inner and len(inner) + len(heads) == len(state):
            return {name.removeprefix(wrapper): state[name] for name in inner}
    return {}


def is_biggan(state: Mapping[str, object]) -> bool:
    """Whether ``state`` has the names of the published BigGAN-deep."""
    return all(name in state for name in BIGGAN)


def biggan_state(state: Mapping[str, Value]) -> dict[str, Value]:
    """Without the products that some files keep beside a spectrally normalised weight's factors."""
    return {name: value for name, value in state.items() if f"{name}_orig" not in state}


def biggan_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``BigGANDeep`` from the published ``config.json``.

    Raises:
        RosettaError: it lacks one of them.
    """
    missing = [name for name in BIGGAN_ARGUMENTS if name not in config]
    if missing:
        raise RosettaError(
            f"the config of BigGAN-deep lacks {', '.join(missing)}.\n"
            "Put the published config.json beside the weights."
        )
    return {name: config[name] for name in BIGGAN_ARGUMENTS}
