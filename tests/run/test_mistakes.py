"""Bad input of every command: two lines that name the value and say what was expected."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from commands import call
from toy_runs import MINE, QUIET

STORED = Path(__file__).parents[1] / "stored"
PLAIN = ("images=photos", "matches=none", "steps=1", *QUIET)
BOTH = "runs=[inverted_plain,inverted_all]"
WHOLE, NUMBER = "expected a whole number from 1 on", "expected a number"
# Command and what it always has: one bad input in each line, and what is said of it.
MISTAKES = {
    ("mine", *QUIET): r"""
        num_images=0                    num_images=0: expected a whole number from 1 on
        num_images=many                 num_images=many: expected a whole number from 1 on
        batch_size=0                    batch_size=0: expected auto or a whole number
        seed=abc                        seed=abc: expected a whole number from 0 on
        psi=abc                         psi=abc: expected a number
        k=two                           k=two: expected a whole number
        gen=stylegan9                   gen=stylegan9: .*\n.*stylegan2_fashion
        logger=nothing                  logger=nothing: .*\n.*tensorboard
        trainer=tpu                     trainer=tpu: .*\n.*auto, cpu, ddp, gpu, slurm
        trainer.accelerator=tpu         trainer: .*\n.*accelerator=tpu.*trainer=cpu
        trainer.strategy=ddp_spawn      trainer.strategy: .*\n.*trainer.strategy=ddp
        +trainer.foo=1                  trainer: .*foo.*\n
        resume=nowhere                  resume=nowhere: this is not a run folder
        hydra.run.dir=/proc/x           cannot write /proc/x
        num_imagez=3                    did you mean num_images
        num_images                      num_images: cannot be read
        =3                              =3: cannot be read
        k=(                             k=\(: cannot be read
    
    """,
    ("invert", *PLAIN): r"""
        steps=0                         steps=0: expected a whole number from 1 on
        lr=-1                           lr=-1: expected null or a number above 0
        beta=x                          beta=x: expected a number
        rampup=2                        rampup=2: expected a number from 0 to 1
        data=nothing                    data=nothing: .*\n.*fashion_scenes
        dictionary=nowhere              No dictionary at nowhere
        dictionary=broken               broken/dictionary.json is not JSON
        matches=3                       matches=3: expected a name
        k=x                             k=x: expected null or a whole number
        pairs=0                         pairs=0: expected null or a whole number
        neurons=x                       neurons=x: expected null or a whole number
        pti.steps=-1                    pti.steps=-1: expected a whole number from 0 on
        zoo=nothing                     zoo=nothing: .*\n.*embedded
    """,
    ("edit", "controls=false", "steps=1", *QUIET): r"""
        edit=nothing                    edit=nothing: .*\n.*zoom
        latent.seed=[]                  latent.seed=\[\]: expected a whole number
        latent.seed=x                   latent.seed=x: expected a whole number
        recipe=nowhere                  nowhere
        recipe=list.yaml                recipe=list.yaml: it holds no edit
        frames=-1                       frames=-1: expected a whole number from 0 on
        reference_images=0              reference_images=0: expected a whole number
        trainer.devices=2               trainer.devices=2.*\nUse trainer.devices=1
    """,
    ("visualize", "steps=1", *QUIET): r"""
        neuron=x                        neuron=x: expected null or a whole number
        shown=500                       shown=500: expected 1 to images=400
        seeds=[]                        seeds=\[\]: expected a whole number
        target=x                        target=x: expected null or a whole number
        normalization=x                 normalization=x: .*\n.*cosine
    """,
    ("compare", "resamples=10"): rf"""
        runs=[nowhere]                  nowhere: there are no results
        runs=inverted_plain             runs=inverted_plain: expected a list
        {BOTH} resamples=0              resamples=0: expected a whole number
        {BOTH} level=2                  level=2: expected a number between 0 and 1
        {BOTH} seed=x                   seed=x: expected a whole number
        {BOTH} baseline=nobody          baseline=nobody: there is no such run
        {BOTH} reference=x              reference=x
        {BOTH} reference={{a:x}}        reference=.*: expected null or names
    """,
    ("overlap",): r"""
        dictionaries=[embedded]         expected two run folders
        dictionaries=embedded           dictionaries=embedded: expected a list
        dictionaries=[embedded,nowhere]  No dictionary at nowhere
    """,
    ("bridge", *QUIET): r"""
        dictionaries=[embedded]         expected two run folders
        dictionaries=[embedded,nowhere]  No dictionary at nowhere
        dictionaries=[embedded,mined]   does not say how strong the decoys
        transfer=-1                     transfer=-1: expected
        steps=0                         steps=0: expected a whole number
        pairs=0                         pairs=0: expected
        max_fdr=2                       max_fdr=2: expected a number from 0 to 1
    """,
    ("name", "images=photos", *QUIET): r"""
        dictionary=nowhere              No dictionary at nowhere
        vocabulary=nowhere.txt          vocabulary=nowhere.txt: there is no such file
        vocabulary=text.txt             1 words, expected 2 to
        crops=0                         crops=0: expected a whole number
        lists=0                         lists=0: expected a whole number
        max_chance=2                    max_chance=2: expected a number from 0 to 1
        text=nobody                     text
    """,
    ("plan", "measure=0", "disc=[resnet_fashion]"): r"""
        format=xml                      format=xml
        device=tpu                      device=tpu
        measure=-1                      measure=-1: expected a number from 0 on
        num_images=0                    num_images=0: expected a whole number
        memory=lots                     memory=lots: expected auto, or bytes
        disc=[]                         disc=\[\]: there is no model
    """,
    ("ablate", "images=photos", *QUIET): r"""
        draws=0                         draws=0: expected a whole number
        level=2                         level=2: expected a number between 0 and 1
    """,
    ("diff", "images=photos", *QUIET): r"""
        k=0                             k=0: expected a whole number
        neighbours=x                    neighbours=x: expected a whole number
    """,
    ("retrieve", "images=photos", *QUIET): r"""
        nearest=0                       nearest=0: expected a whole number
        level=2                         level=2: expected a number between 0 and 1
        dictionary=nowhere              No dictionary at nowhere
    """,
    ("bench",): r"""
        nothing                         Usage: python -m rosetta_lab.bench
        mining num_images=0             num_images=0: expected a whole number
        mining gen=x                    gen=x: .*\n.*stylegan2_fashion
        mining layers={x:[y]}           layers.*'x'
        inversion steps=0               steps=0: expected a whole number
        inversion dictionary=nowhere    No dictionary at nowhere
    """,
}
# More of them, and what shows only once models are there.
LATER = {
    ("mine", *MINE): r"""
        num_images=1.5                  num_images=1.5: expected a whole number
        row_blocks=x                    row_blocks=x: expected auto or a whole number
        disk=much                       disk=much: expected auto, or bytes such as 12GB
        psi=nan                         psi=nan: expected a number
        classes=all                     classes=all: expected .*whole
        k_gen=0                         k_gen=0: expected a whole number
        pretrained=maybe                pretrained=maybe: expected true or false
        draws=-1                        draws=-1: expected .*whole number
        blocks=many                     blocks=many: expected .*whole number
        matmul_precision=half           matmul_precision=half: .*\n.*highest
        page_images=0                   page_images=0: expected a whole number
        save_tables=perhaps             save_tables=perhaps: expected true or false
        disc=[resnet9]                  disc=resnet9: .*\n.*resnet50
        experiments=nothing             experiments=nothing: .*\n.*table1
        trainer.devices=0               trainer: .*0.*\n
        trainer.devices=many            trainer: .*\n.*devices=many
        trainer.strategy=foo            trainer: .*foo.*\n
        +trainer.precision=foo          trainer: .*foo.*\n
        memory=lots                     memory=lots: expected auto, or bytes
        memory=1KB                      memory=1KB: .* at least
        classes=[7]                     no class 7
        layers=latest                   layers=latest: expected 'reference' or globs
        layers={a:[nothing]}            a: no layer matches 'nothing'
        weights=trained                 weights=trained: expected null or random
        correlation=mean                correlation=mean: .*\n.*pooled, batch_mean
        null=maybe                      null=maybe: .*\n.*within_class
        max_fdr=2                       max_fdr=2: expected a rate
        center=middle                   center=middle: .*\n.*position
        control=nothing                 control=nothing: .*\n.*untrained
        sums=float16                    sums=float16: .*\n.*float64
        gen.weights=/no/such/file       no such file: /no/such/file
        gen.layers=[]                   toy: layers=\[\]: name at least one.\n.*early
    """,
    ("invert", *PLAIN): r"""
        loss.perceptual=all             loss.perceptual=all: expected a number
        images=empty                    empty: no image in this folder
        concepts=[1.5]                  concepts=\[1.5\]: expected null or a whole number
        optimize_class=x                optimize_class=x: expected true or false
        trainer.log_every_n_steps=x     trainer.log_every_n_steps=x: expected a whole
        space=x                         space=x: .*\n.*w\+
        label=99                        label=99: .*0 to 9
        start=nowhere.safetensors       start=nowhere
        images=text.txt                 1 of 1 images could not be inverted
        matches=[nobody]                nobody.*\n.*resnet_fashion
        pool=x                          pool=x: .*\n.*accepted
    """,
    ("edit", "controls=false", "steps=1", *QUIET): r"""
        controls=maybe                  controls=maybe: expected true or false
        inversion.steps=-1              inversion.steps=-1: expected a whole number from 0 on
        edit.shift.dx=far               edit.shift={.*far.*}: 
        latent.file=text.txt            text.txt
        origin=nobody                   origin=nobody
    """,
    ("visualize", "steps=1", *QUIET): r"""
        batch_size=0                    batch_size=0: expected a whole number
        concept=99                      concept=99
    """,
    ("ablate", "images=photos", *QUIET): r"""
        match=x                         match=x: .*\n.*variance
        classifier=nobody               nobody
        images=nowhere                  nowhere: there is no such file
    """,
}


def cases(mistakes: dict[tuple[str, ...], str]) -> list[tuple[tuple[str, ...], str, str]]:
    """Command, bad input, and what is said of it."""
    return [
        (command, *re.split(r" {2,}", line.strip(), maxsplit=1))
        for command, lines in mistakes.items()
        for line in lines.strip().splitlines()
    ]


CASES = cases(MISTAKES) + [pytest.param(*case, marks=pytest.mark.slow) for case in cases(LATER)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With runs, photographs, and files that are none."""
    place = Path(shutil.copytree(STORED, tmp_path_factory.mktemp("mistakes") / "here"))
    (place / "text.txt").write_text("hello")
    (place / "list.yaml").write_text("- a\n- b\n")
    (place / "empty").mkdir()
    (place / "broken").mkdir()
    (place / "broken" / "dictionary.json").write_text('{"a":')
    return place


def test_there_are_many() -> None:
    assert len(cases(MISTAKES)) >= 60 and {command[0] for command in MISTAKES} == {
        "mine", "invert", "edit", "visualize", "compare", "overlap", "plan", "ablate", "bench",
        "bridge", "name",
        "diff", "retrieve",
    }  # fmt: skip


@pytest.mark.parametrize(("command", "mistake", "message"), CASES)
def test_mistakes_are_told(
    command: tuple[str, ...], mistake: str, message: str, folder: Path
) -> None:
    given = mistake.split()
    keys = {word.split("=")[0] for word in given}
    name, *usual = command
    words = [word for word in usual if word.split("=")[0] not in keys]
    before = {path for path in folder.rglob("*") if ".hydra" not in path.parts}
    done = call(name, *words, *given, cwd=folder)
    said = (done.stdout + done.stderr).strip()
    assert done.returncode != 0, said
    assert "Traceback" not in said
    told = said.split("[ERROR] - ")[-1]
    assert re.search(message, told), told
    assert len(told.splitlines()) <= 2
    left = {path for path in folder.rglob("*") if ".hydra" not in path.parts} - before
    # An inversion that went through its images, and could read none, can be resumed.
    begun = {"settings.yaml"} if "could not be inverted" in message else set()
    kept = [path for path in left if path.is_file() and path.suffix != ".log"]
    assert {path.name for path in kept} == begun
