"""Contrastive image-text training (CLIP, Radford et al. 2021) of an embedded model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.data.fashion.captions import TEMPLATES, Tokenizer, caption, facts, prompts
from rosetta_lab.data.fashion.scenes import Scenes
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.zoo.schedule import ScheduledModule


def contrastive_loss(logits: Tensor, match: Tensor) -> Tensor:
    """Symmetric cross entropy where several images may share a caption.

    Args:
        logits: of N images against U different captions (N, U).
        match: index of each image's caption (N,).
    """
    owners = F.one_hot(match, logits.shape[1]).float()  # (N, U)
    to_text = F.cross_entropy(logits, match)
    to_image = F.cross_entropy(logits.T, (owners / owners.sum(dim=0)).T)
    return 0.5 * (to_text + to_image)


@torch.no_grad()
def zero_shot_weights(network: Any, attribute: str) -> Tensor:
    """Text embeddings (values, width) of an attribute's prompts, averaged and normalised."""
    tokenizer = Tokenizer()
    embeddings = [
        network.encode_text(tokenizer(texts), normalize=True).mean(dim=0)
        for texts in prompts(attribute)
    ]
    return F.normalize(torch.stack(embeddings), dim=1)


def mirror(scenes: Scenes) -> Scenes:
    """Mirror every scene with probability 1/2, the place of its garment too."""
    chosen = torch.rand(len(scenes)) < 0.5
    centre = scenes.centre.clone()
    centre[chosen, 0] = 1.0 - centre[chosen, 0]
    image = torch.where(chosen[:, None, None, None], scenes.image.flip(3), scenes.image)
    return replace(scenes, image=image, centre=centre)


class CLIPModule(ScheduledModule):
    """CLIP on captions of the scenes.

    The image tower costs far more than the text tower, so a batch of images is contrasted with
    captions from several templates, one template at a time. Equal captions are one text with
    several images: images are never pushed away from a caption that is true of them.

    Args:
        model: a random-weight model whose network is an ``open_clip.CLIP``.
        templates: how many of the templates caption a batch, drawn anew for every batch.
        **schedule: see :class:`ScheduledModule`.
    """

    def __init__(self, model: DiscriminativeModel, templates: int = 4, **schedule: Any) -> None:
        super().__init__(**schedule)
        self.preprocess = model.preprocess
        self.network: Any = model.network.train().requires_grad_(True)
        self.templates = templates
        self.tokenizer = Tokenizer()

    def training_step(self, batch: Scenes, batch_idx: int) -> Tensor:
        batch = mirror(batch)
        known = facts(batch)
        images = self.preprocess(batch.image).contiguous(memory_format=torch.channels_last)
        images = self.network.encode_image(images, normalize=True)  # (N, D)
        scale = self.network.logit_scale.clamp(max=math.log(100.0)).exp()  # the paper's limit
        losses = []
        for i in torch.randperm(len(TEMPLATES))[: self.templates].tolist():
            texts = [caption(TEMPLATES[i], fact) for fact in known]
            different = sorted(set(texts))
            match = torch.tensor([different.index(text) for text in texts], device=self.device)
            tokens = self.tokenizer(different).to(self.device)
            captions = self.network.encode_text(tokens, normalize=True)  # (U, D)
            logits = scale * images @ captions.T
            losses.append(contrastive_loss(logits, match))
            accuracy = (logits.argmax(dim=1) == match).float().mean()
            self.log(f"accuracy_{i}", accuracy)
        loss = torch.stack(losses).mean()
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def trained(self) -> nn.Module:
        network: nn.Module = self.network
        return network
