"""The wheel works without the clone, from any folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from commands import process
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the source distribution, so that this must be complete as well."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the unpacked package; its dependencies are those of the running interpreter."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    return target


def tracked(*patterns: str) -> set[str]:
    """Files of the clone, relative to its root."""
    return {
        str(path.relative_to(ROOT))
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_package_and_its_assets_and_nothing_else(wheel: Path) -> None:
    code = tracked("rosetta_lab/**/*")
    configs = tracked("conf/**/*", "experiments/**/*.yaml")
    assets = {f"rosetta_lab/assets/{name}" for name in configs}
    assert any(name.startswith("rosetta_lab/assets/conf/") for name in assets)
    assert any(name.endswith(".safetensors") for name in code)
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in inside if ".dist-info/" not in name} == code | assets


@pytest.mark.slow
def test_a_small_run_from_another_folder(installed: Path, tmp_path: Path) -> None:
    how = ["num_images=8", "disc=[resnet_fashion]", "cache=false"]
    done = process("mine", *how, cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    (dictionary,) = tmp_path.rglob("dictionary.json")
    assert dictionary.with_name("index.html").is_file()
    assert not list(installed.rglob("outputs"))
    hydra = OmegaConf.load(dictionary.parent / ".hydra" / "hydra.yaml").hydra
    read = {source.path for source in hydra.runtime.config_sources}
    assets = installed / "rosetta_lab" / "assets"
    assert str(assets / "conf") in read  # beside the code that ran
    # Hydra takes all folders beside it for groups: with the package's, dictionary= would be one.
    assert {path.name for path in assets.iterdir()} == {"conf", "experiments"}
