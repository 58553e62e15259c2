"""Networks that this project has never seen."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

import rosetta_lab as rl
from rosetta_lab.api.objects import default_layers
from rosetta_lab.errors import RosettaError


class Painter(nn.Module):
    """Paints a blob at the place that z tells, in three scales."""

    z_dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.blob, self.fine = nn.Identity(), nn.Upsample(scale_factor=2)
        self.rgb = nn.Conv2d(4, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        axis = torch.linspace(-1.5, 1.5, 16)
        far = (axis[None, :, None] - z[:, 0, None, None]) ** 2
        far = far + (axis[None, None, :] - z[:, 1, None, None]) ** 2
        blob = torch.exp(-4 * far)
        noise = torch.sin(40 * z[:, 2:3, None] * axis[None, :, None] * axis[None, None, :])
        maps = self.blob(torch.stack([blob, noise, blob * noise, 1 - noise], dim=1))
        fine = self.fine(maps)
        return fine[:, :3] * 2 - 1 + 0 * self.rgb(fine)


def looker() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.zero_()
        network[0].weight[0, 0] = 0.1  # sees the blob
        network[0].weight[1, 1] = 0.1
        network(torch.zeros(1, 3, 32, 32))
    return network


def test_objects_are_mined_shown_and_opened_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    painter, network = Painter(), looker()
    with caplog.at_level(logging.WARNING):
        found = rl.mine(
            painter, {"mine": network}, num_images=96, k=2, max_fdr=1.0, folder=tmp_path / "run"
        )
    assert "mine says nothing of its preprocessing" in caplog.text and "32 px" in caplog.text
    units = {(x.unit.layer, x.unit.channel): x.matches["mine"][0].channel for x in found.neurons}
    assert any(channel == 0 and unit[1] in (0, 2) for unit, channel in units.items()), units
    assert found.page.is_file() and repr(found).startswith("Rosetta dictionary of generator and 1")
    images = found.images(3)
    assert images.shape == (3, 3, 32, 32)
    seen = found.neurons[0].maps(images)
    assert set(seen) == {"mine"} and seen["mine"].shape == (3, 16, 16)
    # The unit's own map, by hand.
    unit = found.neurons[0].matches["mine"][0]
    expected = network[:2](images)[:, unit.channel]
    torch.testing.assert_close(seen["mine"], expected)
    again = rl.load(tmp_path / "run", generator=painter, models={"mine": network})
    torch.testing.assert_close(again.neurons[0].maps(images)["mine"], expected)
    figure = found.neurons[0].show()
    assert len(figure.axes) == 4 * 3  # four images: themselves, the generator's map, the model's


@pytest.mark.slow
def test_without_the_objects_it_can_be_read_not_looked_through(tmp_path: Path) -> None:
    rl.mine(Painter(), {"mine": looker()}, num_images=16, k=2, folder=tmp_path, null="none")
    found = rl.load(tmp_path)
    assert found.neurons and found.to_pandas().model.unique().tolist() == ["mine"]
    with pytest.raises(RosettaError, match="mine"):
        found.neurons[0].maps(torch.zeros(1, 3, 32, 32))


def test_default_layers_of_known_families() -> None:
    images = torch.zeros(1, 3, 64, 64)
    resnet = timm.create_model("resnet18", pretrained=False).eval()
    assert default_layers(resnet, lambda: resnet(images), "r") == [
        "act1", "layer1", "layer2", "layer3", "layer4"
    ]  # fmt: skip
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64).eval()
    assert default_layers(vit, lambda: vit(images), "v") == [
        f"blocks.{n}.mlp.act" for n in range(12)
    ]


def test_timm_tells_its_own_preprocessing() -> None:
    network = timm.create_model("resnet18", pretrained=False)
    model = rl.as_model("r", network)
    assert model.preprocess.size == (224, 224) and model.preprocess.mean[0] == pytest.approx(0.485)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: rl.as_generator(nn.Linear(4, 4)), "Pass generator=rl.as_generator(network, z_dim"),
        (lambda: rl.as_generator(nn.Linear(4, 4), z_dim=4), "expected RGB or grey"),
        (lambda: rl.as_model("m", nn.Flatten()), "no module puts out"),
        (lambda: rl.as_model("m", looker(), ["conv9"], resolution=32), "no layer matches 'conv9'"),
        (lambda: rl.mine(Painter(), {"m": looker()}, nun_images=3), "nun_images"),
        (lambda: rl.mine(Painter(), {"m": looker()}, images=torch.zeros(1, 3, 8, 8)), "not both"),
        (lambda: rl.mine(Painter(), {"m": looker()}, control="untrained"), "control=untrained"),
        (lambda: rl.mine("stylegan9", num_images=3), "stylegan9"),
    ],
)  # fmt: skip
def test_mistakes(work, message: str) -> None:
    with pytest.raises(RosettaError) as told:
        work()
    assert message in str(told.value)
