"""What of an address is nobody else's business stays with whoever typed it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import first
from commands import call
from file_server import file_server

from rosetta_lab.files import PACKAGE
from rosetta_lab.run.addresses import hidden, whole

SECRETS = (b"somebody", b"pass%20word", b"abcdef", b"Expires", b"s3cr3t")
OPTIONS = ("disc=[resnet_fashion]", "num_images=8", "page_images=2", "k=2", "null=none")


@pytest.mark.slow
@pytest.mark.parametrize("by", first(1, ["the command line", "a config"]))
def test_a_run_keeps_no_secret(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on paper nor on the screen; and what it has fetched is found again, offline."""
    for name in ("HF_HUB_OFFLINE", "ROSETTA_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    path = "/model.safetensors?version=2&X-Amz-Signature=abcdef&Expires=9"
    with file_server() as server:
        data = (PACKAGE / "zoo/weights/resnet_fashion.safetensors").read_bytes()
        address = server.serve(path, data).replace("://", "://somebody:pass%20word@")
        if by == "a config":
            group = tmp_path / "mine/disc"
            group.mkdir(parents=True)
            text = (PACKAGE.parent / "conf/disc/resnet_fashion.yaml").read_text()
            line = next(line for line in text.splitlines() if line.startswith("weights:"))
            text = text.replace(line, f"weights: '{address}'").replace("resnet_fashion", "own")
            (group / "own.yaml").write_text(text)
            told = ("--config-dir=mine", "disc=[own]", *OPTIONS[1:])
        else:
            told = (f"disc.resnet_fashion.weights='{address}'", *OPTIONS)
        done = call("mine", *told, "logger=[csv,tensorboard]", "hydra.run.dir=run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert server.logins == ["Basic c29tZWJvZHk6cGFzcyB3b3Jk"]
    written = [p for top in ("run", "cache") for p in (tmp_path / top).rglob("*") if p.is_file()]
    assert b"model.safetensors?version=2&..." in (tmp_path / "run/dictionary.json").read_bytes()
    for secret in SECRETS:
        assert secret.decode() not in done.stdout + done.stderr
        leaks = [str(path) for path in written if secret in path.read_bytes()]
        assert not leaks, secret
    trust = "--config-dir=mine" if by == "a config" else "trust_sources=true"
    look = ("dictionary=run", "images=2", "shown=1", "steps=1", "seeds=0", trust)
    done = call("visualize", *look, cwd=tmp_path, ROSETTA_OFFLINE="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "word",
    [
        "weights=http://host/a?sig=1",
        "weights='http://host/a,b?sig=1,2'",
        'weights="http://me:word@host/a?version=3&sig=1"',
        "weights=http://me:word@host/a,HTTPS://host/b?sig=1",
        "x=[http://host/a?sig=1,{y: 'https://me:word@host/b'}]",
    ],
)
def test_words(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROSETTA_ADDRESSES", raising=False)
    shown = hidden(word)
    assert "sig" not in shown and "word" not in shown and ",2" not in shown
    assert hidden(shown) == shown
    assert whole("http://host/a?...") in ("http://host/a?sig=1", "http://host/a?...")


@pytest.mark.parametrize(
    "word", ["weights=http://host/a.pkl", "x=a/b", "weights=file:///a?b#c", "x=package://a/b"]
)
def test_other_words_stay_as_they_are(word: str) -> None:
    assert hidden(word) == word
