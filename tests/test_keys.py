"""Misspelt keys on a command line fail at once and list the choices."""

from __future__ import annotations

import pytest

from rosetta_lab.config import check_keys
from rosetta_lab.errors import RosettaError


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("kk=5", "there is no key 'kk'.*did you mean k"),
        ("num_imagez=3", "did you mean num_images.*\n.*num_images, .*psi"),
        ("trainer.device=2", "no key 'device' in trainer; did you mean devices"),
        ("gen.latent.distributoin=normal", "in gen.latent; did you mean distribution"),
        ("disc.resnet50.weights=random", "no key 'resnet50' in disc.*\n.*resnet_fashion"),
    ],
)
def test_a_misspelt_key_lists_the_near_ones(argument: str, message: str) -> None:
    with pytest.raises(RosettaError, match=message):
        check_keys("mine", ["seed=1", argument])


@pytest.mark.parametrize(
    "arguments",
    [
        ["k=1,3", "trainer.devices=2", "seed=3", "hydra.run.dir=x", "+new=1"],
        ["disc=[resnet50]", "disc.resnet50.weights=random"],
        ["gen=stylegan2_fashion,dcgan_faces", "gen.latent_psi=0.7"],
        ["layers={resnet_fashion: [layer3.*]}"],
    ],
)
def test_keys_that_exist_pass(arguments: list[str]) -> None:
    check_keys("mine", arguments)
