"""The science stands on top of the package, is small, and needs PyTorch alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
METHOD = ("errors", "room", "vgg", "losses", "rows", "objective", "lbfgs", "adam")
METHOD += ("parametrisation", "optimisation", "description", "synthesis")
CONTROLS = tuple(
    f"controls.{name}"
    for name in ("styles", "statistics", "strength", "regions", "colours", "keeping", "scales")
)


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("stylelab", include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize("module", METHOD + CONTROLS)
def test_the_method_imports_the_standard_library_torch_tqdm_and_itself(imports, module):
    found = imports.find_modules_directly_imported_by(f"stylelab.{module}")
    allowed = (
        {f"stylelab.{name}" for name in (*METHOD, *CONTROLS, "controls")}
        | {"torch", "tqdm"}
        | sys.stdlib_module_names
    )
    assert not found - allowed
    assert found or module == "errors"


def test_the_layers_of_the_package_hold_and_a_violation_is_noticed(tmp_path):
    """With the contracts of pyproject.toml, on a copy to which a wrong import is added."""
    shutil.copytree(ROOT / "stylelab", tmp_path / "stylelab")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    asked = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path)}, "capture_output": True}
    assert subprocess.run(command, **asked).returncode == 0
    with open(tmp_path / "stylelab" / "losses.py", "a") as file:
        file.write("\nfrom stylelab import images\n")
    done = subprocess.run(command, **asked)
    assert done.returncode == 1 and b"stylelab.losses -> stylelab.images" in done.stdout


def test_a_newcomer_can_read_it():
    lines = {
        path.name: path.read_text(encoding="utf-8").count("\n")
        for path in (ROOT / "stylelab").glob("*.py")
    }
    assert {f"{name}.py" for name in METHOD} < set(lines)
    # Four files more than the paper's method takes: Adam; the description of a transfer with its
    # styles, regions and starts, which one file with what runs it would not hold; and what the
    # pictures of a batch have of their own, as the objective would not hold it. Losses that can be
    # summed over the tiles of a picture take a hundred lines, the objective of the authors' code
    # and weights as they were trained fifty. Working in parts on what is as large as a picture, in
    # memory or in files, takes the fourth file and another two hundred and thirty lines in all.
    assert len(lines) <= 16 and sum(lines.values()) <= 2610
    assert max(lines.values()) <= 300
