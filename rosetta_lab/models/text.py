"""Text-image models: how near images are to words, and to words that mean nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.models.discriminative.open_clip import OpenClipModel

Read = Callable[[Sequence[str]], Tensor]  # captions to token ids (N, T)


class TextImageModel(nn.Module):
    """An open_clip model whose two towers look at images and at words.

    Args:
        model: with its text tower.
        templates: captions in which a word that brings none of its own is read; ``{}`` stands for
            the word.
        tokenizer: captions to token ids, of which the last word's successor has the highest; None
            for open_clip's own of the architecture.

    Raises:
        RosettaError: the model is none of open_clip.
    """

    def __init__(
        self, model: OpenClipModel, templates: Sequence[str], tokenizer: Read | None = None
    ) -> None:
        super().__init__()
        if not isinstance(model, OpenClipModel):
            raise RosettaError(
                "text.model: it reads no words.\nName a model of open_clip, such as disc/clip."
            )
        self.model, self.templates = model, tuple(templates)
        self.read: Read = tokenizer or open_clip.get_tokenizer(model.architecture)

    @torch.no_grad()
    def of_images(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to unit vectors (N, D)."""
        return F.normalize(self.model(images).float(), dim=1)

    def captions(self, word: str) -> list[str]:
        """A word in every template."""
        return [template.format(word) for template in self.templates]

    @torch.no_grad()
    def of_words(self, captions: Sequence[Sequence[str]]) -> Tensor:
        """Captions of every word to unit vectors (W, D), their means over the captions.

        Raises:
            RosettaError: the tokenizer does not know a word.
        """
        return torch.stack([self._mean(self.tokens(some)) for some in captions])

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """Captions as token ids (N, T).

        Raises:
            RosettaError: a word that the tokenizer does not know.
        """
        device = next(self.model.parameters()).device
        try:
            return self.read(list(captions)).to(device)
        except (KeyError, RuntimeError) as error:  # no such word, or too many
            raise RosettaError(
                f"vocabulary: '{printable(captions[0])}' cannot be read ({printable(error)}).\n"
                "Use words that the text model was trained on."
            ) from None

    @torch.no_grad()
    def of_nonsense(self, captions: Sequence[str], source: torch.Generator) -> Tensor:
        """As :meth:`of_words`, of as long captions in words that mean nothing (N, D).

        Every word becomes a random vector with the mean and the spread of the model's words'.
        """
        tokens = self.tokens(captions)
        table: Tensor = self._network.token_embedding.weight
        used = tokens.unique()
        mean, spread = table[used].mean(dim=0), table[used].std(dim=0, correction=0)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        words = (places > 0) & (places < tokens.argmax(dim=1)[:, None])  # between start and end

        def nothing(module: nn.Module, given: Any, output: Tensor) -> Tensor:
            drawn = torch.randn(output.shape, generator=source).to(output)
            return torch.where(words[..., None], mean + spread * drawn, output)

        with _hooked(self._network.token_embedding, nothing):
            found: Tensor = self._network.encode_text(tokens, normalize=True)
        return found.float()

    def _mean(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self._network.encode_text(tokens, normalize=True)
        return F.normalize(vectors.float().mean(dim=0), dim=0)

    @property
    def _network(self) -> Any:
        return self.model.network


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
