"""Do the figures of a folder still say what the paper says, and what they said before?

For each record: the figure is the one recorded, the paper's claims hold, computed again from the
saved panels where these are at hand, and their numbers are near those of a reference folder.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stylelab import figures, gallery, networks
from stylelab.errors import StylelabError
from stylelab.files.download import sha256_of
from stylelab.images import load_image
from stylelab.vgg import VGG

RELATIVE, ABSOLUTE = 0.25, 0.02  # how far a number may be from the reference's
AGAIN = 1e-3  # how far a number computed again may be from the record's, relative and absolute


@dataclass
class Report:
    """What was found about one figure; it is well if there are no problems."""

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
    reports, loaded = [], {}
    for path in _records(folder):
        record = _read(path)
        report = Report(path.stem)
        reports.append(report)
        if sha256_of(path.with_suffix(".png")) != record["sha256"]:
            report.problems.append(f"{path.stem}.png is not the picture its record tells of")
        claims = record["claims"]
        found, said = _judge_again(path, record, network, loaded)
        if found is not None:
            for old, new in zip(claims, found, strict=True):
                report.problems += _apart(old, new, "the record", AGAIN, AGAIN)
            claims = found
        for claim in claims:
            report.lines.append(figures.verdict(claim))
            if not claim["holds"]:
                report.problems.append(f"a claim fails: {_numbers(claim)}")
        report.lines.append(f"       {said}")
        if reference is not None:
            _compare(report, record, claims, reference / path.name)
    lines = []
    for report in reports:
        lines += [report.figure, *(f"  {line}" for line in report.lines)]
        lines += [f"  PROBLEM: {problem}" for problem in report.problems]
    failed = [report.figure for report in reports if report.problems]
    lines.append(f"{len(reports) - len(failed)} of {len(reports)} figures are as they should be")
    return "\n".join(lines), not failed


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


def _judge_again(
    path: Path, record: Mapping, network: str | None, loaded: dict[str, VGG | str]
) -> tuple[list[dict] | None, str]:
    """Claims computed again, or None; and where they are from, in words."""
    panels = {
        name: figures.panel_path(path.parent, record["figure"], name) for name in record["panels"]
    }
    if missing := [file for file in panels.values() if not file.exists()]:
        return None, f"from the record; panels are not here: {missing[0]}"
    used = record["network"]
    for image in record["images"].values():
        if not gallery.is_here(image["name"]):
            return None, f"from the record; {image['name']} is not here: stylelab fetch images"
        if sha256_of(gallery.path(image["name"])) != image["sha256"]:
            return None, f"from the record; {image['name']} is another image here"
    key = f"{used['name']} {used['pooling']}"
    if key not in loaded:
        named = used["name"].partition(":")[0] in networks.names()
        try:
            name = used["name"] if named or network is None else network
            loaded[key] = networks.load(name, pooling=used["pooling"])
        except StylelabError as error:
            loaded[key] = str(error)
    if isinstance(loaded[key], str):
        return None, f"from the record; {loaded[key]}"
    if loaded[key].sha256 != used["sha256"]:
        return None, f"from the record; its network {used['name']} had other weights"
    pictures = {name: load_image(file) for name, file in panels.items()}
    return figures.judge(record, loaded[key], pictures), "computed again from the panels"


def _compare(report: Report, record: Mapping, claims: list[dict], reference: Path) -> None:
    """Add to `report` how the claims' numbers compare with the reference's."""
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
        report.problems.append("the reference has other claims; make it anew")
        return
    for old, new in zip(known["claims"], claims, strict=True):
        report.problems += _apart(old, new, "the reference", RELATIVE, ABSOLUTE)


def _apart(old: Mapping, new: Mapping, what: str, relative: float, absolute: float) -> list[str]:
    """The numbers in which a claim differs from what was known of it."""
    found = []
    for name, values in new["values"].items():
        before = old["values"].get(name, [])
        near = len(before) == len(values) and all(
            math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
            for a, b in zip(before, values, strict=True)
        )
        if not near:
            found.append(f"{name} {_list(values)}, in {what} {_list(before)}")
    return found


def _numbers(claim: Mapping) -> str:
    return "; ".join(f"{name} {_list(values)}" for name, values in claim["values"].items())


def _list(values: list[float]) -> str:
    return "[" + ", ".join(f"{value:.3g}" for value in values) + "]"
