"""How near generated samples are to real ones, in a feature space."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance of two sets of features as Gaussians (Heusel et al. 2017, FID).

    |mu_a - mu_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), in float64; the matrix under the second
    root is symmetric, so a symmetric eigen-decomposition gives its trace.

    Args:
        a: features (N, F).
        b: features (M, F).
    """
    a, b = a.double(), b.double()
    covariance_a, covariance_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0.0).sqrt().sum()
    means = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    return float(means + covariance_a.trace() + covariance_b.trace() - 2.0 * cross)


def _radii(features: Tensor, k: int) -> Tensor:
    """Distance (N, 1) of every feature to its k-th nearest neighbour but itself."""
    rows = [
        torch.cdist(chunk, features).kthvalue(k + 1, dim=1).values for chunk in _split(features)
    ]
    return torch.cat(rows)[:, None]


def _split(features: Tensor) -> tuple[Tensor, ...]:
    return torch.split(features, 1000)


def _covered(points: Tensor, support: Tensor, radii: Tensor) -> float:
    """Share of points within the radius of at least one member of the support."""
    inside = [(torch.cdist(support, chunk) <= radii).any(dim=0) for chunk in _split(points)]
    return float(torch.cat(inside).float().mean())


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, Eq. 1-2).

    Precision is the share of generated features that lie within the k-nearest-neighbour balls of
    the real ones; recall the share of real ones within those of the generated.

    Args:
        real: features (N, F).
        fake: features (M, F).
        k: neighbours that set a ball's radius.
    """
    return _covered(fake, real, _radii(real, k)), _covered(real, fake, _radii(fake, k))


def spread(features: Tensor) -> float:
    """Mean distance between two different members of a set of features (N, F)."""
    return float(torch.pdist(features).mean())
