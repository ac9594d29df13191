"""Making the pictures of a batch: what is there stays, and each new one is kept as it comes.

In the output folder: `pictures/NAME.png`, its record `NAME.json` and a thumbnail `NAME.jpg`, the
table (CSV and SQLite), and the contact sheet `index.html`. A record is written last, so that a
picture with a record is whole, however a run ended.
"""

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from stylelab import __version__
from stylelab.errors import ImageError, StylelabError
from stylelab.files.local import atomic
from stylelab.runs import capacity, terminal
from stylelab.runs.batch import sheet, table
from stylelab.runs.batch.paint import Order, Painted, paint
from stylelab.runs.batch.plan import Picture, known_sha256
from stylelab.runs.collect import Call, NoWorkers, collect, outcome
from stylelab.runs.executors import Workers
from stylelab.runs.folder import only_run_in
from stylelab.runs.settings import Settings
from stylelab.runs.terminal import tell

DONE, FAILED, WAITING = "done", "failed", "not made yet"
PICTURES = "pictures"


@dataclass
class Ended:
    """What became of one picture: `found` is what its record says, or why there is none."""

    status: str
    found: Mapping[str, object]
    is_new: bool = True


def run_batch(
    pictures: Sequence[Picture],
    output: Path,
    *,
    jobs: int = 1,
    scheduler: str | Executor | None = None,
    resources: Mapping[str, float] | None = None,
    device: str = "auto",
    force: bool = False,
    progress: bool = True,
) -> list[Ended]:
    """Make the pictures that are not there yet; returns what became of each.

    A picture that fails is a row with its reason, and the others go on.

    Args:
        pictures: each once, a frame after the one that it starts from.
        output: the folder; one run at a time uses it.
        jobs, scheduler, resources: as `stylelab.runs.executors.workers` takes them; no more at a
            time on this computer than there is memory for.
        force: make them all again.

    Raises:
        StylelabError: if the folder cannot be written to or is in use, or the scheduler or its
            workers will not do. What is finished stays.
        KeyboardInterrupt: on Ctrl-C; what is finished stays, and the table says what is not.
    """
    with only_run_in(output):
        batch = _Batch(pictures, output, device)
        if not force:
            batch.look()
        due = [each for each in pictures if each.key not in batch.ended]
        large = max(due, key=lambda each: _weight(each.settings), default=None)
        asked = (large.settings.network, large.settings.size) if large else ("", 1)
        try:
            with capacity.workers_for(
                min(jobs, len(due)), *asked, device, scheduler, resources
            ) as (workers, _):
                batch.make(due, workers, progress)
        except (KeyboardInterrupt, StylelabError):
            with suppress(StylelabError):
                batch.write_up()
            raise
        batch.write_up()
        return [batch.ended[each.key] for each in pictures]


def _weight(settings: Settings) -> float:
    """About what it needs of memory."""
    per_pixel = capacity.PER_PIXEL.get(settings.network, capacity.PER_PIXEL_FULL_WIDTH)
    return per_pixel * settings.size**2


class _Batch:
    """The pictures, and what has become of them so far."""

    def __init__(self, pictures: Sequence[Picture], output: Path, device: str) -> None:
        self.pictures, self.output, self.device = pictures, output, device
        self.ended: dict[str, Ended] = {}
        self._names = {each.key: each.name for each in pictures}

    def path(self, key: str, suffix: str) -> Path:
        """One of the files of a picture."""
        return self.output / PICTURES / f"{self._names[key]}{suffix}"

    def look(self) -> None:
        """Find the pictures that are there already."""
        for key in self._names:
            with suppress(OSError, ValueError, KeyError, TypeError):
                record = json.loads(self.path(key, ".json").read_text(encoding="utf-8"))
                whole = self.path(key, ".png").stat().st_size == record["bytes"]
                if record["key"] == key and whole:
                    self.ended[key] = Ended(DONE, record, is_new=False)

    def make(self, due: Sequence[Picture], workers: Workers, progress: bool) -> None:
        """Make the pictures that are `due`; a frame when the one before it is there."""
        missing = {each.key for each in due}
        after = {each.before: each for each in due if each.before in missing}
        waiting = deque(each for each in due if each.before not in missing)
        settings = {"desc": "pictures", "unit": "picture", **terminal.bar_settings()}
        with tqdm(total=len(due), disable=not progress, **settings) as bar:
            for picture, future in collect(workers, waiting, self._call):
                if future.cancelled() or not future.done():  # interrupted
                    continue
                try:
                    painted = outcome(future)
                except KeyboardInterrupt:
                    continue
                except NoWorkers:
                    raise
                except StylelabError as error:
                    bar.update(self._fail(picture, str(error), after))
                    continue
                self._keep(picture, painted)
                bar.update()
                if picture.key in after:
                    waiting.appendleft(after[picture.key])

    def _call(self, picture: Picture) -> Call:
        """The order for a picture, with the files that it is made from."""
        files = {"content": picture.content, "style": picture.style}
        if picture.start:
            files["start"] = picture.start
        elif picture.before:
            files["start"] = self.path(picture.before, ".png")
        images = {role: path.read_bytes() for role, path in files.items()}
        record = {
            role: {"file": files[role].name, "sha256": hashlib.sha256(content).hexdigest()}
            for role, content in images.items()
        }
        for role in ("content", "style"):
            if record[role]["sha256"] != known_sha256(files[role]):
                raise ImageError(f"{files[role]} changed while it was read; run the batch again")
        network = Path(picture.settings.network)
        weights = known_sha256(network) if network.is_file() else ""
        return paint, (Order(picture.settings.to_json(), images, record, self.device, weights),)

    def _keep(self, picture: Picture, painted: Painted) -> None:
        """Save a picture; its record comes last."""
        self._write(picture.key, ".png", painted.png)
        self._write(picture.key, ".jpg", painted.thumbnail)
        size = {"bytes": len(painted.png), "sha256": hashlib.sha256(painted.png).hexdigest()}
        record = _about(picture) | painted.found | size | {"stylelab": __version__}
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        self._write(picture.key, ".json", text.encode())
        self.ended[picture.key] = Ended(DONE, record)

    def _write(self, key: str, suffix: str, content: bytes) -> None:
        with atomic(self.path(key, suffix)) as path:
            path.write_bytes(content)

    def _fail(self, picture: Picture, reason: str, after: Mapping[str, Picture]) -> int:
        """Note why a picture was not made, and the frames that would follow it; how many."""
        self.ended[picture.key] = Ended(FAILED, {"reason": reason})
        tell(f"{picture.name}: {reason}")
        count, last = 1, picture
        while last.key in after:
            said = f"the frame before it, {last.content.name}, was not made"
            last = after[last.key]
            self.ended[last.key] = Ended(FAILED, {"reason": said})
            count += 1
        return count

    def write_up(self) -> None:
        """Write the table and the contact sheet."""
        rows = []
        for picture in self.pictures:
            ended = self.ended.setdefault(picture.key, Ended(WAITING, {}))
            first = {"name": picture.name, "status": ended.status}
            first["reason"] = ended.found.get("reason", "")
            first["picture"] = f"{PICTURES}/{picture.name}.png" if ended.status == DONE else ""
            rows.append(first | _about(picture) | dict(ended.found))
        table.write_csv(rows, self.output / "table.csv")
        table.write_sqlite(rows, self.output / "table.sqlite")
        sheet.write(rows, self.output / "index.html")


def _about(picture: Picture) -> dict[str, object]:
    """What a picture is made from, as a row of the table has it."""
    found = {"content": picture.content.name, "style": picture.style.name}
    found["start"] = picture.start.name if picture.start else "previous" if picture.before else ""
    found |= picture.settings.as_dict() | {"network": Path(picture.settings.network).name}
    found.pop("style_weights")
    for role in ("content", "style"):
        found[f"{role}_sha256"] = known_sha256(getattr(picture, role))
    return found | {"key": picture.key}
