"""Copy what is committed from the runs in build/: figures, their records, and notebook outputs.

    python tools/gallery.py

Figures and records of build/quick-vgg19-mini go to figures/, and those figures of
build/paper-vgg19-mini that have a record: the others are large and beside the point. Outputs of
the quick run, which used the values written in the notebooks, go into notebooks/*.ipynb, and so
does the picture that a notebook opens with: the figure that its first cell's metadata `opening`
names becomes that cell's attachment `opening.jpg`.
`make gallery` makes both runs first. Nothing is written unless every notebook finished in both runs
and everything that it made is still there, unchanged.
"""

import base64
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from stylelab.errors import StylelabError
from stylelab.files.local import atomic
from stylelab.runs import notebooks as runner
from stylelab.runs import uptodate

ROOT = Path(__file__).resolve().parents[1]
PAPER, QUICK = "paper-vgg19-mini", "quick-vgg19-mini"
KEPT = (".png", ".gif", ".json")
LARGEST = 3_000_000  # bytes of an executed notebook
OPENING, OPENING_SIDE, OPENING_BYTES = "opening.jpg", 900, 90_000
WIDGET = "application/vnd.jupyter.widget-view+json"


def main(root: Path = ROOT) -> int:
    """Bring figures/ and notebooks/ of the checkout `root` up to date with its build/."""
    notebooks = runner.find(root / "notebooks")
    figures = {name: figures_of(root / "build" / name, notebooks) for name in (PAPER, QUICK)}
    pages = {path: page(root / "build" / QUICK / path.name, path, root) for path in notebooks}
    figures[PAPER] = recorded(figures[PAPER])
    for name, files in figures.items():
        keep(files, root / "figures" / name)
    for notebook, text in pages.items():
        with atomic(notebook) as path:
            path.write_text(text, encoding="utf-8")
    print(f"{sum(map(len, figures.values()))} files in figures/, {len(pages)} notebooks")
    return 0


def figures_of(folder: Path, notebooks: list[Path]) -> list[Path]:
    """The figures and records that the notebooks made in `folder`, without its subfolders.

    Raises:
        StylelabError: if a notebook did not finish there, or what it made has changed.
    """
    files = []
    for notebook in notebooks:
        made = uptodate.outputs(folder / notebook.name)
        if not made:
            raise StylelabError(
                f"{folder / notebook.name} did not finish, or what it made was altered; run "
                "make gallery"
            )
        files += [path for path in made if path.parent == folder and path.suffix in KEPT]
    return files


def recorded(files: list[Path]) -> list[Path]:
    """The records among files, and the figures that have one."""
    names = {file.stem for file in files if file.suffix == ".json"}
    return [file for file in files if file.stem in names]


def keep(files: list[Path], target: Path) -> None:
    """Copy figures and records to `target`, each whole, and remove all others there."""
    for file in files:
        with atomic(target / file.name) as path:
            shutil.copyfile(file, path)
    names = {file.name for file in files}
    for path in target.iterdir():
        if path.suffix in KEPT and path.name not in names:
            path.unlink()


def page(executed: Path, notebook: Path, root: Path = ROOT) -> str:
    """The text of `notebook` with the outputs of `executed`, which ran its code.

    Everything else but the opening picture stays as it is in `notebook`, so that its texts can be
    edited without another run. Injected cells, times and the state of widgets are left out.

    Raises:
        StylelabError: if other code was run, or with other values than the quick profile's; if
            the figure to open with was not made; if the outputs are too large for a repository, or
            name folders of this computer.
    """
    ran, kept = (nbformat.read(path, as_version=4) for path in (executed, notebook))
    ran_code = [c for c in ran.cells if c.cell_type == "code" and not is_injected(c)]
    kept_code = [c for c in kept.cells if c.cell_type == "code"]
    if [c.source for c in ran_code] != [c.source for c in kept_code]:
        raise StylelabError(f"{executed} was not made from {notebook}; run make figures")
    injected = ran.metadata.papermill.parameters.items()
    if not injected - {"output": "."}.items() <= runner.parameters("quick").items():
        raise StylelabError(f"{executed} was not made with the quick profile; run make figures")
    count = 0
    for cell, source in zip(kept_code, ran_code, strict=True):
        if source.execution_count:  # an empty cell does not run
            count += 1
            cell.execution_count = count
            cell.outputs = [renumbered(out, count) for out in source.outputs if is_for_readers(out)]
    if name := kept.cells[0].metadata.get("opening"):
        picture = base64.b64encode(opening(executed.parent / name)).decode()
        kept.cells[0].attachments = {OPENING: {"image/jpeg": picture}}
    text = nbformat.writes(kept) + "\n"
    if len(text.encode()) > LARGEST:
        raise StylelabError(
            f"{notebook} would have {len(text) / 1e6:.1f} MB; show smaller pictures"
        )
    said = texts(kept)
    for private in (root, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())):
        if private != private.parent and f"{private}/" in said:
            raise StylelabError(f"an output of {executed} names {private}; do not print paths")
    return text


def opening(figure: Path) -> bytes:
    """A figure as a JPEG of at most `OPENING_SIDE` pixels and `OPENING_BYTES`.

    Raises:
        StylelabError: if the figure cannot be read.
    """
    try:
        with Image.open(figure) as image:
            small = image.convert("RGB")
    except OSError as error:
        raise StylelabError(
            f"{figure}, the opening picture, cannot be read ({error}); correct the metadata "
            "`opening` of the notebook's first cell, or run make figures"
        ) from error
    small.thumbnail((OPENING_SIDE, OPENING_SIDE), Image.Resampling.LANCZOS)
    while True:
        for quality in range(88, 60, -4):
            small.save(buffer := io.BytesIO(), "JPEG", quality=quality, optimize=True)
            if buffer.tell() <= OPENING_BYTES:
                return buffer.getvalue()
        small.thumbnail([round(0.9 * side) for side in small.size], Image.Resampling.LANCZOS)


def is_injected(cell: NotebookNode) -> bool:
    """Whether papermill added the cell."""
    return "injected-parameters" in cell.metadata.get("tags", ())


def is_for_readers(output: NotebookNode) -> bool:
    """Whether an output is neither a progress bar nor a warning."""
    return output.get("name") != "stderr" and WIDGET not in output.get("data", {})


def renumbered(output: NotebookNode, count: int) -> NotebookNode:
    """The output of the cell that is now the `count`-th to run."""
    if output.output_type == "execute_result":
        output.execution_count = count
    return output


def texts(notebook: NotebookNode) -> str:
    """All outputs of a notebook but its pictures."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    data = [output.get("data", {}).items() for output in outputs]
    readable = [value for items in data for kind, value in items if not kind.startswith("image/")]
    return json.dumps([[output.get("text", "") for output in outputs], readable])


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except StylelabError as error:
        raise SystemExit(str(error)) from None
