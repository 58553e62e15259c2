"""Finding the state dict in what ``torch.save`` wrote: DINO, MAE, timm, torchvision, BigGAN, ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints.budget import Budget
from rosetta_lab.models.checkpoints.tensors import dense

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


def find_state_dict(checkpoint: object, budget: Budget) -> dict[str, Tensor]:
    """The state dict of ``checkpoint``, wherever it is nested, under the network's own names.

    Prefixes of wrappers (``module.`` of DistributedDataParallel and the like) go. A network that
    was trained as the ``backbone.`` of projection heads, as DINO's, comes without the heads.

    Args:
        checkpoint: contents of a file.
        budget: what may be made of them.

    Raises:
        RosettaError: there is none.
    """
    entries = checkpoint
    for _ in range(4):
        if not isinstance(entries, Mapping):
            break
        tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
        if tensors and 2 * len(tensors) > len(entries):
            return _stripped(
                {str(name): dense(v, str(name), budget) for name, v in tensors.items()}
            )
        entries = next((entries[key] for key in NESTED if key in entries), None)
    found = ", ".join(map(str, list(checkpoint)[:8])) if isinstance(checkpoint, Mapping) else ""
    raise RosettaError(
        f"no state dict in a {type(checkpoint).__name__} [{found[:200]}].\n"
        f"Expected names and tensors, or a dict with one of {', '.join(NESTED[:7])}, ..."
    )


def _stripped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while True:
        for wrapper in WRAPPERS:
            inner = {name for name in state if name.startswith(wrapper)}
            heads = {name for name in state if wrapper == "backbone." and name.startswith(HEADS)}
            if inner and inner | heads == state.keys():
                state = {name.removeprefix(wrapper): state[name] for name in state if name in inner}
                break
        else:
            return state


def is_biggan(state: Mapping[str, Tensor]) -> bool:
    """Whether ``state`` has the names of the published BigGAN-deep."""
    return all(name in state for name in BIGGAN)


def biggan_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
