"""Change a module in many small ways, one at a time, and count the changes its tests notice.

    pip install mutmut
    python tools/mutants.py stylelab/losses.py stylelab/vgg.py

Works in a copy, with the tests and modules of `[tool.mutmut]` in pyproject.toml. Prints the changes
that no test noticed, then the numbers. The exit code is 1 if the tests noticed fewer than `--least`
per cent of a module's changes. It takes about a second a change. Not for Windows.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).resolve().parents[1]


def mutmut(folder: Path, *arguments: str) -> str:
    """The standard output of a command of mutmut; its errors go to the terminal."""
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def main() -> int:
    """Change, test and report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="+", help="such as stylelab/losses.py")
    parser.add_argument("--processes", type=int, default=1, help="tests to run at the same time")
    parser.add_argument("--least", type=float, default=85.0, help="per cent that must be noticed")
    options = parser.parse_args()
    modules = [Path(module).resolve().relative_to(ROOT) for module in options.modules]
    patterns = [".".join((*module.with_suffix("").parts, "*")) for module in modules]
    lines, enough = [], True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("stylelab", "tests"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "pyproject.toml", folder)
        said = mutmut(folder, "run", "--max-children", str(options.processes), *patterns)
        for module in modules:
            record = folder / "mutants" / f"{module}.meta"
            if not record.exists():
                sys.exit(f"nothing was changed in {module}:\n{said[-3000:]}")
            codes = json.loads(record.read_text(encoding="utf-8"))["exit_code_by_key"]
            found = {mutant: status_by_exit_code[code] for mutant, code in codes.items()}
            for mutant, status in found.items():
                if status not in ("killed", "timeout"):
                    print(mutmut(folder, "show", mutant))
            counts = Counter(found.values())
            noticed = 100 * (counts["killed"] + counts["timeout"]) / len(found)
            lines.append(f"{module}: {len(found)} changes, {noticed:.1f} % noticed, {dict(counts)}")
            enough = enough and noticed >= options.least
    print(*lines, sep="\n")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
