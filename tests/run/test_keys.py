"""Misspelt keys on a command line fail at once and list the choices; configs from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import call, process

import rosetta_lab.run.app  # noqa: F401  what the configs refer to
from rosetta_lab.errors import RosettaError
from rosetta_lab.run.command_line import check_groups, check_keys, image_folders, left_out


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("kk=5", "there is no key 'kk'.*did you mean k"),
        ("num_imagez=3", "did you mean num_images.*\n.*num_images, .*psi"),
        ("trainer.device=2", "trainer.device: there is no key 'device'; did you mean devices"),
        ("gen.latent.distributoin=normal", "no key 'distributoin'; did you mean distribution"),
        (
            "disc.resnet50.weights=random",
            "disc.resnet50.weights: .* no key 'resnet50'.*\n.*resnet_fashion",
        ),
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


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("mine", "gen=null", "gen=null: there are no images to look at.\\n.*data=fashion_scenes"),
        ("mine", "disc=null", "disc.*there is no.*\n.*resnet_fashion"),
        ("plan", "gen=null", "gen=null: there are no images to look at.\\n"),
        ("invert", "zoo=null", "zoo=null: there is no such choice.\n.*embedded, paper"),
        ("edit", "zoo=null", "zoo=null: there is no such choice.\n.*embedded, paper"),
        ("edit", "edit=null", "edit=.*: nothing to do.\n.*edit=zoom"),
        ("ablate", "zoo=null", "zoo=null: there is no such choice.\n.*embedded, paper"),
        ("mine", "disc.resnet_fashion=null", "disc.resnet_fashion=None: .*\n.*~disc.resnet_fash"),
        ("mine", "k=two", "k=two: expected a whole number from 1 on"),
        ("mine", "k_disc=0", "k_disc=0: expected a whole number from 1 on"),
        ("mine", "k_gen=-1", "k_gen=-1: expected a whole number from 1 on"),
        ("mine", "k_disc=1.5", "k_disc=1.5: expected a whole number from 1 on"),
    ],
)
def test_values_that_name_nothing(
    command: str, argument: str, message: str, tmp_path: Path
) -> None:
    quick = ["trainer.accelerator=cpu"] if command != "plan" else []
    done = call(command, argument, *quick, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(message, done.stdout + done.stderr), done.stdout + done.stderr
    assert "images=" not in done.stdout + done.stderr


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with configs, and a class, that are not of this package."""
    (tmp_path / "configs" / "disc").mkdir(parents=True)
    (tmp_path / "configs" / "disc" / "grey.yaml").write_text(
        "# @package disc.grey\n_target_: grey.Grey\nsize: 16\n"
    )
    (tmp_path / "grey.py").write_text(
        "import torch\n"
        "from rosetta_lab.models.discriminative.base import DiscriminativeModel\n"
        "from rosetta_lab.models.preprocess import Preprocess\n"
        "class Grey(DiscriminativeModel):\n"
        "    def __init__(self, size):\n"
        "        network = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 1), torch.nn.ReLU())\n"
        "        super().__init__(network, Preprocess(size), ['1'])\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "place", [["--config-dir=configs"], ["-cd", "configs"], ["hydra.searchpath=[file://configs]"]]
)
def test_configs_of_another_folder(
    place: list[str], outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outside)
    arguments = [*place, "disc=[grey,resnet_fashion]", "disc.grey.size=8"]
    check_groups(arguments)
    check_keys("mine", arguments)
    with pytest.raises(RosettaError, match=r"disc=gray: .*\n.*dino_vit, .*, grey, judge"):
        check_groups([*place, "disc=[resnet50,gray]"])
    with pytest.raises(
        RosettaError, match=r"disc.grey.sice: there is no key 'sice'; did you mean size"
    ):
        check_keys("mine", [*arguments, "disc.grey.sice=8"])
    with pytest.raises(RosettaError, match="disc=grey"):
        check_groups(arguments[len(place) :])


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["mine", "--config-dir=configs", "hydra.run.dir=run", "page_images=2"],
        ["plan", "hydra.searchpath=[file://configs]", "measure=0", "pretrained=false"],
    ],
)
def test_a_model_of_another_folder(command: list[str], outside: Path) -> None:
    """Of a class that takes no weights, from a command line elsewhere."""
    name, *arguments = command
    small = ["disc=[grey]", "num_images=4", "batch_size=4", "weights=random", "k=1"]
    done = process(name, *arguments, *small, cwd=outside)
    assert done.returncode == 0, done.stderr
    assert re.search(r"grey\W.* 6 ", done.stdout)


def test_help_shows_the_keys(tmp_path: Path) -> None:
    done = call("mine", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "num_images=1600" in done.stdout and "stylegan2_fashion" in done.stdout
    assert not list(tmp_path.iterdir())


def test_data_names_a_config_or_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("samples", "my photos"):
        (tmp_path / name).mkdir()
    given = ["data=samples", "data=./samples", "data='my photos'", "data=nowhere", "k=3"]
    taken = ["data=samples", "images=./samples", "images='my photos'", "data=nowhere", "k=3"]
    assert image_folders(given) == taken
    assert image_folders(["data=samples,./samples", "~data"]) == ["data=samples,./samples", "~data"]


def test_null_leaves_a_group_out_where_it_is_a_choice() -> None:
    given = ["gen=null", "data=null", "psi=null"]
    assert left_out(given, ["gen"]) == ["~gen", "data=null", "psi=null"]
