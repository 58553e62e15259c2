"""``python -m rosetta_lab.edit``, and what it is made of."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from commands import Done, call
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file
from small_generator import LAYERS, SIZES, generator, statistics  # noqa: F401  fixtures
from torch import Tensor, nn

from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.edit.arms import direct_arm, example_maps, run_arm
from rosetta_lab.edit.edits import Amplify, CopyPaste, Shift
from rosetta_lab.edit.problem import Editing
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import PACKAGE
from rosetta_lab.invert.latent_code import random_z
from rosetta_lab.invert.sources import from_file, from_seeds, in_space
from rosetta_lab.invert.units import OwnUnits
from rosetta_lab.models.recording import record, replaced
from rosetta_lab.models.units import Layer, UnitIndex

# The fixtures of the toy generator are imported by name.
# ruff: noqa: F811

QUICK = [
    "steps=3",
    "frames=2",
    "reference_images=8",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
]
ALONE = ["controls=false", "classifier=null", "frames=0"]
INDEX = UnitIndex([Layer(name, 16, *SIZES[name]) for name in LAYERS])
ALL = range(len(INDEX))


def run(*arguments: str, cwd: Path) -> Done:
    return call("edit", *QUICK, *arguments, cwd=cwd)


def pixels(path: Path) -> Tensor:
    with Image.open(path) as image:
        data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return data.reshape(image.height, image.width, 3).permute(2, 0, 1) / 255.0


def own_units(generator, statistics, chosen) -> OwnUnits:
    return OwnUnits(generator, INDEX, torch.tensor(list(chosen)), statistics, SIZES)


def editing(generator, statistics, edit, chosen=ALL, kept=None) -> Editing:
    loss = {"activation": 1.0, "latent_l2": 0.1}
    units = own_units(generator, statistics, chosen)
    others = None if kept is None else own_units(generator, statistics, kept)
    return Editing(generator, edit, units, others, from_seeds(generator, range(90, 98)), loss)


# The command


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an edit of two seeds, and what the command said."""
    folder = tmp_path_factory.mktemp("edit") / "run"
    done = run("latent.seed=[3,14]", f"hydra.run.dir={folder}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_seeds_leave_pictures_latents_figures_and_a_page(seeds: tuple[Path, str]) -> None:
    folder, said = seeds
    for name in ("seed_3", "seed_14"):
        own = folder / "results" / name
        for picture in ("before", "rosetta", "random_units", "activations"):
            assert pixels(own / f"{picture}.png").shape == (3, 64, 64)
        figures = json.loads((own / "edit.json").read_text())
        assert {"moved_x", "moved_share", "class_kept"} <= set(figures["activations"])
        assert figures["rosetta"]["agreement"] > figures["rosetta"]["agreement_before"]
        stored = load_file(own / "latent.safetensors")
        assert stored["latent"].shape == (1, 64) and stored["curve/total"].shape == (3,)
        assert int(stored["class_weights"].argmax()) == int(name.split("_")[1]) % 10
        assert (own / "rosetta.gif").is_file()
    for name in ("index.html", "results.csv", "grid.png"):
        assert (folder / name).is_file()
    assert f"recipe={folder / 'recipe.yaml'}" in said


def test_loggers_are_told_the_losses_of_every_arm(seeds: tuple[Path, str]) -> None:
    folder, _ = seeds
    with (folder / "csv" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = [folder / "results" / name for name in ("seed_3", "seed_14")]
    for arm, stem in (("rosetta", "latent"), ("random_units", "latent_random_units")):
        told = {int(row["step"]): row for row in rows if row[f"{arm}/loss/total"]}
        assert list(told) == [0, 2]  # the first and the last of three steps
        curves = [load_file(name / f"{stem}.safetensors") for name in names]
        for part in ("activation", "total"):
            mean = torch.stack([curve[f"curve/{part}"] for curve in curves]).mean(dim=0)
            for step, row in told.items():
                assert float(row[f"{arm}/loss/{part}"]) == pytest.approx(float(mean[step]))


@pytest.mark.parametrize("command", ["edit", "visualize"])
def test_several_devices_are_refused(command: str, tmp_path: Path) -> None:
    how = ["trainer.accelerator=cpu", "trainer.devices=2"]
    done = call(command, *how, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 1
    assert "this command works on one device" in done.stdout + done.stderr


def test_the_other_generator_family(tmp_path: Path) -> None:
    """BigGAN's units are what its convolutions take in, and truncation is one of its latents."""
    for command, arguments in {
        "mine": ["gen=biggan_fashion", "disc=[resnet_fashion]", "num_images=64", "page_images=1"],
        "edit": ["latent.seed=[3,14]", "dictionary=mine", *QUICK],
        "invert": ["dictionary=mine", f"images={PACKAGE / 'data/samples/coat_red.png'}", "steps=2"],
    }.items():
        done = call(command, *arguments, f"hydra.run.dir={command}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "edit" / "results" / "seed_3" / "edit.json").read_text())
    assert figures["rosetta"]["agreement"] > figures["rosetta"]["agreement_before"]
    assert {"activations", "random units"} <= set(figures)
    assert (tmp_path / "invert" / "index.html").is_file()


def test_a_recipe_gives_the_same_pictures(seeds: tuple[Path, str], tmp_path: Path) -> None:
    folder = seeds[0]
    done = run(
        f"recipe={folder / 'recipe.yaml'}", f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for name in ("seed_3", "seed_14"):
        one, two = (root / "results" / name for root in (folder, tmp_path / "run"))
        for picture in ("before", "rosetta", "random_units", "activations"):
            assert (one / f"{picture}.png").read_bytes() == (two / f"{picture}.png").read_bytes()
        a, b = (load_file(own / "latent.safetensors") for own in (one, two))
        assert all(torch.equal(a[key], b[key]) for key in a)
    recipes = [(root / "recipe.yaml").read_text() for root in (folder, tmp_path / "run")]
    assert recipes[0] == recipes[1]


def test_what_is_named_beside_a_recipe_goes_before_it(
    seeds: tuple[Path, str], tmp_path: Path
) -> None:
    """Wherever it stands, and also what depends on it; the record is of what ran."""
    how = ["latent.seed=[3]", "alpha=0.7", "edit.shift.dx=-0.5", "controls=false", "frames=0"]
    done = call(
        "edit", "steps=2", f"recipe={seeds[0] / 'recipe.yaml'}", *how, *QUICK[-2:],
        f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = tmp_path / "run"
    stored = load_file(own / "results" / "seed_3" / "latent.safetensors")
    assert stored["curve/total"].shape == (2,)
    total = stored["curve/activation"] + 0.7 * stored["curve/latent_l2"]
    torch.testing.assert_close(stored["curve/total"], total)
    assert [path.name for path in (own / "results").iterdir()] == ["seed_3"]
    for path in (own / "recipe.yaml", own / ".hydra" / "config.yaml"):
        ran = OmegaConf.load(path)
        assert (ran.steps, ran.alpha, ran.loss.latent_l2, ran.edit.shift.dx) == (2, 0.7, 0.7, -0.5)
        assert (ran.reference_images, ran.controls) == (8, False)  # the recipe's, and ours
    assert "moved" in (own / "results.csv").read_text()


def test_a_latent_file_and_one_concept(tmp_path: Path) -> None:
    mined = load_mined("embedded")
    start = from_seeds(mined.generator, [5], 8, "w+", 0.7)
    file = tmp_path / "a bag" / "latent.safetensors"
    file.parent.mkdir()
    save_file({"latent": start.latent, "class_weights": start.c}, file)
    done = run(
        f"latent.file='{file}'", "concepts=[0]", "edit=suppress", *ALONE,
        f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = tmp_path / "run" / "results" / "a bag"
    with torch.no_grad():
        image = mined.generator.to_unit_range(mined.generator.synthesize(start.latent))[0]
    assert float((pixels(own / "before.png") - image).abs().max()) < 0.003  # half a step of 255
    assert load_file(own / "latent.safetensors")["latent"].shape == start.latent.shape
    figures = json.loads((own / "edit.json").read_text())["rosetta"]
    assert figures["concept_change"] < 0.0 and figures["others_change"] > 0.0


def test_pictures_are_inverted_first(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (90, 70), "navy").save(images / "night.jpg")
    done = run(
        f"images={images}", "perceptual=resnet_fashion", "inversion.steps=4", "latent.label=2",
        *ALONE, f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = tmp_path / "run" / "results" / "night"
    navy = torch.tensor([0.0, 0.0, 128 / 255])
    assert float((pixels(own / "picture.png")[:, 32, 32] - navy).abs().max()) < 0.02
    stored = load_file(own / "latent.safetensors")
    assert stored["latent"].dim() == 3 and int(stored["class_weights"].argmax()) == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("concepts=[999]", "there is no concept 999"),
        ("latent.label=sneeker", "expected 0 to 9"),
        ("recipe={evil}", "not a Edit"),
    ],
)
def test_mistakes_are_told_in_two_lines(argument: str, message: str, tmp_path: Path) -> None:
    evil, witness = tmp_path / "evil.yaml", tmp_path / "witness"
    evil.write_text(f"edit: {{shift: {{_target_: os.system, command: touch {witness}}}}}\n")
    done = run(argument.format(evil=evil), f"hydra.run.dir={tmp_path / 'run'}", cwd=tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert message in said and "Traceback" not in said
    assert not witness.exists()


# Editing


def test_replaced_maps_reach_the_image_and_leave_no_hook(generator) -> None:
    layer, channels = LAYERS[1], torch.tensor([3, 5])
    z, c = torch.zeros(2, 8).double(), torch.eye(3).double()[:2]
    new = torch.full((2, 2, 8, 8), 7.0)
    before = generator(z, c)
    with replaced(generator, {layer: (channels, new)}), record(generator, [layer]) as raw:
        after = generator(z, c)
    assert (raw[layer][:, channels] == 7.0).all() and not (raw[layer][:, 4] == 7.0).all()
    assert not torch.allclose(before, after)
    with (
        pytest.raises(ZeroDivisionError),
        replaced(generator, dict.fromkeys(LAYERS, (channels, new))),
    ):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in generator.modules())
    assert torch.equal(generator(z, c), before)


def test_what_a_layer_takes_in_is_replaced_like_what_the_one_before_puts_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    images, new = torch.rand(2, 3, 8, 8), torch.rand(2, 2, 6, 6)
    channels, plain, found = torch.tensor([0, 3]), network(images), []
    for layer in ("0", "1:input"):
        with replaced(network, {layer: (channels, new)}), record(network, ["1:input"]) as raw:
            found.append(network(images))
        assert torch.equal(raw["1:input"][:, channels], new)
    assert torch.equal(found[0], found[1]) and not torch.allclose(found[0], plain)
    assert torch.equal(network(images), plain)


def test_direct_edit_puts_the_edited_maps_in(generator, statistics) -> None:
    sources = from_seeds(generator, [1, 2])
    same = direct_arm(editing(generator, statistics, Amplify(1.0)), sources)
    with torch.no_grad():
        before = editing(generator, statistics, Shift()).code(sources).images().clamp(0, 1)
    assert torch.allclose(same.images, before, atol=1e-9)
    # By hand: two channels of the first layer move by one of four cells, their minimum comes in.
    low = from_seeds(generator, range(90, 98))
    with record(generator, [LAYERS[0]]) as many:
        generator(low.latent, low.c)
    with record(generator, [LAYERS[0]]) as raw:
        generator(sources.latent, sources.c)
    channels = torch.tensor([2, 9])
    new = raw[LAYERS[0]][:, channels].roll(1, dims=3)
    new[..., 0] = many[LAYERS[0]][:, channels].amin(dim=(0, 2, 3))[:, None]
    with replaced(generator, {LAYERS[0]: (channels, new)}):
        expected = generator.to_unit_range(generator(sources.latent, sources.c))
    moved = direct_arm(editing(generator, statistics, Shift(0.25), chosen=[2, 9]), sources)
    assert torch.allclose(moved.images, expected, atol=1e-9)
    assert not torch.allclose(moved.images, before, atol=1e-3)


def test_targets_are_the_edited_maps_and_others_stay(generator, statistics) -> None:
    sources = from_seeds(generator, [4])
    pose = editing(generator, statistics, Shift(0.25), chosen=[0, 1], kept=[20])
    (before,), (after,) = pose.targets(sources)
    assert before.layer == LAYERS[0] and before.channels.tolist() == [0, 1]
    assert torch.equal(after.maps[..., 1:], before.maps[..., :-1])  # one of four cells
    assert torch.equal(after.maps[0, :, 0, 0], pose.floors[0])
    assert pose(sources)[1].agreement.pairs == 3


def test_edits_start_where_the_source_is_but_copy_paste_at_random(generator, statistics) -> None:
    sources = from_seeds(generator, [4, 5])
    code, _ = editing(generator, statistics, Shift())(sources)
    assert torch.equal(code.value.detach(), sources.latent)
    pose = editing(generator, statistics, CopyPaste())
    one, two = pose(sources)[0].value.detach(), pose(sources)[0].value.detach()
    assert torch.equal(one, two) and not torch.allclose(one, sources.latent)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_a_random_start_is_held_near_the_prior_mean_and_no_source(
    generator, statistics, space
) -> None:
    units = own_units(generator, statistics, ALL)
    low, sources = (from_seeds(generator, s, None, space) for s in (range(90, 98), [4, 5]))
    code, held = Editing(generator, CopyPaste(), units, None, low, {"latent_l2": 1.0}, space=space)(
        sources
    )
    z = torch.stack([random_z(generator, [str(i)], 0)[0] for i in range(10_000)])
    prior = in_space(generator, space, z, sources.c[:1].expand(len(z), -1)).mean(dim=0)
    expected = torch.zeros_like(prior) if space == "z" else prior
    torch.testing.assert_close(code.anchor[0], expected, atol=1e-6, rtol=0)
    distance = (code.value.detach()[0] - expected).square().mean()
    torch.testing.assert_close(held(code).total[0].detach(), distance, atol=1e-6, rtol=0)
    still, _ = Editing(generator, Shift(), units, None, low, {}, space=space)(sources)
    assert torch.equal(still.anchor, sources.latent)


def test_an_edit_brings_the_maps_nearer_to_what_was_asked(generator, statistics) -> None:
    sources = from_seeds(generator, [2, 4])
    pose = editing(generator, statistics, Shift(0.25))
    arm = run_arm(pose, sources, 5, steps=30, lr=0.1)
    assert len(arm.frames) == 6 and torch.equal(arm.frames[-1], arm.images)
    for row in arm.figures:
        assert row["agreement"] > row["agreement_before"] + 0.01
    examples = example_maps(pose, sources, arm, limit=5)
    assert [name.split(" · ")[0] for name, *_ in examples] == [*LAYERS, *LAYERS[:2]]
    for name, before, asked, reached in examples:
        assert before.shape == asked.shape == reached.shape == (2, *SIZES[name.split(" · ")[0]])


# Sources


def test_seeds_have_names_classes_and_latents_of_their_own(generator) -> None:
    together = from_seeds(generator, [7, 4, 1007])
    assert together.ids == ["seed_7", "seed_4", "seed_1007"]
    assert together.c.argmax(dim=1).tolist() == [7 % 3, 4 % 3, 1007 % 3]
    assert torch.equal(from_seeds(generator, [4]).latent, together.latent[1:2])
    one, two = (from_seeds(generator, range(40), "random") for _ in range(2))
    assert torch.equal(one.c, two.c) and set(one.c.argmax(dim=1).tolist()) == {0, 1, 2}
    wide = from_seeds(generator, [4], 2, "w+", psi=0.5)
    assert torch.equal(wide.latent, generator.map(together.latent[1:2], wide.c, 0.5))
    assert torch.equal(in_space(generator, "w", together.latent[1:2], wide.c, 0.5),
                       wide.latent[:, 0])  # fmt: skip
    with pytest.raises(RosettaError, match="expected 0 to 2"):
        from_seeds(generator, [4], 3)


def test_files_of_latents_tell_their_space(generator, tmp_path: Path) -> None:
    path = tmp_path / "one" / "latent.safetensors"
    path.parent.mkdir()
    wide = from_seeds(generator, [0], 0, "w+").latent.shape[1:]
    for space, shape in (("z", (8,)), ("w", (12,)), ("w+", wide)):
        save_file({"latent": torch.ones(1, *shape), "class_weights": torch.eye(3)[:1]}, path)
        sources, found = from_file(generator, path)
        assert (found, sources.ids) == (space, ["one"])
        assert sources.latent.dtype == torch.float64
    save_file({"latent": torch.ones(2, 12)}, path)
    assert from_file(generator, path)[0].ids == ["latent_0", "latent_1"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (None, "cannot be read"),
        ({}, "holds nothing"),
        ({"w": torch.ones(1)}, "it holds w"),
        (
            {"latent": torch.ones(1, 5)},
            r"are \(1, 5\), this generator's are \(N, 8\) for z or \(N, 12\)",
        ),
        ({"latent": torch.ones(1, 3, 12)}, r"\(N, 4, 12\) for w\+"),
        ({"latent": torch.ones(1, 8)}, "needs its class"),
    ],
)
def test_files_without_latents_are_refused(
    generator, tensors: dict[str, Tensor] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "latent.safetensors"
    if tensors is None:
        path.write_bytes(b"not a safetensors file")
    else:
        save_file(tensors, path)
    with pytest.raises(RosettaError, match=message):
        from_file(generator, path)
