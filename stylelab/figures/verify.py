"""Checks a folder of figures: do the paper's claims hold, and are the numbers as before?

For each record: the PNG is the one recorded; the claims hold, computed again from the saved panels
where that is possible; and their numbers are near those of a reference folder.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from stylelab import gallery, networks
from stylelab.errors import StylelabError
from stylelab.figures.records import judge, panel_path, verdict
from stylelab.files.local import sha256_of
from stylelab.images import load_image
from stylelab.vgg import VGG

RELATIVE, ABSOLUTE = 0.25, 0.02  # tolerance against the reference
AGAIN = 1e-3  # tolerance, relative and absolute, against the record when computed again


@dataclass
class Report:
    """What was found out about one figure; it passes if there are no problems."""

    figure: str
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


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

    reports = [_check(path, load, reference) for path in _records(folder)]
    lines = []
    for report in reports:
        lines += [report.figure, *(f"  {line}" for line in report.lines)]
        lines += [f"  PROBLEM: {problem}" for problem in report.problems]
    failed = [report.figure for report in reports if report.problems]
    lines.append(f"{len(reports) - len(failed)} of {len(reports)} figures are as they should be")
    return "\n".join(lines), not failed


def _check(path: Path, load: Callable[..., VGG], reference: Path | None) -> Report:
    """Check one record."""
    record, report, source = _read(path), Report(path.stem), "computed again from the panels"
    if sha256_of(path.with_suffix(".png")) != record["sha256"]:
        report.problems.append(f"{path.stem}.png is not the picture that its record describes")
    claims = record["claims"]
    try:
        claims = _judge_again(path, record, load)
        for old, new in zip(record["claims"], claims, strict=True):
            report.problems += _differences(old, new, "the record", AGAIN, AGAIN)
    except StylelabError as error:
        source = f"from the record; {error}"
    for claim in claims:
        report.lines.append(verdict(claim))
        if not claim["holds"]:
            report.problems.append(f"a claim fails: {_numbers(claim)}")
    report.lines.append(f"       {source}")
    if reference is not None:
        _compare(report, record, claims, reference / path.name)
    return report


def _records(folder: Path) -> list[Path]:
    paths = [
        path for path in sorted(Path(folder).glob("*.json")) if path.with_suffix(".png").exists()
    ]
    if not paths:
        raise StylelabError(
            f"{folder} holds no figures with records; make some with: stylelab figures --output "
            f"{folder}"
        )
    return paths


def _read(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = {"claims", "sha256", "network", "images", "panels"} - set(record)
    except (OSError, ValueError, TypeError) as error:
        raise StylelabError(f"{path} cannot be read as a record: {error}") from error
    if missing:
        raise StylelabError(f"{path} is not a record: it lacks {', '.join(sorted(missing))}")
    return record


def _judge_again(path: Path, record: Mapping, load: Callable[..., VGG]) -> list[dict]:
    """The claims computed again from the saved panels.

    Raises:
        StylelabError: if panels, images or the network are missing, or not those of the record.
    """
    panels = {name: panel_path(path.parent, record["figure"], name) for name in record["panels"]}
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


def _compare(report: Report, record: Mapping, claims: list[dict], reference: Path) -> None:
    """Add to `report` how the claims' numbers differ from the reference's."""
    if not reference.exists():
        report.problems.append(f"the reference has no {reference.name}")
        return
    known = _read(reference)
    for key in ("parameters", "settings"):
        ours, theirs = ({**r[key], "device": "", "output": ""} for r in (record, known))
        if other := [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]:
            report.problems.append(f"made with other {', '.join(other)} than the reference")
            return
    if len(known["claims"]) != len(claims):
        report.problems.append("the reference has other claims; make it again")
        return
    for old, new in zip(known["claims"], claims, strict=True):
        report.problems += _differences(old, new, "the reference", RELATIVE, ABSOLUTE)


def _differences(
    old: Mapping, new: Mapping, source: str, relative: float, absolute: float
) -> list[str]:
    """The numbers of a claim that are not as they were in `source`."""
    found = []
    for name, values in new["values"].items():
        before = old["values"].get(name, [])
        near = len(before) == len(values) and all(
            math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
            for a, b in zip(before, values, strict=True)
        )
        if not near:
            found.append(f"{name} {_list(values)}, in {source} {_list(before)}")
    return found


def _numbers(claim: Mapping) -> str:
    return "; ".join(f"{name} {_list(values)}" for name, values in claim["values"].items())


def _list(values: list[float]) -> str:
    return "[" + ", ".join(f"{value:.3g}" for value in values) + "]"
