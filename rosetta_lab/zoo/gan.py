"""Training of the embedded generators: non-saturating GAN with lazy R1 and an EMA generator.

The critic also names the class of an image (AC-GAN, Odena et al. 2017): class projection alone
takes many more images to tell a shirt from a coat.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.data.fashion.scenes import Scenes
from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.layers import FullyConnected, lrelu


class EqualizedConv(nn.Module):
    """Convolution with an equalised learning rate, optionally followed by :func:`lrelu`."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, act: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.gain = 1.0 / math.sqrt(in_channels * kernel**2)
        self.stride, self.padding, self.act = stride, (kernel - 1) // 2, act

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.weight * self.gain, self.bias, self.stride, self.padding)
        return lrelu(x) if self.act else x


class ResidualDown(nn.Module):
    """Residual block that halves the resolution with a strided convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = EqualizedConv(in_channels, in_channels, 3)
        self.conv1 = EqualizedConv(in_channels, out_channels, 4, stride=2)
        self.skip = EqualizedConv(in_channels, out_channels, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        skip: Tensor = self.skip(F.avg_pool2d(x, 2))
        residual: Tensor = self.conv1(self.conv0(x))
        return (skip + residual) * math.sqrt(0.5)


class Critic(nn.Module):
    """Residual critic with minibatch deviation and class projection (Miyato & Koyama 2018).

    A linear layer on the same features tells the class (AC-GAN).

    Args:
        num_classes: classes of the projection.
        resolution: of the images; a power of two, at least 16.
        channels: widths from half the resolution down to 4x4.
        group: samples over which the minibatch deviation is taken.
    """

    def __init__(
        self,
        num_classes: int,
        resolution: int = 64,
        channels: tuple[int, ...] = (32, 64, 128, 128),
        group: int = 4,
    ) -> None:
        super().__init__()
        if resolution // 2 ** len(channels) != 4:
            raise ValueError(f"{len(channels)} widths do not lead from {resolution} px to 4 px")
        self.group = group
        self.stem = EqualizedConv(3, channels[0], 4, stride=2)
        pairs = itertools.pairwise(channels)
        self.blocks = nn.Sequential(*(ResidualDown(a, b) for a, b in pairs))
        self.last = EqualizedConv(channels[-1] + 1, channels[-1], 3)
        self.hidden = FullyConnected(channels[-1] * 16, channels[-1], activate=True)
        self.score = FullyConnected(channels[-1], 1)
        self.embed = FullyConnected(num_classes, channels[-1], bias=False)
        self.classify = FullyConnected(channels[-1], num_classes)

    def forward(self, images: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images.

        Args:
            images: (N, 3, R, R) in [-1, 1].
            c: class weights (N, classes).

        Returns:
            logits of being real (N,), and class logits (N, classes).
        """
        x = self.blocks(self.stem(images.contiguous(memory_format=torch.channels_last)))
        groups = x.reshape(self.group, -1, *x.shape[1:])  # (G, N/G, C, 4, 4)
        deviation = groups.var(dim=0, unbiased=False).add(1e-8).sqrt().mean(dim=(1, 2, 3))
        deviation = deviation.repeat(self.group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        x = self.hidden(self.last(torch.cat([x, deviation], dim=1)).flatten(1))
        # The projection's equalised gain is 1/sqrt(classes); undo it, one-hot rows sum to 1.
        match = (x * self.embed(c)).sum(dim=1) * math.sqrt(c.shape[1] / x.shape[1])
        logit: Tensor = self.score(x).squeeze(1) + match
        return logit, self.classify(x)


class GANModule(L.LightningModule):
    """Class-conditional GAN training.

    Non-saturating logistic loss, R1 on real images every ``r1_interval`` steps (StyleGAN2), EMA of
    the generator. One generator pass serves both updates of a step.

    Args:
        generator: network to train.
        critic: its adversary.
        images: length of the training in images.
        learning_rate: of both Adams.
        decay: share of the training, at its end, in which the learning rate falls to zero.
        class_weight: weight of naming the class right, in both losses.
        r1_gamma: weight of the gradient penalty.
        r1_interval: steps between two penalties; the penalty is scaled up by it.
        ema_images: half-life of the moving average, in images.
    """

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        images: int,
        learning_rate: float = 2.5e-3,
        decay: float = 0.25,
        class_weight: float = 0.5,
        r1_gamma: float = 0.1,
        r1_interval: int = 16,
        ema_images: int = 10_000,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = generator, critic
        self.ema = copy.deepcopy(generator).eval().requires_grad_(False)
        self.images, self.decay, self.class_weight = images, decay, class_weight
        self.learning_rate, self.ema_images = learning_rate, ema_images
        self.r1_gamma, self.r1_interval = r1_gamma, r1_interval
        self.images_seen: Tensor
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.long))

    @property
    def lazy_ratio(self) -> float:
        """Lazy regularisation changes the effective number of steps (StyleGAN2, appendix B)."""
        return self.r1_interval / (self.r1_interval + 1)

    def configure_optimizers(self) -> Any:
        ratio = self.lazy_ratio
        critic = torch.optim.Adam(
            self.critic.parameters(), self.learning_rate * ratio, betas=(0.0, 0.99**ratio)
        )
        generator = torch.optim.Adam(
            self.generator.parameters(), self.learning_rate, betas=(0.0, 0.99)
        )
        return [generator, critic]

    def training_step(self, batch: Scenes, batch_idx: int) -> None:
        optimizer_g, optimizer_c = self.optimizers()  # type: ignore[attr-defined]
        remaining = max(0.0, 1.0 - int(self.images_seen) / self.images)
        rate = self.learning_rate * min(1.0, remaining / self.decay)
        optimizer_g.param_groups[0]["lr"] = rate
        optimizer_c.param_groups[0]["lr"] = rate * self.lazy_ratio
        c = F.one_hot(batch.label, self.generator.num_classes).float()
        real = batch.image * 2.0 - 1.0
        z = torch.randn(len(batch), self.generator.z_dim, device=self.device)
        w = self.generator.map(z, c)
        fake = self.generator.synthesize(w)

        penalize = batch_idx % self.r1_interval == 0
        real.requires_grad_(penalize)
        logits_real, classes = self.critic(real, c)
        logits_fake, _ = self.critic(fake.detach(), c)
        loss_class = F.cross_entropy(classes, batch.label)
        loss_critic = F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean()
        loss_critic = loss_critic + self.class_weight * loss_class
        if penalize:
            (gradient,) = torch.autograd.grad(logits_real.sum(), real, create_graph=True)
            penalty = gradient.square().sum(dim=(1, 2, 3)).mean()
            self.log("r1", penalty.detach())
            loss_critic = loss_critic + penalty * (self.r1_gamma / 2 * self.r1_interval)
        optimizer_c.zero_grad()
        self.manual_backward(loss_critic)
        optimizer_c.step()

        self.critic.requires_grad_(False)
        logits, classes = self.critic(fake, c)
        loss_class_fake = F.cross_entropy(classes, batch.label)
        loss_generator = F.softplus(-logits).mean() + self.class_weight * loss_class_fake
        optimizer_g.zero_grad()
        self.manual_backward(loss_generator)
        optimizer_g.step()
        self.critic.requires_grad_(True)

        self.images_seen += len(batch)
        self._update_ema(len(batch), w.detach())
        self.log_dict(
            {
                "loss_critic": loss_critic.detach(),
                "loss_generator": loss_generator.detach(),
                "class_real": loss_class.detach(),
                "class_fake": loss_class_fake.detach(),
                "logit_real": logits_real.detach().mean(),
                "logit_fake": logits_fake.detach().mean(),
                "images": self.images_seen.float(),
            }
        )

    @torch.no_grad()
    def _update_ema(self, batch_size: int, w: Tensor) -> None:
        half_life = min(self.ema_images, 0.05 * int(self.images_seen))  # ramps up at first
        keep = 0.5 ** (batch_size / max(half_life, 1e-8))
        for average, current in zip(
            self.ema.parameters(), self.generator.parameters(), strict=True
        ):
            average.lerp_(current, 1.0 - keep)
        self.ema.track_mean_latent(w)

    def trained(self) -> nn.Module:
        """The network to ship."""
        self.ema.finish_training()
        return self.ema
