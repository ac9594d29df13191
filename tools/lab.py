"""Copy the course to lab/, where you may change it as you like: `make lab` does so, and opens it.

    python tools/lab.py

JupyterLab saves a notebook whenever it is run. In lab/, which git ignores, that changes no file of
the repository. What you have changed there stays as it is; what you have only run is brought up to
date with notebooks/. To begin a notebook anew, delete or rename yours and run this again.
"""

import hashlib
import json
import shutil
from pathlib import Path

from stylelab.files.local import atomic

ROOT = Path(__file__).resolve().parents[1]
MEMORY = ".copied.json"  # in lab/: what each file contained when it was copied


def main(root: Path = ROOT) -> None:
    """Bring lab/ of the checkout `root` up to date, and say what was done."""
    course, lab = root / "notebooks", root / "lab"
    memory = lab / MEMORY
    copied = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    kept = []
    for source in sorted(course.rglob("*")):
        if not source.is_file() or ".ipynb_checkpoints" in source.parts:
            continue
        name = source.relative_to(course).as_posix()
        target, new = lab / name, content(source)
        if not target.exists() or content(target) == copied.get(name):
            if not target.exists() or new != copied.get(name):
                with atomic(target) as path:
                    shutil.copyfile(source, path)
            copied[name] = new
        elif new not in (copied.get(name), content(target)):
            kept.append(name)
    with atomic(memory) as path:
        path.write_text(json.dumps(copied, indent=1), encoding="utf-8")
    print("lab/ is your working copy of the course; change it as you like.")
    for name in kept:
        print(f"  lab/{name} is yours and stays; notebooks/{name} is newer.")


def content(file: Path) -> str:
    """The SHA-256 of a file, or of a notebook's texts and code without its outputs."""
    data = file.read_bytes()
    if file.suffix == ".ipynb":
        try:
            cells = json.loads(data)["cells"]
            data = json.dumps([[c["cell_type"], "".join(c["source"])] for c in cells]).encode()
        except (ValueError, KeyError, TypeError):  # not a notebook any more: compared as it is
            pass
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main()
