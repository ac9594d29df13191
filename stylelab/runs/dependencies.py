"""Which files of the package a notebook depends on, found by following its imports.

Where the source does not tell, as with `eval`, every file counts.
"""

import ast
from collections.abc import Sequence
from modulefinder import ModuleFinder
from pathlib import Path

# Names in a cell after which anything may be used; magics become calls of `get_ipython`.
DYNAMIC = {"__import__", "eval", "exec", "get_ipython", "getattr", "importlib", "subprocess", "*"}


def files_used(cells: Sequence[str], package: Path) -> list[Path]:
    """The modules and assets of the package in the folder `package` that code cells depend on.

    Assets are the files in folders named `assets`. Those of the package itself always count, those
    of a sub-package if one of its modules does.
    """
    from IPython.core.inputtransformer2 import TransformerManager  # comes with ipykernel

    finder = _PackageFinder(package)
    try:
        tree = ast.parse("\n".join(map(TransformerManager().transform_cell, cells)))
        nodes = list(ast.walk(tree))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {part for n in nodes if isinstance(n, ast.alias) for part in n.name.split(".")}
        names |= {(n.module or "").split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom)}
        homes = [home for name, home in _lazy_names(package).items() if name in names]
        tree.body += [ast.Import([ast.alias(f"{package.name}.{home}")]) for home in homes]
        code = compile(ast.fix_missing_locations(tree), "notebook", "exec")
        finder.scan_code(code, finder.add_module("__main__"))
        modules = {Path(m.__file__) for m in finder.modules.values() if m.__file__}
        is_clear = not names & DYNAMIC
    except (SyntaxError, ValueError):
        is_clear = False
    if not is_clear:
        modules = set(package.rglob("*.py"))
    folders = {package, *(module.parent for module in modules)}
    assets = {asset for folder in folders for asset in (folder / "assets").rglob("*")}
    return sorted(path for path in modules | assets if path.is_file())


class _PackageFinder(ModuleFinder):
    """Finds the modules of one package; those of others are left out, wherever they are."""

    def __init__(self, package: Path) -> None:
        super().__init__(path=[str(package.parent)])
        self._package = package.name

    def find_module(self, name: str, path: list[str] | None, *parent: object):
        if path is None and name != self._package:
            raise ImportError(name)
        return super().find_module(name, path, *parent)


def _lazy_names(package: Path) -> dict[str, str]:
    """The modules of the names that a package looks up when they are first used."""
    for node in ast.parse((package / "__init__.py").read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return ast.literal_eval(node.value)
    return {}
