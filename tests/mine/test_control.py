"""Untrained networks beside the trained ones of a run."""

from __future__ import annotations

import json
import re
from statistics import median

import pytest
import torch
from commands import call
from mined_toys import observer
from omegaconf import OmegaConf

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.metrics.activations import UnitGroups
from rosetta_lab.mine.control import untrained
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.outcome import checked_inputs
from rosetta_lab.models.units import Layer

ARGUMENTS = [
    "disc=[resnet_fashion,clip_fashion]",
    "+disc.toy={_target_:toy.ToyModel,layers:[copy]}",  # a model from outside, without weights
    "num_images=40",
    "k=3",
    "blocks=1",
    "page_images=4",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[RosettaDictionary, str, str]]:
    """The same run with the control, alone, and with networks that are untrained to begin with."""
    folder = tmp_path_factory.mktemp("runs")
    found: dict[str, tuple[RosettaDictionary, str, str]] = {}
    for name, more in {
        "control": ["control=untrained"],
        "alone": [],
        "random": ["pretrained=false"],
        "random by the paper": ["pretrained=false", "null=none"],
    }.items():
        run = folder / name.replace(" ", "_")
        done = call(
            "mine", *ARGUMENTS, *more, f"hydra.run.dir={run}", cwd=folder,
            ROSETTA_CACHE=str(folder / "cache"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        page = " ".join((run / "index.html").read_text(encoding="utf-8").split())
        found[name] = RosettaDictionary.load(run), done.stdout, page
    return found


@pytest.mark.slow
def test_the_control_is_a_run_of_untrained_models(runs) -> None:
    counts = runs["control"][0].summary["controls"]["untrained"]
    random = runs["random"][0]
    assert counts["best_buddies"] == random.summary["best_buddies"]
    assert counts["null"] == random.summary["null"]
    assert counts["rosetta_neurons"] == len(random.neurons) > 0
    assert counts["median_score"] == pytest.approx(median(n.score for n in random.neurons))
    paper = runs["random by the paper"][0].neurons
    assert counts["candidates"] == len(paper)
    assert counts["candidates_median_score"] == pytest.approx(median(n.score for n in paper))
    assert counts["best_buddies"] != runs["alone"][0].summary["best_buddies"]


@pytest.mark.slow
def test_the_run_itself_stays_as_it_is(runs) -> None:
    beside, alone = (json.loads(json.dumps(runs[n][0].to_json())) for n in ("control", "alone"))
    assert beside["neurons"] == alone["neurons"]
    for record in (beside, alone):
        del record["created"], record["summary"]["seconds"], record["config"]["control"]
    counts = beside["summary"].pop("controls")
    assert beside == alone
    assert beside["config"]["disc"]["resnet_fashion"]["weights"].startswith("package://")
    assert counts["untrained"]["kept"] == ["toy"]


@pytest.mark.slow
def test_it_says_what_was_found_and_who_was_left_out(runs) -> None:
    counts = runs["control"][0].summary["controls"]["untrained"]
    said = runs["control"][1]
    assert f"Untrained, the same architectures have {counts['candidates']} by" in said
    assert f"{counts['rosetta_neurons']} are accepted" in said
    assert "toy came without weights" in said
    assert "Untrained" not in runs["alone"][1]


@pytest.mark.slow
def test_the_page_shows_them_beside_the_trained_ones(runs) -> None:
    made, _, page = runs["control"]
    assert "<h3>Untrained networks</h3>" in page
    _, after = page.split("<h3>Untrained networks</h3>")
    counts = made.summary["controls"]["untrained"]
    trained = median(neuron.score for neuron in made.candidates)
    assert f"have {counts['candidates']} Rosetta neurons by the paper" in after
    score = counts["candidates_median_score"]
    assert f"(median score {score:.2f}, trained {trained:.2f})" in after
    assert f"and {counts['rosetta_neurons']} are accepted" in after
    assert "toy came without weights" in after
    for name in ("resnet_fashion", "clip_fashion"):
        row = re.search(f'<th scope="row">{name}</th>(.*?)</tr>', after)
        assert row is not None
        expected = []
        for key in (None, "accepted_best_buddies", "shuffled_best_buddies"):
            for one in (made.summary, counts):
                found = one["null"][key] if key else one["best_buddies"]
                expected.append(str(round(found[name])))
        assert re.findall("<td>(.*?)</td>", row[1]) == expected
    assert "Untrained networks" not in runs["alone"][2]


def test_the_config_of_the_run_is_not_touched() -> None:
    cfg = OmegaConf.create(
        {
            "gen": {"name": "g"},
            "disc": {"a": {"_target_": "x", "weights": "pretrained"}, "b": {"_target_": "y"}},
        }
    )
    copy, kept = untrained(cfg)
    assert (cfg.disc.a.weights, copy.disc.a.weights, kept) == ("pretrained", "random", ["b"])
    cfg.reference = "a"  # which stays trained
    copy, kept = untrained(cfg)
    assert (copy.disc.a.weights, kept) == ("pretrained", ["b"])


CONFIG = {
    "null": "shuffled", "draws": None, "blocks": None, "max_fdr": 0.05, "center": None,
    "control": None, "correlation": "pooled", "k_gen": 5, "k_disc": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("control", "random", r"control=random.*\n.*shuffled, untrained"),
        ("center", "positon", r"center=positon.*\n.*position"),
        ("null", "other", r"null=other.*\n.*within_class"),
        ("draws", 0, r"draws=0: expected a whole number"),
        ("blocks", 1.5, r"blocks=1.5: expected a whole number"),
        ("max_fdr", 0, r"max_fdr=0: expected a rate"),
        ("max_fdr", 5, r"max_fdr=5: expected a rate"),
        ("max_fdr", "5%", r"max_fdr=5%: expected a rate"),
    ],
)
def test_a_value_that_there_is_not_is_named(key: str, value: object, said: str) -> None:
    with pytest.raises(RosettaError, match=said):
        Evidence.of(OmegaConf.create(CONFIG | {key: value}))


UNITS = {x: UnitGroups([Layer("layer", 3, 4, 4)], torch.zeros(3)) for x in ("gen", "disc")}


@pytest.mark.parametrize(
    ("images", "changed"),
    [(40, {"null": "none"}), (40, {"correlation": "batch_mean"}), (2, {})],
)
def test_what_cannot_be_shuffled_is_no_control(images: int, changed: dict[str, str]) -> None:
    evidence = Evidence.of(OmegaConf.create(CONFIG | {"control": "shuffled"} | changed))
    with pytest.raises(RosettaError, match="nothing to shuffle"):
        evidence.grouping(images, 0, UNITS)


@pytest.mark.parametrize("changed", [{"null": "none"}, {"correlation": "batch_mean"}])
def test_matching_without_position_needs_a_null(changed: dict[str, str]) -> None:
    """Which sums the mean maps; it was a traceback after the pass."""
    evidence = Evidence.of(OmegaConf.create(CONFIG | {"center": "position"} | changed))
    with pytest.raises(RosettaError, match=r"center=position: with null=none and 40 .*\nKeep null"):
        evidence.grouping(40, 0, UNITS)
    of_one = Evidence.of(OmegaConf.create(CONFIG | {"center": "position"}))
    with pytest.raises(RosettaError, match="center=position: with null=shuffled and 1 images"):
        of_one.grouping(1, 0, UNITS)


@pytest.mark.parametrize(("images", "classes"), [(15, 10), (7, 7), (1, 1)])
def test_classes_of_one_image_cannot_be_shuffled(images: int, classes: int) -> None:
    """It was a run without a null, and without a word."""
    with pytest.raises(RosettaError, match=rf"{images} images of {classes} classes, and every"):
        Evidence("within_class").grouping(images, classes, UNITS)
    assert Evidence("within_class").grouping(2 * classes, classes, UNITS).draws == 1


def test_a_generator_without_classes_cannot_be_shuffled_within_them() -> None:
    """Any images were paired, as if null=shuffled had been asked for."""
    cfg = OmegaConf.create(
        {
            "null": "within_class",
            "classes": None,
            "num_images": 30,
            "seed": 0,
            "gen": {"latent": {}},
        }
    )
    with pytest.raises(RosettaError, match=r"null=within_class: .*\nChoose .*null=shuffled"):
        checked_inputs(cfg, observer())
    cfg["null"] = "shuffled"
    assert len(checked_inputs(cfg, observer())) == 30


@pytest.mark.parametrize(
    ("images", "units", "draws"),
    [(1000, (400, 5000), 1), (999, (400, 5000), 3), (1000, (399, 5000), 3), (1000, (5000, 399), 3)],
)
def test_few_images_or_units_are_shuffled_more_often(
    images: int, units: tuple[int, int], draws: int
) -> None:
    own, other = (UnitGroups([Layer("layer", n, 1, 1)], torch.zeros(n)) for n in units)
    assert Evidence().grouping(images, 0, {"gen": own, "disc": other}).draws == draws


@pytest.mark.parametrize(
    ("images", "units", "blocks"),
    [
        (10_000, 400, 20),  # at most so many
        (450, 400, 9),  # of at least 50 images
        (49, 400, 1),
        (1000, 4096, 2),  # 0.5 GiB of sums each: 8 bytes for 4096 x 8192 units, true and shuffled
        (1000, 8192, 1),  # one has more than fits
    ],
)
def test_blocks_are_as_many_as_fit_and_hold_images_enough(
    images: int, units: int, blocks: int
) -> None:
    groups = {x: UnitGroups([Layer("l", units, 1, 1)], torch.zeros(units)) for x in ("gen", "disc")}
    assert Evidence().grouping(images, 0, groups).blocks == blocks


@pytest.mark.parametrize("null", ["shuffled", "within_class", "none"])
@pytest.mark.parametrize("blocks", [None, 1000])
@pytest.mark.parametrize("draws", [1, 2, 3])
def test_no_block_is_empty(null: str, blocks: int | None, draws: int) -> None:
    evidence = Evidence(null, draws=draws, blocks=blocks)  # type: ignore[arg-type]
    least = 2 if null == "within_class" else 1
    for images, classes in [(least, 0), (5, 0), (40, 7), (41, 3), (1000, 10), (10_000, 1000)]:
        grouping = evidence.grouping(images, classes, UNITS)
        found = {grouping.block(image) for image in range(images)}
        assert found == set(range(grouping.blocks))
