"""The science stands on top of the package, is small, and needs PyTorch alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
METHOD = ("errors", "vgg", "losses", "objective", "lbfgs", "adam", "parametrisation")
METHOD += ("optimisation", "synthesis")


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("stylelab", include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize("module", METHOD)
def test_the_method_imports_the_standard_library_torch_tqdm_and_itself(imports, module):
    found = imports.find_modules_directly_imported_by(f"stylelab.{module}")
    allowed = {f"stylelab.{name}" for name in METHOD} | {"torch", "tqdm"} | sys.stdlib_module_names
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
    assert len(lines) <= 13 and sum(lines.values()) <= 2070
    assert max(lines.values()) <= 300
