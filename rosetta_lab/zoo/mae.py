"""Masked-autoencoder training (He et al. 2022) of an embedded vision transformer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from rosetta_lab.data.fashion.scenes import Scenes
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.zoo.schedule import ScheduledModule, flip


def patchify(images: Tensor, patch: int) -> Tensor:
    """Images (N, C, H, W) to patches (N, H/patch * W/patch, C * patch * patch), row by row."""
    patches = images.unfold(2, patch, patch).unfold(3, patch, patch)  # (N, C, h, w, p, p)
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def random_masks(n: int, tokens: int, ratio: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """A random mask for each image.

    Returns:
        indices of the visible tokens (N, tokens - round(ratio * tokens)), and the mask
        (N, tokens), true where hidden.
    """
    order = torch.rand(n, tokens, device=device).argsort(dim=1)
    visible = order[:, : tokens - round(ratio * tokens)]
    hidden = torch.ones(n, tokens, dtype=torch.bool, device=device).scatter(1, visible, False)
    return visible, hidden


def random_crops(images: Tensor, least: float) -> Tensor:
    """Square parts of images (N, C, H, W) at random places, enlarged to the images' size.

    Args:
        least: the smallest area of a part, as a share of the image's, in (0, 1].
    """
    n, device = len(images), images.device
    side = (least + (1.0 - least) * torch.rand(n, device=device)).sqrt()
    place = (2.0 * torch.rand(n, 2, device=device) - 1.0) * (1.0 - side)[:, None]
    theta = torch.cat([torch.diag_embed(side[:, None].expand(-1, 2)), place[:, :, None]], dim=2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


class MAEModule(ScheduledModule):
    """Reconstruct hidden patches from visible ones.

    Args:
        model: a random-weight model whose network is a timm ``VisionTransformer``.
        mask_ratio: share of hidden patches.
        least_crop: area of the smallest random crop, see :func:`random_crops`; 1 for whole images.
        decoder_width: width of the decoder, which is thrown away after training.
        decoder_depth: its blocks.
        variance_floor: added to a patch's variance before it is normalised; keeps the plain
            background from counting as much as a garment.
        **schedule: see :class:`ScheduledModule`.
    """

    def __init__(
        self,
        model: DiscriminativeModel,
        mask_ratio: float = 0.75,
        least_crop: float = 0.4,
        decoder_width: int = 64,
        decoder_depth: int = 2,
        variance_floor: float = 1e-3,
        **schedule: Any,
    ) -> None:
        super().__init__(**schedule)
        self.preprocess = model.preprocess
        self.mask_ratio, self.variance_floor = mask_ratio, variance_floor
        self.least_crop = least_crop
        encoder: Any = model.network.train().requires_grad_(True)
        self.encoder, embed = encoder, encoder.patch_embed
        self.patch = int(embed.patch_size[0])
        self.narrow = nn.Linear(encoder.embed_dim, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(decoder_width))
        self.positions = nn.Parameter(0.02 * torch.randn(embed.num_patches + 1, decoder_width))
        self.decoder = nn.Sequential(
            *(Block(decoder_width, num_heads=4) for _ in range(decoder_depth)),
            nn.LayerNorm(decoder_width),
            nn.Linear(decoder_width, 3 * self.patch**2),
        )

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """The encoder on the visible patches alone: (N, 1 + visible, width), class token first."""
        encoder = self.encoder
        tokens = encoder.patch_embed(images) + encoder.pos_embed[:, 1:]  # (N, T, C)
        tokens = tokens.gather(1, visible[:, :, None].expand(-1, -1, tokens.shape[2]))
        first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        encoded: Tensor = encoder.norm(encoder.blocks(torch.cat([first, tokens], dim=1)))
        return encoded

    def decode(self, encoded: Tensor, visible: Tensor) -> Tensor:
        """Encoded visible patches to guesses of all patches (N, T, 3 * patch * patch)."""
        narrow = self.narrow(encoded)  # (N, 1 + visible, D)
        n, _, width = narrow.shape
        tokens = self.mask_token.expand(n, len(self.positions) - 1, width)
        tokens = tokens.scatter(1, visible[:, :, None].expand(-1, -1, width), narrow[:, 1:])
        tokens = torch.cat([narrow[:, :1], tokens], dim=1) + self.positions
        guesses: Tensor = self.decoder(tokens)[:, 1:]
        return guesses

    def training_step(self, batch: Scenes, batch_idx: int) -> Tensor:
        images = self.preprocess(random_crops(flip(batch.image), self.least_crop))
        target = patchify(images, self.patch)  # (N, T, 3 * patch * patch)
        variance, mean = torch.var_mean(target, dim=2, keepdim=True)
        target = (target - mean) / (variance + self.variance_floor).sqrt()
        n, tokens, _ = target.shape
        visible, hidden = random_masks(n, tokens, self.mask_ratio, images.device)
        guess = self.decode(self.encode(images, visible), visible)
        loss = (guess - target).square().mean(dim=2)[hidden].mean()
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def trained(self) -> nn.Module:
        network: nn.Module = self.encoder
        return network
