"""Untrained networks beside the trained ones of a run."""

from __future__ import annotations

import json
from statistics import median

import pytest
from commands import call
from omegaconf import OmegaConf

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine.control import untrained
from rosetta_lab.mine.null import Evidence

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
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[RosettaDictionary, str]]:
    """The same run with the control, alone, and with networks that are untrained to begin with."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
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
        found[name] = RosettaDictionary.load(run), done.stdout
    return found


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


def test_the_run_itself_stays_as_it_is(runs) -> None:
    beside, alone = (json.loads(json.dumps(runs[n][0].to_json())) for n in ("control", "alone"))
    assert beside["neurons"] == alone["neurons"]
    for record in (beside, alone):
        del record["created"], record["summary"]["seconds"], record["config"]["control"]
    counts = beside["summary"].pop("controls")
    assert beside == alone
    assert beside["config"]["disc"]["resnet_fashion"]["weights"].startswith("package://")
    assert counts["untrained"]["kept"] == ["toy"]


def test_it_says_what_was_found_and_who_was_left_out(runs) -> None:
    counts = runs["control"][0].summary["controls"]["untrained"]
    said = runs["control"][1]
    assert f"Untrained, the same architectures have {counts['candidates']} by" in said
    assert f"{counts['rosetta_neurons']} are accepted" in said
    assert "toy came without weights" in said
    assert "Untrained" not in runs["alone"][1]


def test_the_config_of_the_run_is_not_touched() -> None:
    cfg = OmegaConf.create(
        {"disc": {"a": {"_target_": "x", "weights": "pretrained"}, "b": {"_target_": "y"}}}
    )
    copy, kept = untrained(cfg)
    assert (cfg.disc.a.weights, copy.disc.a.weights, kept) == ("pretrained", "random", ["b"])


def test_an_unknown_control_lists_what_there_is() -> None:
    with pytest.raises(RosettaError, match=r"control=random.*\n.*shuffled, untrained"):
        Evidence.of(OmegaConf.create({"control": "random", "correlation": "pooled"}))
