"""Write badges that open the notebooks in Colab and on Binder.

    python tools/badges.py OWNER/REPO [--branch main]

The repository's address goes into pyproject.toml, badges into README.md. Every numbered notebook
gets two cells after its title: the badges, and code tagged `colab-setup`, which installs stylelab
in Colab and does nothing elsewhere. A second run replaces what the first one wrote. Run
`make gallery` afterwards: it executes the changed notebooks. Binder installs from environment.yml.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from stylelab.errors import SettingError, StylelabError
from stylelab.files.local import atomic
from stylelab.runs import notebooks as runner

ROOT = Path(__file__).resolve().parents[1]
BADGES, SETUP = "badges", "colab-setup"  # ids of the cells; the second is also a tag
COLAB = "https://colab.research.google.com"
BINDER = "https://mybinder.org"
CODE = """\
import sys

if "google.colab" in sys.modules:  # nothing happens anywhere else
    %cd -q /content
    !test -d {name} || git clone --quiet --depth 1 --branch {branch} {address}
    %pip install --quiet --editable ./{name}[notebooks]
    sys.path.insert(0, "/content/{name}")  # only a new kernel would see the installation
    %cd -q /content/{name}/notebooks"""


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Write address, badges and cells into the checkout `root`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("repository", metavar="OWNER/REPO", help="the repository on GitHub")
    parser.add_argument("--branch", default="main", help="branch to open (default: main)")
    options = parser.parse_args(argv)
    try:
        write(root, options.repository, options.branch)
    except StylelabError as error:
        parser.error(str(error))


def write(root: Path, repository: str, branch: str = "main") -> None:
    """Write all files, or none if one of them is not as expected.

    Raises:
        SettingError: if `repository` is not OWNER/REPO, or `branch` not a branch's name.
        StylelabError: if a file is not as expected.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]+/[\w.-]*\w", repository, re.ASCII):
        raise SettingError(f"name the repository as OWNER/REPO; got {repository!r}")
    if not re.fullmatch(r"\w[\w./-]*", branch, re.ASCII):
        raise SettingError(f"--branch must be the name of a branch, such as main; got {branch!r}")
    notebooks = runner.find(root / "notebooks")
    texts = {path: notebook(path, repository, branch) for path in notebooks}
    texts[root / "README.md"] = readme(root / "README.md", repository, branch)
    texts[root / "pyproject.toml"] = settings(root / "pyproject.toml", repository)
    for file, text in texts.items():
        with atomic(file) as path:
            path.write_text(text, encoding="utf-8")
    print(f"wrote {len(notebooks)} notebooks, README.md and pyproject.toml; now run make gallery")


def notebook(path: Path, repository: str, branch: str) -> str:
    """The text of a notebook with badges and set-up; earlier ones are replaced."""
    page = nbformat.read(path, as_version=4)
    page.cells = [cell for cell in page.cells if cell.id not in (BADGES, SETUP)]
    if not page.cells or not page.cells[0].source.startswith("# "):
        raise StylelabError(f"{path} must begin with a cell that is its title")
    address, name = f"https://github.com/{repository}", repository.partition("/")[2]
    code = CODE.format(name=name, branch=branch, address=address)
    page.cells[1:1] = [
        new_markdown_cell(badges(repository, branch, f"notebooks/{path.name}"), id=BADGES),
        new_code_cell(code, id=SETUP, metadata={"tags": [SETUP]}),
    ]
    nbformat.validate(page)
    return nbformat.writes(page) + "\n"


def badges(repository: str, branch: str, file: str) -> str:
    """Markdown that opens a file of the repository in Colab, and on Binder."""
    colab = f"{COLAB}/github/{repository}/blob/{branch}/{file}"
    binder = f"{BINDER}/v2/gh/{repository}/{quote(branch, safe='')}?labpath={quote(file, safe='')}"
    return (
        f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({colab}) "
        f"[![Open on Binder]({BINDER}/badge_logo.svg)]({binder})"
    )


def readme(path: Path, repository: str, branch: str) -> str:
    """The README with badges below its title; earlier ones are replaced."""
    title, *lines = path.read_text(encoding="utf-8").split("\n")
    if not title.startswith("# "):
        raise StylelabError(f"{path} must begin with its title")
    if lines[:1] == [""] and lines[1:2] and lines[1].startswith("[![Open in Colab]"):
        lines = lines[2:]
    first = runner.find(path.parent / "notebooks")[0]
    return "\n".join([title, "", badges(repository, branch, f"notebooks/{first.name}"), *lines])


def settings(path: Path, repository: str) -> str:
    """pyproject.toml with the repository's address; an earlier one is replaced."""
    text = path.read_text(encoding="utf-8")
    line = f'Repository = "https://github.com/{repository}"'
    if re.search(r"^\[project\.urls\]$", text, re.MULTILINE):
        text, count = re.subn(r'^Repository = ".*"$', line, text, flags=re.MULTILINE)
        if count != 1:
            raise StylelabError(f"{path} must have one line, Repository, in [project.urls]")
        return text
    before, table, after = text.partition("[project.optional-dependencies]\n")
    if not table:
        raise StylelabError(f"{path} must have a table [project.optional-dependencies]")
    return f"{before}[project.urls]\n{line}\n\n{table}{after}"


if __name__ == "__main__":
    main()
