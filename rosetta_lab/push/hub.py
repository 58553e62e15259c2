"""A dataset repository with a dictionary in it: one file, and a card that says what it holds."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token

from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError, printable
from rosetta_lab.run.cache import is_offline
from rosetta_lab.run.shared import HUB, ON_HUB, hub_error

DATASET = "dataset"
CARD = "README.md"


def check_login() -> None:
    """See that somebody is logged in to the hub.

    Raises:
        RosettaError: nobody is, or the network is not to be used.
    """
    if is_offline():
        raise RosettaError(
            "offline (ROSETTA_OFFLINE or HF_HUB_OFFLINE is set): nothing can be pushed.\n"
            "Unset it, or share the file of python -m rosetta_lab.export."
        )
    if get_token() is None:
        raise RosettaError(
            "There is no login to the hub, which wants to know who writes.\n"
            "Run hf auth login once, or set HF_TOKEN to a token that may write."
        )


def upload(repository: str, archive: Path, readme: str, private: bool) -> str:
    """Put an archive and its card into a repository, in one commit; returns the address.

    Args:
        repository: USER/NAME, which is made where there is none.
        archive: of :func:`rosetta_lab.export.archive.write_archive`.
        readme: the card, in Markdown.
        private: whether one that is made now is the user's alone.

    Raises:
        RosettaError: the hub refuses, or is out of reach.
    """
    hub = HfApi()
    try:
        made = hub.create_repo(repository, repo_type=DATASET, private=private, exist_ok=True)
        hub.create_commit(
            repository,
            [
                CommitOperationAdd(ON_HUB, str(archive)),
                CommitOperationAdd(CARD, readme.encode()),
            ],
            commit_message="A Rosetta dictionary",
            repo_type=DATASET,
        )
    except Exception as error:  # its releases use three HTTP libraries, each with its own errors
        raise hub_error(repository, error, "write to") from error
    return str(made)


def card(folder: Path, repository: str) -> str:
    """What a repository's page says of a dictionary: counts beside what chance gives, and how to
    open it. Names in it are of others' models: they are only shown, as code."""
    dictionary = RosettaDictionary.load(folder)
    null = dictionary.summary.get("null") or {}
    shuffled = null.get("shuffled_rosetta_neurons")
    models = [dictionary.reference.name, *dictionary.discriminative]
    lines = [
        "---",
        "tags: [rosetta-neurons, interpretability]",
        "---",
        f"# {repository.rpartition('/')[2]}",
        "",
        f"{len(dictionary.neurons)} Rosetta neurons in {len(dictionary.concepts)} concepts: units "
        f"of {len(models)} models that fire on the same places of the same "
        f"{dictionary.num_images} images (K = {dictionary.k}, seed {dictionary.seed}).",
        "",
        "No null was measured: a count alone says little."
        if shuffled is None
        else f"The paper's rule alone finds {len(dictionary.candidates)} in these images and "
        f"{shuffled} where every model sees another image; the {len(dictionary.neurons)} have a "
        f"false discovery rate of at most {null.get('max_fdr')}.",
        "",
        "| model | weights | SHA-256 |",
        "|---|---|---|",
    ]
    for model in (dictionary.reference, *dictionary.discriminative.values()):
        source, digest = (model.weights.get(key) or "" for key in ("source", "sha256"))
        lines.append(f"| {_code(model.name)} | {_code(source)} | {_code(digest[:12])} |")
    lines += [
        "",
        "```bash",
        f"python -m rosetta_lab.pull {repository}    # a folder with a page to look at",
        f"python -m rosetta_lab.invert dictionary={HUB}{repository} images=my_photos/",
        "```",
        "",
        f"`{ON_HUB}` is data: nothing in it is run.",
    ]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    shown = printable(text).replace("`", "'").replace("|", "/")
    return f"`{shown}`" if shown else ""
