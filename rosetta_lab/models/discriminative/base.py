"""What every model that looks at images has in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.recording import Kept, OnMap, look


class DiscriminativeModel(nn.Module):
    """A fixed network that looks at images, and the layers whose channels are its units.

    Args:
        network: the network itself; layer names are its module names.
        preprocess: how the network wants its images.
        layers: globs over module names; ``NAME:input`` records a module's input instead of its
            output.
        source: where the weights came from, ``random`` if from nowhere.
        sha256: of the weights' file, empty where unknown.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        layers: Iterable[str],
        source: str = "random",
        sha256: str = "",
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.preprocess = preprocess
        self.layers = tuple(layers)
        self.source, self.sha256 = source, sha256

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to the network's output."""
        output: Tensor = self.network(self.preprocess(images))
        return output

    def maps(
        self, images: Tensor, layers: Sequence[str], on_map: OnMap[Kept] | None = None
    ) -> dict[str, Kept]:
        """Activation maps of layers; the network is left after the last of them.

        Args:
            images: (N, 3, H, W) in [0, 1].
            layers: exact names of modules, see :func:`rosetta_lab.models.units.resolve_layers`.
            on_map: takes every layer's maps as soon as they are there, see :func:`look`; what it
                returns is kept in their place.

        Returns:
            layer to maps (N, C, H, W), or to what ``on_map`` returned.

        Raises:
            RosettaError: a layer does not run, or more than once, or does not put out maps.
        """
        return look(self.network, layers, lambda: self(images), self.to_map, on_map, whole=False)[1]

    def output_and_maps(
        self, images: Tensor, layers: Sequence[str], on_map: OnMap[Kept] | None = None
    ) -> tuple[Tensor, dict[str, Kept]]:
        """The network's output, and :meth:`maps`, from one pass."""
        return look(self.network, layers, lambda: self(images), self.to_map, on_map)

    @property
    def backbone(self) -> nn.Module:
        """The part of the network that knows its patches."""
        return self.network

    @property
    def num_prefix_tokens(self) -> int:
        """Class and register tokens that stand before the patch tokens of a transformer."""
        fallback = int(hasattr(self.backbone, "class_embedding"))  # open_clip's own transformers
        return int(getattr(self.backbone, "num_prefix_tokens", fallback))

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of a transformer's patches; None for a network without patches."""
        embed: Any = getattr(self.backbone, "patch_embed", self.backbone)
        if not hasattr(embed, "patch_size"):
            return None
        # With convolutions before the patches, timm counts a patch in their pixels.
        ratio = getattr(embed, "feature_ratio", (1, 1))
        patch = [r * p for r, p in zip(ratio, embed.patch_size, strict=True)]
        return self.preprocess.size[0] // patch[0], self.preprocess.size[1] // patch[1]

    def to_map(self, layer: str, activation: Tensor) -> Tensor:
        """A recorded activation as maps.

        Args:
            layer: name of the layer, for the message of an error.
            activation: (N, C, H, W), or tokens (N, T, C): one for each patch, after
                ``num_prefix_tokens`` that have no place in the image or none.

        Returns:
            (N, C, H, W); tokens are folded to the grid of patches, row by row.

        Raises:
            RosettaError: the activation is neither of the two.
        """
        if activation.dim() == 4:
            return activation
        grid = self.grid
        if activation.dim() == 3 and grid is not None:
            rows, columns = grid
            prefix = activation.shape[1] - rows * columns
            if prefix in (0, self.num_prefix_tokens):
                tokens = activation[:, prefix:]  # (N, rows * columns, C)
                return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)
        raise RosettaError(
            f"Layer {layer} puts out {tuple(activation.shape)}: expected maps (N, C, H, W) or "
            f"{self.num_prefix_tokens} tokens and one for each patch of {grid}.\n"
            "Choose other layers."
        )
