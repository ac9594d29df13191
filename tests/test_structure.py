"""The science stands on top of the package, is small, and needs PyTorch alone."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
METHOD = ("errors", "vgg", "losses", "objective", "lbfgs", "optimisation", "synthesis")


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
    lint = Path(sys.executable).with_name("lint-imports")
    (tmp_path / "stylelab").symlink_to(ROOT / "stylelab")
    for wrong in (False, True):
        if wrong:
            (tmp_path / "stylelab").unlink()
            subprocess.run(["cp", "-r", ROOT / "stylelab", tmp_path], check=True)
            with open(tmp_path / "stylelab" / "losses.py", "a") as file:
                file.write("\nfrom stylelab import images\n")
        command = [lint, "--config", ROOT / "pyproject.toml", "--no-cache"]
        done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
        assert bool(done.returncode) == wrong


def test_a_newcomer_can_read_it():
    lines = {
        path.name: path.read_text(encoding="utf-8").count("\n")
        for path in (ROOT / "stylelab").glob("*.py")
    }
    assert {f"{name}.py" for name in METHOD} < set(lines)
    assert len(lines) <= 11 and sum(lines.values()) <= 1600
    assert max(lines.values()) <= 300
