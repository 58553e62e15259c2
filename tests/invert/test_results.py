"""What images are judged by, against brute force; result folders that never lose each other."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.signal import correlate2d
from torch import Tensor
from toy import ToyModel

from rosetta_lab.data.folders import make_ids
from rosetta_lab.errors import RosettaError
from rosetta_lab.invert.judge import Judge, true_errors
from rosetta_lab.invert.optimise import Inverted
from rosetta_lab.invert.problem import TargetBatch
from rosetta_lab.invert.results import Results
from rosetta_lab.models.perceptual import LayerPerceptual


def noise(seed: int, count: int = 2, size: int = 24) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def scene(x: int, y: int, side: int, colour: tuple[float, float, float]) -> Tensor:
    """A square of ``side`` pixels, its middle at (x, y), before a pale background."""
    image = torch.full((3, 64, 64), 0.9)
    half = side // 2
    image[:, y - half : y + half, x - half : x + half] = torch.tensor(colour)[:, None, None]
    return image


# Figures


def ssim_by_hand(a: Tensor, b: Tensor) -> float:
    """Wang et al. (2004), Eq. 13, with their Gaussian window; beyond the border, a mirror."""
    place = np.arange(11) - 5.0
    window = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True):
        x, y = (np.pad(v, 5, mode="reflect") for v in (x, y))
        mx, my, xx, yy, xy = (
            correlate2d(v, window, mode="valid") for v in (x, y, x * x, y * y, x * y)
        )
        top = (2 * mx * my + 1e-4) * (2 * (xy - mx * my) + 9e-4)
        bottom = (mx**2 + my**2 + 1e-4) * (xx - mx**2 + yy - my**2 + 9e-4)
        values.append((top / bottom).mean())
    return float(np.mean(values))


def test_psnr_and_ssim_by_hand() -> None:
    targets = noise(0)
    images = (targets + 0.2 * (noise(1) - 0.5)).clamp(0.0, 1.0)
    for place, row in enumerate(Judge([])(images, targets, [{}, {}])):
        error = float((images[place] - targets[place]).double().square().mean())
        assert row["psnr"] == pytest.approx(-10.0 * math.log10(error), abs=1e-3)
        assert row["ssim"] == pytest.approx(ssim_by_hand(images[place], targets[place]), abs=1e-4)
        assert 0.2 < row["ssim"] < 0.99


def test_a_perfect_image_has_figures() -> None:
    (row,) = Judge([])(noise(0, 1), noise(0, 1), [{}])
    assert row == {"psnr": 100.0, "ssim": pytest.approx(1.0)}


def test_distances_go_by_their_own_names() -> None:
    distances = [LayerPerceptual(name, ToyModel(seed=seed), ["mix"]) for seed, name in
                 enumerate(("first", "second"))]  # fmt: skip
    rows = Judge(distances)(noise(0), noise(1), [{}, {}])
    for distance in distances:
        expected = distance(noise(0), noise(1)).tolist()
        assert [row[distance.name] for row in rows] == pytest.approx(expected)


class Brightest(ToyModel):
    """Sees the class of the brightest colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def test_recognised_is_whether_the_given_class_is_seen() -> None:
    red = scene(32, 32, 40, (0.9, 0.1, 0.1)).expand(3, -1, -1, -1)
    given = torch.tensor([[0.6, 0.4, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    rows = Judge([], Brightest())(red, red, [{}] * 3, class_weights=given)
    assert [row["recognised"] for row in rows] == [1.0, 0.0, 0.0]
    assert "recognised" not in Judge([], Brightest())(red, red, [{}] * 3)[0]
    assert "recognised" not in Judge([])(red, red, [{}] * 3, class_weights=given)[0]


def test_true_errors_of_scenes_made_by_hand() -> None:
    images = torch.stack([scene(20, 40, 16, (0.8, 0.1, 0.1)), scene(32, 32, 32, (0.1, 0.1, 0.8))])
    truth = [
        {"centre_x": 20 / 64, "centre_y": 40 / 64, "scale": 16 / 64, "hue": 350.0},
        {"centre_x": 32 / 64 + 0.03, "centre_y": 32 / 64 - 0.04, "scale": 0.25},
    ]
    first, second = true_errors(images, truth)
    assert first == {
        "centre_error": pytest.approx(0.0, abs=1e-6),
        "scale_error": pytest.approx(0.0, abs=1e-6),
        "hue_error": pytest.approx(10.0, abs=1e-3),  # red is at 0: around the circle
    }
    assert second == {"centre_error": pytest.approx(0.05), "scale_error": pytest.approx(0.25)}
    assert true_errors(None, truth) == [{}, {}]


def test_errors_of_the_start_stand_beside() -> None:
    end, start = (scene(x, 32, 16, (0.8, 0.1, 0.1))[None] for x in (32, 16))
    (row,) = Judge([])(end, end, [{"centre_x": 0.5, "centre_y": 0.5}], start)
    assert row["centre_error"] == pytest.approx(0.0, abs=1e-6)
    assert row["start_centre_error"] == pytest.approx(0.25)


# Folders


def write(results: Results, names: list[str], figures: dict[str, float], latent=0.0) -> None:
    count = len(names)
    batch = TargetBatch(names, noise(0, count, 8), [None] * count, [{}] * count)
    inverted = Inverted(
        noise(1, count, 8),
        torch.full((count, 4), latent),
        None,
        {"total": torch.ones(count, 2)},
    )
    results.write(batch, inverted, [figures] * count)


PATHS = ["a.png", "a/b.png", "A/b/c.jpg", "a/b/c/d.png", "settings.yaml.png", "results.csv/x.png"]


@pytest.mark.parametrize("order", [1, -1])
def test_no_result_removes_or_hides_another(tmp_path: Path, order: int) -> None:
    results = Results(tmp_path)
    results.claim("steps: 1\n")
    ids = make_ids([Path(name) for name in PATHS])
    for name in ids[::order]:
        write(results, [name], {"psnr": 1.0})
    results.claim("steps: 1\n")
    assert [record["id"] for record in results.records(ids)] == ids
    with pytest.raises(RosettaError, match="results of other settings"):
        results.claim("steps: 2\n")


def test_settings_may_change_as_long_as_there_is_no_result(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.claim("lr: 1000\n")
    results.claim("lr: 0.1\n")
    write(results, ["a"], {"psnr": 1.0})
    with pytest.raises(RosettaError, match="results of other settings"):
        results.claim("lr: 1000\n")


@pytest.mark.parametrize(
    ("figures", "latent"),
    [
        ({"psnr": math.nan}, 0.0),
        ({"psnr": 10.0, "some_distance": math.inf}, 0.0),
        ({"psnr": 10.0}, math.nan),
        ({"psnr": 10.0, "tuned_psnr": math.nan}, 0.0),
    ],
)
def test_a_diverged_image_has_no_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, figures: dict[str, float], latent: float
) -> None:
    results = Results(tmp_path)
    write(results, ["far"], figures, latent)
    assert not results.done("far") and not (tmp_path / "results" / "far").exists()
    assert "far: the optimisation diverged: choose a smaller lr= or beta=" in caplog.text


def test_what_cannot_be_read_from_an_image_is_left_out(tmp_path: Path) -> None:
    results = Results(tmp_path)
    write(results, ["a"], {"psnr": 9.0, "hue_error": math.nan, "start_centre_error": math.nan})
    record = json.loads((tmp_path / "results" / "a" / "result.json").read_text())
    assert record == {"id": "a", "label": None, "psnr": 9.0, "loss/total": 1.0}
    assert load_file(tmp_path / "results" / "a" / "latent.safetensors")["latent"].shape == (1, 4)
