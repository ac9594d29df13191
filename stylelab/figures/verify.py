"""Checks a folder of figures: do the paper's claims hold, and are the numbers as before?

For each record: the PNG is the one recorded; the claims hold, computed again from the saved panels
where that is possible; and their numbers are near those of a reference folder.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from stylelab import gallery, networks
from stylelab.errors import StylelabError
from stylelab.figures.records import judge, listed, numbers, panel_path, verdict
from stylelab.files.local import sha256_of
from stylelab.images import load_image
from stylelab.vgg import VGG

# Tolerances of numbers, relative and absolute: against a reference, and against the record itself
REFERENCE, AGAIN = {"rtol": 0.25, "atol": 0.02}, {"rtol": 1e-3, "atol": 1e-3}


def verify(
    folder: Path, reference: Path | None = None, network: str | None = None
) -> tuple[str, bool]:
    """Check all records of `folder`; returns a table to print, and whether all is well.

    Args:
        folder: figures with their records, as `stylelab figures` leaves them.
        reference: a folder of such records to compare the claims' numbers with.
        network: the weights file of figures that were made with one; others are found by name.

    Raises:
        StylelabError: if a folder has no records, or a record cannot be read.
    """

    @cache
    def load(name: str, pooling: str) -> VGG:
        known = name.partition(":")[0] in networks.names()
        return networks.load(name if known or network is None else network, pooling=pooling)

    lines, failed, paths = [], 0, sorted(Path(folder).glob("*.json"))
    paths = [path for path in paths if path.with_suffix(".png").exists()]
    if not paths:
        raise StylelabError(
            f"{folder} holds no figures; make some: stylelab figures --output {folder}"
        )
    for path in paths:
        found, problems = _check(path, load, reference)
        lines += [path.stem, *(f"  {line}" for line in found)]
        lines += [f"  PROBLEM: {problem}" for problem in problems]
        failed += bool(problems)
    lines.append(f"{len(paths) - failed} of {len(paths)} figures are as they should be")
    return "\n".join(lines), not failed


def _check(path: Path, load: Callable, reference: Path | None) -> tuple[list[str], list[str]]:
    """The claims of one record, and the problems found, in words."""
    record, source, problems = _read(path), "computed again from the panels", []
    panels = {name: panel_path(path.parent, record["figure"], name) for name in record["panels"]}
    if sha256_of(path.with_suffix(".png")) != record["sha256"]:
        problems.append(f"{path.stem}.png is not the picture that its record describes")
    try:
        claims = _judge_again(record, panels, load)
        problems += _differences(record["claims"], claims, "the record", AGAIN)
    except StylelabError as error:
        claims, source = record["claims"], f"from the record; {error}"
    failing = [claim for claim in claims if not claim["holds"]]
    problems += [f"a claim fails: {'; '.join(numbers(claim))}" for claim in failing]
    if reference is not None:
        problems += _compare(record, claims, reference / path.name)
    return [*map(verdict, claims), f"       {source}"], problems


def _read(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = {"claims", "sha256", "network", "images", "panels"} - set(record)
    except (OSError, ValueError, TypeError) as error:
        raise StylelabError(f"{path} cannot be read as a record: {error}") from error
    if missing:
        raise StylelabError(f"{path} is not a record: it lacks {', '.join(sorted(missing))}")
    return record


def _judge_again(record: Mapping, panels: Mapping[str, Path], load: Callable) -> list[dict]:
    """The claims computed again from the saved panels.

    Raises:
        StylelabError: if panels, images or the network are missing, or not those of the record.
    """
    for panel in panels.values():
        if not panel.exists():
            raise StylelabError(f"there is no panel {panel}")
    for image in record["images"].values():
        if not gallery.is_here(image["name"]):
            raise StylelabError(f"{image['name']} is not here: stylelab fetch images")
        if sha256_of(gallery.path(image["name"])) != image["sha256"]:
            raise StylelabError(f"{image['name']} is another image here")
    used = record["network"]
    network = load(used["name"], used["pooling"])
    if network.sha256 != used["sha256"]:
        raise StylelabError(f"its network {used['name']} had other weights")
    return judge(record, network, {name: load_image(file) for name, file in panels.items()})


def _compare(record: Mapping, claims: list[dict], reference: Path) -> list[str]:
    """How the claims' numbers differ from the reference's, in words."""
    if not reference.exists():
        return [f"the reference has no {reference.name}"]
    known = _read(reference)
    for key in ("parameters", "settings"):
        ours, theirs = ({**r[key], "device": "", "output": ""} for r in (record, known))
        if other := [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]:
            return [f"made with other {', '.join(other)} than the reference"]
    return _differences(known["claims"], claims, "the reference", REFERENCE)


def _differences(before: list[dict], after: list[dict], source: str, near: Mapping) -> list[str]:
    """The numbers of the claims that are not as they were in `source`."""
    if len(before) != len(after):
        return [f"{source} has other claims; make it again"]
    found = []
    for old, new in zip(before, after, strict=True):
        for name, values in new["values"].items():
            known = old["values"].get(name, [])
            if len(known) != len(values) or not np.allclose(values, known, **near):
                found.append(f"{listed(name, values)}; in {source} {listed(name, known)}")
    return found
