"""What a process that is asked to end does: Ctrl-C, and SIGTERM of ``kill`` and schedulers."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import words
from PIL import Image

STORED = Path(__file__).parents[1] / "stored"
QUIET = "trainer.enable_progress_bar=false"
ENDLESS = {
    "mine": ("num_images=1000000", "disc=[resnet_fashion]", "cache=false", QUIET),
    "invert": ("images=navy.png", "label=7", "matches=dino_resnet_fashion", "steps=1000000", QUIET),
    "edit": ("steps=1000000", "controls=false", QUIET),
    "visualize": ("images=6", "steps=1000000", QUIET),
    "ablate": ("images=navy.png", "draws=100000", QUIET),
    "diff": ("num_images=10000", "cache=false", QUIET),
    "retrieve": ("num_images=10000", QUIET),
    "compare": ("runs=[inverted_plain,inverted_all]", "resamples=1000000000"),
}


def asked(command: str, number: signal.Signals, folder: Path, sign: str = "run/.hydra") -> str:
    """What a command says that is asked to end once ``sign`` is there; it must end at once."""
    shutil.copytree(STORED, folder, dirs_exist_ok=True)
    Image.new("RGB", (64, 64), "navy").save(folder / "navy.png")
    arguments = (*ENDLESS[command], "hydra.run.dir=run")
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            words(command, *arguments), cwd=folder, stdout=said, stderr=said, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 200
            while not (folder / sign).exists() and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            time.sleep(3)  # in the middle of it
            assert process.poll() is None, (folder / "said").read_text()
            process.send_signal(number)
            assert process.wait(timeout=60) == 128 + number
        finally:
            process.kill()
    return (folder / "said").read_text()


def check_farewell(said: str, command: str, number: signal.Signals) -> None:
    assert "Traceback" not in said
    first, second = said.strip().splitlines()[-2:]
    assert first.startswith(f"Ended by {number.name}")
    assert f"python -m rosetta_lab.{command}" in second


@pytest.mark.slow
def test_asked_to_end_in_the_middle_of_a_batch(tmp_path: Path) -> None:
    said = asked("invert", signal.SIGTERM, tmp_path)
    check_farewell(said, "invert", signal.SIGTERM)
    assert f"resume={tmp_path}/run" in said
    assert not (tmp_path / "run" / "results" / "navy").exists()


@pytest.mark.slow
def test_asked_to_end_while_mining(tmp_path: Path) -> None:
    check_farewell(asked("mine", signal.SIGINT, tmp_path), "mine", signal.SIGINT)
    assert not (tmp_path / "run/dictionary.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ENDLESS)
def test_every_command_ends_with_a_word(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    check_farewell(asked(command, number, tmp_path), command, number)


def test_asked_to_end_before_it_begins(tmp_path: Path) -> None:
    """While Python imports, which takes seconds."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *words("mine")[1:]],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.endswith(" torch.nn.modules.conv\n"):
            process.send_signal(signal.SIGINT)
            break
    said += process.stderr.read()
    assert process.wait(timeout=60) in (-signal.SIGINT, 128 + signal.SIGINT)
    assert "Traceback" not in said
