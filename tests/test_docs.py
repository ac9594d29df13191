"""README.md and docs/: links lead somewhere, code runs, commands exist, the map is complete."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path

import pytest
import torch

import stylelab
from stylelab.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "notebooks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 8000


@every_page
def test_links_and_files_named_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'(?:\]\(|src=")([^)"#]+)[)"#]', text)
    links = [link for link in links if "://" not in link]
    named = re.findall(r"`((?:stylelab|tests|tools|docs|figures|notebooks)/[\w./-]+)`", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_map_has_every_module_and_package():
    """Each of them in a row of its own."""
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "package.md").read_text("utf-8"), re.M)
    package = ROOT / "stylelab"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted(rows) == sorted(modules | packages)


@cache
def help_of(command: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    return printed.getvalue()


@every_page
def test_commands_have_the_options_they_are_shown_with(page):
    text = page.read_text(encoding="utf-8")
    for command, rest in re.findall(r"\bstylelab ([a-z]+\b)([^`\n#]*)", "\n".join(code(text))):
        options = re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest)
        assert [option for option in options if option not in help_of(command)] == [], command


def code(text: str) -> list[str]:
    """The code in a Markdown page, lines of blocks and in the text, that begins with a command."""
    return re.findall(r"(?:^|`)(stylelab [a-z][^`\n]*)", text, re.MULTILINE)


def test_code_quoted_from_the_package_is_there():
    """What the pages quote, and do not run, is marked as `py`."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "stylelab").glob("*.py"))
    quoted = [block for page in PAGES for block in blocks(page, "py")]
    assert quoted and [block for block in quoted if block not in sources] == []


@pytest.mark.parametrize("name", ["README", "docs/pictures", "docs/package"])
def test_python_on_the_pages_runs(name, tmp_path, monkeypatch):
    """With two random images of 64 pixels and few steps."""
    monkeypatch.chdir(tmp_path)
    for image in ("photo.jpg", "painting.jpg"):
        stylelab.save_image(torch.rand(1, 3, 64, 64), image)
    content, style = (stylelab.load_image(image) for image in ("photo.jpg", "painting.jpg"))
    names = {"stylelab": stylelab, "network": stylelab.load("vgg19-mini")}
    names |= {"content": content, "style": style}
    for block in blocks(ROOT / f"{name}.md", "python"):
        if "playground" not in block:
            short = re.sub(r"(load_image\([^,)]+), 512\)", r"\1, 64)", block)
            short = re.sub(r"steps=\d+", "steps=2", short)
            short = re.sub(r"(transfer\([^)]*hooks=hooks)\)", r"\1, steps=2)", short)
            exec(compile(short, f"{name}.md", "exec"), names)
    assert "result" not in names or names["result"].images.shape[2:] == (64, 64)
