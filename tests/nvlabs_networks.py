"""The golden generators as the objects that checkpoints of the NVlabs tools hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from checkpoint_files import EasyDict, Golden, Reduced, nvlabs_network

# Arguments that a StyleGAN-XL file with superresolution stages does not tell of its stem.
STEM = (
    *("z_dim", "c_dim", "w_dim", "img_resolution", "channel_base", "channel_max"),
    *("num_layers", "margin_size", "conv_kernel", "use_radial_filters"),
)
CONSTRUCTOR = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")


def live_attributes(golden: Golden) -> dict[str, dict[str, Any]]:
    """What the modules of an alias-free generator have: layers right, some traces of before."""
    layers = golden.json("layer_specs")
    live: dict[str, dict[str, Any]] = {
        "synthesis": {
            "layer_names": [layer["name"] for layer in layers],
            "num_ws": len(layers) + 1,
            "output_scale": golden.json("input_spec")["output_scale"],
            "_init_kwargs": EasyDict(img_resolution=4, num_layers=1, conv_clamp=1, margin_size=1),
            "sampling_rates": np.array([1.0, 2.0]),
        }
    }
    for layer in layers:
        sizes = {key: np.array([layer[key]] * 2) for key in ("in_size", "out_size")}
        rates = {
            key: np.float64(value)
            for key, value in layer.items()
            if key.endswith(("_rate", "_cutoff", "_width"))
        }
        live[f"synthesis.{layer['name']}"] = layer | sizes | rates
    return live


def network_of(golden: Golden, *, ada: bool = False) -> Reduced:
    """The golden generator as an NVlabs object, with the attributes that matter."""
    config = golden.json("config")
    config = {k: v for k, v in config.items() if k != "embedding"}
    live = live_attributes(golden) if "layer_specs" in golden.metadata else {}
    if "stem" in config:
        kwargs: dict[str, Any] = {"path_stem": "/home/somebody/stem.pkl", **config["superres"][-1]}
        kind, top = "SuperresGenerator", dict.fromkeys(CONSTRUCTOR[:3], 1)
    else:
        kwargs, kind, top = dict(config), "Generator", {k: config[k] for k in CONSTRUCTOR}
        if ada:
            kwargs = {k: v for k, v in config.items() if k in (*CONSTRUCTOR, "mapping_kwargs")}
            kwargs["synthesis_kwargs"] = EasyDict(
                {k: v for k, v in config.items() if k not in kwargs}
            )
    return nvlabs_network(
        golden.below("param/"),
        golden.json("buffers"),
        kind,
        live,
        _init_args=(),
        _init_kwargs=EasyDict(kwargs),
        **top,
    )
