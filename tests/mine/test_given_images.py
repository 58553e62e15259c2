"""Mining without a generator: images that are given, and a model of one's own as the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cases import first
from given import TOYS, command, dictionary, photos, run, tables
from mined_toys import trainer
from omegaconf import OmegaConf
from placed import CONTENT, PLACED, SIZE, PlacedModel
from reference import pooled_correlation
from safetensors.torch import load_file
from toy import ToyModel
from toy_runs import GENERATOR

from rosetta_lab.data.images import ImageFolder, Target
from rosetta_lab.data.inputs import GivenImages
from rosetta_lab.data.latents import LatentDataModule
from rosetta_lab.dictionary.evidence import Found, find
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine import control
from rosetta_lab.mine.cache import fingerprint
from rosetta_lab.mine.module import MiningModule
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.models.observer import Observer, ShownImages


class Random:
    """A data set of random images, with labels."""

    def __init__(self, count: int, labels: tuple[int | None, ...] = (None,), size: int = SIZE):
        self.labels, self.ids, self.size = labels, [f"no {i}" for i in range(count)], size

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Target:
        source = torch.Generator().manual_seed(index)
        image = torch.rand(3, self.size, self.size, generator=source)
        return Target(self.ids[index], image, self.labels[index % len(self.labels)])


# What is found


def found_in(images: int, **evidence) -> Found:
    watch = Observer(ShownImages(), {name: PlacedModel(i) for i, name in enumerate("abc", 1)}, "b")
    inputs = GivenImages(Random(images), images).checked()
    pilot = inputs.batch([0, 1])
    how = Evidence(draws=3, blocks=1, **evidence)
    module = MiningModule(watch, shapes_of(watch, pilot), pilot, images, evidence=how)
    trainer().validate(module, LatentDataModule(inputs, 16, module.grouping), verbose=False)
    assert module.result is not None
    return find(module.result.matchings, 1, 1, 0.05)


def test_content_is_matched_on_given_images_and_place_is_not() -> None:
    found = found_in(96)
    assert list(found.models) == ["a", "c"]
    same = [[unit, unit] for unit in range(CONTENT + PLACED)]
    for judged in found.models.values():
        assert judged.buddies.pairs.tolist() == same  # by the paper's rule, all of them
        assert judged.accepted.pairs.tolist() == same[:CONTENT]
        assert judged.buddies.scores["position"][CONTENT:].min() > 0.5
    assert found.rosetta == list(range(CONTENT))
    assert found.candidates == list(range(CONTENT + PLACED))


def test_among_shuffled_given_images_there_is_nothing_to_find() -> None:
    assert found_in(96, shuffle=True).rosetta == []


# A folder of photos


def test_table_of_photos_is_the_definition(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "05.png").write_bytes(b"broken")
    (folder / "notes.txt").write_text("no image")
    done = command(tmp_path, f"data={folder}", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "1 of 30 images are passed over" in done.stdout and "05.png" in done.stdout
    (folder / "05.png").unlink()
    images = torch.stack([target.image for target in ImageFolder(folder, 12)])  # a's size
    assert len(images) == 29
    models = {"a": ToyModel(), "b": ToyModel(5, seed=2), "c": ToyModel(7, seed=3)}
    with torch.no_grad():
        maps = {n: list(m.maps(images, ["copy", "mix"]).values()) for n, m in models.items()}
    record = dictionary(tmp_path / "run")
    assert record["num_images"] == 29 and record["generator"]["name"] == "a"
    assert record["generator"]["preprocess"]["size"] == [12, 12]
    for name in "bc":
        expected = torch.from_numpy(pooled_correlation(maps["a"], maps[name]))
        found = tables(tmp_path / "run")[name].double()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    page = (tmp_path / "run" / "index.html").read_text()
    assert "The images were given" in page and (tmp_path / "run" / "page").is_dir()


@pytest.mark.slow
def test_batches_and_processes_change_nothing(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    how = [f"images={folder}", "cache=false"]
    one = tables(run(tmp_path, "one", *how, "batch_size=4"))
    other = tables(run(tmp_path, "other", *how, "batch_size=13"))
    share = ["trainer.devices=2", "trainer.strategy=ddp"]
    two = tables(run(tmp_path, "two", *how, *share, within=False))
    assert one.keys() == two.keys() == {"a", "b", "c"}
    for name, table in one.items():
        torch.testing.assert_close(other[name], table, atol=1e-6, rtol=0)
        torch.testing.assert_close(two[name], table, atol=1e-6, rtol=0)
    assert dictionary(tmp_path / "one")["num_images"] == 30


@pytest.mark.slow
def test_the_first_so_many_are_taken(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    few = run(tmp_path, "few", f"images={folder}", "num_images=9")
    for path in sorted(folder.iterdir())[9:]:
        path.unlink()
    alone = run(tmp_path, "alone", f"images={folder}")
    for name, table in tables(few).items():
        assert table.equal(tables(alone)[name])
    done = command(tmp_path, f"images={folder}", "hydra.run.dir=again")
    assert "Neighbours from the cache" in done.stdout


def test_the_key_holds_the_images_and_how_models_want_them() -> None:
    def key(inputs: GivenImages, size: int = 12) -> str:
        watch = Observer(ShownImages(), {"a": ToyModel(size), "b": ToyModel(5)})
        disc = {"a": {"size": size}}
        return fingerprint(watch, inputs, None, "pooled", {"disc": disc}, 4, Evidence())

    class Changed(Random):
        def __getitem__(self, index: int) -> Target:
            target = super().__getitem__(index)
            target.image[0, 0, 0] += 0.004 * (index == 5)
            return target

    same = GivenImages(Random(8), 8).checked()
    assert key(same) == key(GivenImages(Random(8), 8).checked())
    others = [GivenImages(Changed(8), 8), GivenImages(Random(8), 7), GivenImages(Random(9), 9)]
    assert len({key(same), key(same, 9), *(key(other.checked()) for other in others)}) == 5


def test_labels_in_turn_are_classes() -> None:
    def classes(*labels: int | None) -> list[int]:
        return GivenImages(Random(12, labels), 12).checked().classes

    assert classes(4, 1, 7) == [4, 1, 7]
    assert classes(4, 4, 7) == []
    assert classes(4, None) == []
    assert classes(3) == [3]


def test_no_image_that_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"broken")
    with pytest.raises(RosettaError, match="None of the 1 images can be read"):
        GivenImages(ImageFolder(folder, 8), 5).checked()


# A reference of one's own


@pytest.mark.slow
def test_reference_on_generated_images(tmp_path: Path) -> None:
    """The generator makes the images and is no part of the dictionary; its weights matter."""
    generator = [*GENERATOR, "num_images=30"]
    done = command(tmp_path, *generator, *TOYS, "reference=b", "hydra.run.dir=own", toys=False)
    assert done.returncode == 0, done.stderr
    done = command(tmp_path, *generator, *TOYS, "hydra.run.dir=usual", toys=False)
    assert done.returncode == 0, done.stderr
    own, usual = tables(tmp_path / "own"), tables(tmp_path / "usual")
    assert own.keys() == {"a", "b", "c"} and usual.keys() == {"a", "b", "c", "toy"}
    statistics = [load_file(tmp_path / f / "statistics.safetensors") for f in ("own", "usual")]
    torch.testing.assert_close(statistics[0]["a/copy/mean"], statistics[1]["a/copy/mean"])
    record = dictionary(tmp_path / "own")
    assert record["generator"]["name"] == "b"
    assert list(record["discriminative"]) == ["a", "c"]
    other = command(
        tmp_path, *generator, *TOYS, "seed=1", "reference=b", "hydra.run.dir=other", toys=False
    )
    assert "Neighbours from the cache" not in other.stdout


@pytest.mark.slow
def test_sweep_over_references(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    done = command(
        tmp_path, "--multirun", f"images={folder}", "reference=a,c", "hydra.sweep.dir=sweep"
    )
    assert done.returncode == 0, done.stderr
    one, two = (tables(tmp_path / "sweep" / job) for job in "01")
    torch.testing.assert_close(one["c"], two["a"].t(), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_resumed(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    first = run(tmp_path, "run", f"data={folder}", "reference=c")
    before = dictionary(first)
    done = command(tmp_path, "resume=run", *TOYS[:8], toys=False)
    assert done.returncode == 0, done.stdout + done.stderr
    after = dictionary(first)
    assert after["generator"]["name"] == "c" and after["neurons"] == before["neurons"]


def test_untrained_leaves_the_reference_as_it_is() -> None:
    def weights(**cfg: object) -> tuple[dict[str, str | None], list[str]]:
        disc = {"a": {"weights": "x"}, "b": {"weights": "y"}, "c": {}}
        copy, kept = control.untrained(OmegaConf.create({"gen": None, "disc": disc, **cfg}))
        return {name: entry.get("weights") for name, entry in copy.disc.items()}, kept

    assert weights() == ({"a": "x", "b": "random", "c": None}, ["c"])
    assert weights(reference="b") == ({"a": "random", "b": "y", "c": None}, ["c"])
    everyone = ({"a": "random", "b": "random", "c": None}, ["c"])
    assert weights(gen={"name": "toy"}) == everyone


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    first(
        9,
        [
            (["gen=null"], "data=fashion_scenes"),
            (["gen=null", "images=/nowhere"], "there is no such file or folder"),
            (["data=fashion_scenes"], "generated or given, not both"),
            (["images=."], "generated or given, not both"),
            (["data=."], "generated or given, not both"),
            (["gen=null", "data=fashion_scenes", "psi=0.5"], "psi=0.5: without a generator"),
            (["gen=null", "data=fashion_scenes", "classes=3"], "classes=3: without a generator"),
            (["gen=null", "data=fashion_scenes", "reference=vgg"], "Choose from resnet_fashion"),
            (["reference=vgg"], "Choose from stylegan2_fashion, resnet_fashion"),
            (["gen=null", "data=fashion_scenes", "disc=[mae_fashion]"], "Name two"),
            (["gen=null", "data=imagenet_val"], "] - data.root is not given"),
            (["gen=null", "data=samples", "null=within_class"], "one of each class in turn"),
            (["gen=null", "data=samples", "reference=all", "k_gen=3"], "there is one k"),
            (["gen=null", "data=samples", "reference=all", "control=untrained"], "there is one k"),
            (["gen=null", "data=samples", "num_images=0"], "num_images=0"),
            (["data=null"], "data=null"),
        ],
    ),
)
def test_mistakes_are_told_in_two_lines(arguments: list[str], words: str, tmp_path: Path) -> None:
    quick = ["trainer.accelerator=cpu", "hydra.run.dir=run"]
    done = command(tmp_path, *arguments, *quick, toys=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert words in said and "Traceback" not in said
    assert len(said.split("[ERROR] - ")[-1].strip().splitlines()) <= 2
    assert not (tmp_path / "run" / "dictionary.json").exists()
