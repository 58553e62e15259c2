"""Where runs write: folders of their own, and what happens where nothing can be written."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from cases import first
from checkpoint_checks import no_room
from commands import Done, call
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf
from toy_runs import MINE

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.files import save_tensors, write_csv
from rosetta_lab.run import configs
from rosetta_lab.run.loggers import TableLogger, run_id

STORED = Path(__file__).parents[1] / "stored"
OPTIONS = ("disc=[resnet_fashion]", "num_images=8", "page_images=2", "k=2", "null=none")
QUIET = "trainer.enable_progress_bar=false"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "runs"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def told(done: Done) -> str:
    """What an error says, in two lines."""
    assert done.returncode == 1
    said = (done.stdout + done.stderr).strip()
    assert "Traceback" not in said
    assert len(said.split("[ERROR] - ")[-1].splitlines()) == 2
    return said


# folders of their own


class OneSecond:
    """A clock that stands still."""

    @staticmethod
    def now() -> OneSecond:
        return OneSecond()

    def __format__(self, form: str) -> str:
        return "2026-01-02_03-04-05"


@pytest.mark.parametrize("multirun", [False, True])
def test_runs_of_the_same_second(
    multirun: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configs, "datetime", OneSecond)
    words = ["runs=[inverted_plain,inverted_all]", "resamples=10"]
    for level in (0.5, 0.6):
        arguments = ["--multirun", f"level={level},0.7"] if multirun else [f"level={level}"]
        assert call("compare", *arguments, *words, cwd=folder).returncode == 0
    top = folder / "outputs/compare" / ("multirun" if multirun else "")
    names = ["2026-01-02_03-04-05", "2026-01-02_03-04-05_2"]
    assert sorted(path.name for path in top.iterdir()) == names
    for name, level in zip(names, (0.5, 0.6), strict=True):
        run = top / name / ("0" if multirun else "")
        assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["level"] == level
        assert (run / "comparison.csv").is_file()
        assert not multirun or (top / name / "1/comparison.csv").is_file()


@pytest.mark.parametrize(
    "command", ["mine", "invert", "edit", "visualize", "ablate", "compare", "diff", "retrieve"]
)
def test_every_command_has_such_folders(command: str) -> None:
    own = OmegaConf.load(Path(configs.asset_root()) / f"conf/{command}.yaml")
    found = OmegaConf.to_container(own, resolve=False)["hydra"]
    resumed = "${resume}" if "resume" in own else "null"
    assert found["run"]["dir"] == f"${{rosetta_run_dir:{command},{resumed}}}"
    assert found["sweep"]["dir"] == f"${{rosetta_run_dir:{command}/multirun,null}}"


def test_modes_follow_the_umask(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        options = ["dictionary=mined", "data.path=photos", "matches=none", "steps=1", QUIET]
        done = call("invert", *options, "hydra.run.dir=run", cwd=folder)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    for path in (folder / "run").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path


@pytest.mark.slow
def test_home_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    words = yaml.safe_load((folder / "inverted_plain/.hydra/overrides.yaml").read_text())
    moved = [word.replace("=mined", "='~/mined'") for word in words]
    moved = [word.replace("=photos", "='~/photos'") for word in moved]
    (folder / "inverted_plain/.hydra/overrides.yaml").write_text(yaml.safe_dump(moved))
    (folder / "inverted_plain/settings.yaml").unlink()
    shutil.rmtree(folder / "inverted_plain/results/coat_red")
    done = call("invert", "resume=~/inverted_plain", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert (folder / "inverted_plain/results/coat_red/result.json").is_file()
    start = ["dictionary=~/mined", "images=~/photos", "matches=none", "steps=1", QUIET]
    done = call("invert", *start, "start=~/inverted_plain", "hydra.run.dir=run", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    runs = "runs=[~/inverted_plain,~/inverted_all]"
    assert call("compare", runs, "resamples=10", cwd=elsewhere).returncode == 0
    assert not list(elsewhere.rglob("~"))
    said = told(call("compare", "runs=['~nobody_at_all/x',a]", cwd=elsewhere))
    assert "~nobody_at_all" in said


# runs that go on


def test_a_refused_run_leaves_the_notes_of_the_former(folder: Path) -> None:
    notes = {p: p.read_bytes() for p in (folder / "inverted_plain/.hydra").rglob("*.yaml")}
    said = told(call("invert", "resume=inverted_plain", "steps=7", cwd=folder))
    assert "other settings" in said
    assert {p: p.read_bytes() for p in (folder / "inverted_plain/.hydra").rglob("*")} == notes
    assert call("invert", "resume=inverted_plain", cwd=folder).returncode == 0


def test_a_run_that_goes_on_notes_how(folder: Path) -> None:
    shutil.rmtree(folder / "inverted_plain/results")
    assert call("invert", "resume=inverted_plain", "steps=7", cwd=folder).returncode == 0
    notes = folder / "inverted_plain/.hydra"
    assert "steps=7" in yaml.safe_load((notes / "overrides.yaml").read_text())
    assert yaml.safe_load((notes / "config.yaml").read_text())["steps"] == 7
    assert not [path for path in notes.iterdir() if path.is_dir()]


def test_tables_of_the_former_run_stay(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        logger = TableLogger(tmp_path, name="", version="csv")
        logger.log_metrics({"loss": value}, step=0)
        logger.save()
    values = {
        path.name: [row["loss"] for row in csv.DictReader(path.open())]
        for path in (tmp_path / "csv").iterdir()
    }
    assert values == {"metrics_1.csv": ["1.0"], "metrics_2.csv": ["2.0"], "metrics.csv": ["3.0"]}
    assert issubclass(TableLogger, CSVLogger)


def test_a_runs_id_is_one(tmp_path: Path) -> None:
    """It is sent to W&B; a file of others may hold anything, or be a link to it."""
    known = run_id(tmp_path)
    assert run_id(tmp_path) == known
    (tmp_path / "run_id.txt").write_text("machine example.org login me password s3cr3t")
    assert "s3cr3t" not in run_id(tmp_path)
    (tmp_path / "secret").write_text("abc")
    (tmp_path / "run_id.txt").unlink()
    (tmp_path / "run_id.txt").symlink_to(tmp_path / "secret")
    assert run_id(tmp_path) != "abc" == (tmp_path / "secret").read_text()


# where nothing can be written


@pytest.mark.parametrize("where", [(), ("hydra.run.dir=outputs/run",), ("--multirun", "k=1,2")])
def test_a_place_that_is_no_folder(where: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()
    assert "cannot write outputs" in told(call("mine", *OPTIONS, *where, cwd=tmp_path))


def test_a_disk_that_is_full(folder: Path) -> None:
    with no_room():
        done = call("compare", "runs=[inverted_plain,inverted_all]", "resamples=10", cwd=folder)
    assert "cannot write outputs" in told(done)


@pytest.mark.parametrize("what", ["logged", "written"])
def test_a_disk_that_becomes_full(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After everything was optimised."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(folder / "run/x"))

    if what == "logged":
        monkeypatch.setattr(TableLogger, "save", full)
    else:
        monkeypatch.setattr(Path, "write_text", full)
    options = ["dictionary=mined", "data.path=photos", "matches=none", "steps=1", QUIET]
    done = call("invert", *options, "hydra.run.dir=run", cwd=folder)
    assert f"cannot write {folder}/run" in told(done)


@pytest.fixture(params=["a file", "of others", "full"])
def no_cache(request: pytest.FixtureRequest, cache: Path) -> Iterator[None]:
    if request.param == "a file":
        cache.touch()
    elif request.param == "of others":
        cache.mkdir()
        cache.chmod(0o777)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rosetta_lab.mine.cache.save_tensors", _no_space)
            yield
            return
    yield


def _no_space(path: Path, *_: object) -> None:
    with no_room():
        save_tensors(path, {"x": torch.zeros(5000)})


@pytest.mark.slow
@pytest.mark.usefixtures("no_cache")
def test_mining_without_a_cache(tmp_path: Path) -> None:
    """The pass is done, and its dictionary written."""
    done = call("mine", *OPTIONS, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert RosettaDictionary.load(tmp_path / "run").neurons
    assert "ROSETTA_CACHE" in done.stdout + done.stderr


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:-5],
    "flipped": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "empty": lambda data: b"",
    "another": lambda data: b"x" * 100,
}


@pytest.mark.parametrize(
    "damages", [["cut", "flipped"], pytest.param(["empty", "another"], marks=pytest.mark.slow)]
)
def test_the_cache_of_mining_is_private_and_whole(
    damages: list[str], tmp_path: Path, cache: Path
) -> None:
    before = os.umask(0)
    try:
        call("mine", *MINE, "save_tables=false", "hydra.run.dir=first", cwd=tmp_path)
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in (cache, cache / "mining")} == {0o700}
    (kept,) = (cache / "mining").glob("*.safetensors")
    data = kept.read_bytes()
    for damage in damages:
        kept.write_bytes(DAMAGES[damage](data))
        done = call("mine", *MINE, "save_tables=false", "hydra.run.dir=again", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        assert "Mining anew" in said and "from the cache" not in said
        assert kept.read_bytes() == data
    done = call("mine", *MINE, "save_tables=false", "hydra.run.dir=again", cwd=tmp_path)
    assert "from the cache" in done.stdout + done.stderr


@pytest.mark.parametrize("word", first(1, ["logger=[]", "logger=null", "logger="]))
def test_without_a_logger(word: str, folder: Path) -> None:
    done = call("mine", *MINE, word, "hydra.run.dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert not (folder / "run/csv").exists()


def test_tables_hold_no_formulas(tmp_path: Path) -> None:
    signs = ["=1+1", "+x", "-x", "@x", "\tx", "\uff1d1+1", "\uff20x"]
    rows = [["id", *signs], [*signs, -1.5], ["-1.5", "+3", None, float("nan"), "a=b", 7]]
    rows += [["a\rb", "\x1b[2J", "a\nb", "\ud800"]]
    write_csv(tmp_path / "table.csv", rows)
    heads, texts, numbers, ends = csv.reader((tmp_path / "table.csv").open(newline=""))
    assert heads == ["id", *(f"'{sign}" for sign in signs)]
    assert texts == [*(f"'{sign}" for sign in signs), "-1.5"]
    assert numbers == ["-1.5", "+3", "", "nan", "a=b", "7"]
    assert ends == ["a\\x0db", "\\x1b[2J", "a\nb", "\\ud800"]
