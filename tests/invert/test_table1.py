"""The paper's Table 1 in narrow, with random weights: what looks at photographs, its columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import call
from hydra import compose, initialize_config_dir
from PIL import Image

from rosetta_lab.errors import RosettaError
from rosetta_lab.files import asset_root
from rosetta_lab.run.command_line import zoo_arguments

COLUMNS = ["lpips_vgg", "lpips_alex"]


def dictionary(folder: Path, **gen: str) -> str:
    folder.mkdir()
    (folder / "dictionary.json").write_text(json.dumps({"config": {"gen": gen}}))
    return str(folder)


def test_a_named_dictionary_chooses_its_zoo(tmp_path: Path) -> None:
    own = dictionary(tmp_path / "own", name="x", zoo="embedded")
    other = dictionary(tmp_path / "other", name="y")

    def chosen(*arguments: str, command: str = "invert") -> list[str]:
        found = zoo_arguments(command, list(arguments))
        assert found[: len(arguments)] == list(arguments)
        return found[len(arguments) :]

    assert chosen() == []
    assert chosen("dictionary=embedded") == ["zoo=embedded"]
    assert chosen(f"dictionary={own}", "steps=3") == ["zoo=embedded"]
    for command in ("invert", "edit"):
        assert chosen(f"dictionary={other}", command=command) == ["zoo=paper"]
    assert chosen(f"dictionary={other}/dictionary.json") == ["zoo=paper"]
    assert chosen("--multirun", f"dictionary={other},{other}") == ["zoo=paper"]
    faces = dictionary(tmp_path / "faces", name="dcgan_faces", zoo="real")
    for command in ("invert", "edit", "ablate"):
        assert chosen(f"dictionary={faces}", command=command) == ["zoo=real"]
    assert chosen(f"dictionary={other}", "zoo=embedded") == []
    assert chosen(f"dictionary={other}", command="visualize") == []
    with pytest.raises(RosettaError, match="zoo=embedded or zoo=paper"):
        chosen("--multirun", f"dictionary={own},{other}")


@pytest.mark.parametrize(
    ("arguments", "loss", "judges", "data"),
    [
        ([], "lpips_fashion", ["lpips_fashion", "judge_fashion"], "ImageFolder"),
        (["zoo=paper"], "lpips_vgg", COLUMNS, "ImageNetVal"),
        (["zoo=paper", "perceptual=lpips_alex"], "lpips_alex", COLUMNS, "ImageNetVal"),
        (["zoo=paper", "data=fashion_scenes"], "lpips_vgg", COLUMNS, "FashionTargets"),
        (["zoo=real"], "efficientnet_lite0", ["efficientnet_lite0"], "ImageNetVal"),
        (["experiments=table1"], "lpips_vgg", COLUMNS, "ImageNetVal"),
    ],
)
def test_a_zoo_chooses_loss_judges_and_data(arguments, loss, judges, data) -> None:
    with initialize_config_dir(str(asset_root() / "conf"), version_base="1.3"):
        cfg = compose("invert", arguments)
        edit = compose("edit", [a for a in arguments if a.startswith(("zoo", "perceptual"))])
    assert cfg.perceptual.name == loss
    assert list(cfg.judges) == [entry.name for entry in cfg.judges.values()] == judges
    assert cfg.data._target_.endswith(data)
    if "experiments=table1" in arguments:
        assert (cfg.label, cfg.classifier) == ("inferred", "resnet50")
    else:
        assert edit.perceptual.name == loss


@pytest.mark.slow
def test_table_1_in_narrow(tmp_path: Path) -> None:
    """Labels are given here: an untrained classifier would ask for the mean w of 999 classes."""
    for label in (3, 207):
        pixels = np.random.default_rng(label).integers(0, 255, (80, 60, 3), dtype=np.uint8)
        (tmp_path / "val" / str(label)).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "val" / str(label) / "a.png")
    layers = (
        "{stylegan_xl: [synthesis.L2_*, synthesis.L10_*, synthesis.L15_*], "
        "resnet50: [layer4], dino_resnet50: [layer4]}"
    )
    quiet = ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
    for arguments in (
        ["mine", "gen=stylegan_xl", "+gen.network.channel_base=1024", "num_images=2",
         "+gen.network.channel_max=16", "disc=[resnet50,dino_resnet50]", "weights=random",
         "pretrained=false", f"layers={layers}", "page_images=2", "hydra.run.dir=run"],
        ["invert", "--multirun", "experiments=table1", "data.root=val", "data.per_class=1",
         "dictionary=run", "perceptual.weights=random", "judges.lpips_vgg.weights=random",
         "judges.lpips_alex.weights=random", "steps=1", "label=given", "matches=none,all",
         "hydra.sweep.dir=sweep"],
    ):  # fmt: skip
        done = call(*arguments, *quiet, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    with (tmp_path / "sweep" / "images.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["run"], row["id"], row["label"]) for row in rows} == {
        (run, f"{label}/a", str(label)) for run in ("none", "all") for label in (3, 207)
    }
    figures = ["psnr", "ssim", *COLUMNS, "recognised"]
    assert [name for name in rows[0] if name in figures] == figures
    assert all(row[name] for row in rows for name in figures)
    runs = [tmp_path / "sweep" / str(number) / "results.csv" for number in (0, 1)]
    losses = [path.read_text().splitlines()[0].split(",") for path in runs]
    assert [("loss/activation" in names) for names in losses] == [False, True]
