"""tools/badges.py, on copies: what opens the notebooks in Colab and on Binder."""

import importlib.util
import shutil
import sys
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest

from stylelab.errors import SettingError, StylelabError

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("badges_tool", ROOT / "tools" / "badges.py")
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)


@pytest.fixture
def root(tmp_path):
    """A checkout with two of the notebooks."""
    (tmp_path / "notebooks").mkdir()
    chosen = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))[1:3]
    files = [*chosen, ROOT / "README.md", ROOT / "pyproject.toml"]
    for file in files:
        shutil.copy(file, tmp_path / file.relative_to(ROOT))
    return tmp_path


def cells(root: Path) -> dict[str, list]:
    return {
        path.name: nbformat.read(path, as_version=4).cells
        for path in sorted((root / "notebooks").glob("*.ipynb"))
    }


def test_notebooks_get_two_cells_and_keep_the_others(root, capsys):
    before = cells(root)
    tool.main(["someone/a.repository"], root)
    assert "2 notebooks" in capsys.readouterr().out
    for name, (title, badges, setup, *rest) in cells(root).items():
        assert [title, *rest] == before[name]
        assert (badges.id, setup.id) == ("badges", "colab-setup")
        assert setup.metadata.tags == ["colab-setup"]
        assert f"/github/someone/a.repository/blob/main/notebooks/{name})" in badges.source
        binder = next(part for part in badges.source.split("(") if "/v2/gh/" in part).strip(")")
        assert urlsplit(binder).path == "/v2/gh/someone/a.repository/main"
        assert parse_qs(urlsplit(binder).query) == {"labpath": [f"notebooks/{name}"]}


def test_again_it_replaces_what_it_wrote(root):
    tool.write(root, "someone/first")
    tool.write(root, "someone/second", "a/branch")
    texts = {path: path.read_text() for path in root.rglob("*.*") if path.is_file()}
    assert not [path for path, text in texts.items() if "someone/first" in text]
    assert texts[root / "README.md"].count("[![Open in Colab]") == 1
    assert all(
        text.count('"id": "badges"') == 1 for p, text in texts.items() if p.suffix == ".ipynb"
    )
    tool.write(root, "someone/second", "a/branch")
    assert {path: path.read_text() for path in texts} == texts


def test_the_address_is_kept_in_one_place(root):
    before = tomllib.loads((root / "pyproject.toml").read_text())
    tool.write(root, "someone/here")
    after = tomllib.loads((root / "pyproject.toml").read_text())
    assert after["project"].pop("urls") == {"Repository": "https://github.com/someone/here"}
    before["project"].pop("urls", None)
    assert after == before


def test_the_setup_does_nothing_elsewhere_and_installs_in_colab(root, monkeypatch):
    IPython = pytest.importorskip("IPython")
    tool.write(root, "someone/here")
    source = cells(root)["02_content_reconstructions.ipynb"][2].source
    code = IPython.core.inputtransformer2.TransformerManager().transform_cell(source)
    done = []

    class Shell:
        def system(self, command):
            done.append(command)

        def run_line_magic(self, name, line):
            done.append(f"%{name} {line}")

    monkeypatch.setattr(sys, "path", list(sys.path))
    names = {"get_ipython": Shell}
    exec(compile(code, "setup", "exec"), names)
    assert done == []
    monkeypatch.setitem(sys.modules, "google.colab", object())
    exec(compile(code, "setup", "exec"), names)
    assert done == [
        "%cd -q /content",
        "test -d here || git clone --quiet --depth 1 --branch main https://github.com/someone/here",
        "%pip install --quiet --editable ./here[notebooks]",
        "%cd -q /content/here/notebooks",
    ]
    assert sys.path[0] == "/content/here"


def test_wrong_arguments_and_files_change_nothing(root, capsys):
    texts = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    for name in ("someone", "a/b/c", "https://github.com/a/b", "a b/c", "a/b;c", "a/.."):
        with pytest.raises(SettingError, match="OWNER/REPO"):
            tool.write(root, name)
    with pytest.raises(SystemExit, match="2"):
        tool.main(["someone"], root)
    assert "OWNER/REPO" in capsys.readouterr().err
    with pytest.raises(SettingError, match="--branch"):
        tool.write(root, "a/b", "main; rm")
    (root / "README.md").write_text("no title")
    with pytest.raises(StylelabError, match=r"README\.md"):
        tool.write(root, "a/b")
    del texts[root / "README.md"]
    assert {path: path.read_bytes() for path in texts} == texts
