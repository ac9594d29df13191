"""Which files of the package a notebook depends on, found by reading its imports.

Where the source does not tell, as with `getattr(stylelab, name)` or `eval`, every file counts.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

# Names in a cell after which anything may be used.
DYNAMIC = {"__import__", "eval", "exec", "get_ipython", "import_module", "importlib", "subprocess"}


def files_used(cells: Sequence[str], root: Path) -> list[Path]:
    """The modules and assets of the package in the folder `root` that code cells depend on.

    Assets are the files in folders named `assets`. Those of the package itself always count, those
    of a sub-package if one of its modules does.
    """
    package = _Package(root)
    try:
        tree = ast.parse("\n".join(map(_plain_python, cells)))
        unclear = _is_dynamic(tree, root.name)
    except (SyntaxError, ValueError):
        unclear = True
    used = package.modules if unclear else package.reachable(set(_mentions(tree)))
    files = {package.modules[name] for name in used}
    folders = {root, *(file.parent for file in files)}
    assets = (asset for folder in folders for asset in (folder / "assets").rglob("*"))
    return sorted(files | {asset for asset in assets if asset.is_file()})


class _Package:
    """The modules of a package: their files, and the names that its packages look up lazily."""

    def __init__(self, root: Path) -> None:
        self.name, self.modules = root.name, {}
        for file in filter(Path.is_file, root.rglob("*.py")):
            parts = (root.name, *file.relative_to(root).with_suffix("").parts)
            self.modules[".".join(parts).removesuffix(".__init__")] = file

    def reachable(self, mentioned: set[str]) -> set[str]:
        """The modules that dotted names lead to, directly or through imports."""
        used, waiting = set(), mentioned
        while waiting:
            new = {module for name in waiting for module in self._resolve(name)} - used
            used |= new
            waiting = {name for module in new for name in self._imports(module)}
        return used

    def _imports(self, module: str) -> Iterator[str]:
        is_package = self.modules[module].stem == "__init__"
        yield from _mentions(
            self._parse(module), module if is_package else module.rpartition(".")[0]
        )

    def _resolve(self, name: str) -> Iterator[str]:
        """The modules that Python loads for the dotted name of a module or of something in one."""
        module, rest = "", name.split(".")
        while rest and (longer := f"{module}.{rest[0]}".lstrip(".")) in self.modules:
            module = longer
            del rest[0]
            yield module
        if module and rest and self.modules[module].stem == "__init__":
            tree = self._parse(module)
            homes = _constant_pairs(tree) if _is_lazy(tree) else {}
            if rest[0] in homes:
                yield from self._resolve(f"{module}.{homes[rest[0]]}")
            elif rest[0] == "*" or (_is_lazy(tree) and rest[0] not in _assigned(tree)):
                yield from (each for each in self.modules if each.startswith(module))

    def _parse(self, module: str) -> ast.Module:
        return ast.parse(self.modules[module].read_bytes())


def _mentions(tree: ast.Module, package: str = "") -> Iterator[str]:
    """The dotted names that code in `package` imports or reaches as attributes."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                first = alias.name.partition(".")[0]
                bound[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                yield f"{base}.{alias.name}"
                bound[alias.asname or alias.name] = f"{base}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if first in bound:
                yield f"{bound[first]}.{rest}"


def _is_dynamic(tree: ast.Module, package: str) -> bool:
    """Whether cells may use anything: they evaluate text, or pass on the whole package."""
    nodes = list(ast.walk(tree))
    followed = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    names = [node for node in nodes if isinstance(node, ast.Name)]
    passed_on = {node.id for node in names if id(node) not in followed}
    imported = [node for node in nodes if isinstance(node, ast.alias)]
    aliases = {alias.asname or package for alias in imported if alias.name == package}
    words = {node.id for node in names} | {alias.name.partition(".")[0] for alias in imported}
    return bool(words & DYNAMIC or aliases & passed_on)


def _is_lazy(tree: ast.Module) -> bool:
    """Whether a package looks up names when they are first used."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body
    )


def _assigned(tree: ast.Module) -> set[str]:
    targets = (node.targets for node in tree.body if isinstance(node, ast.Assign))
    return {target.id for row in targets for target in row if isinstance(target, ast.Name)}


def _constant_pairs(tree: ast.Module) -> dict[str, str]:
    """The dictionaries of texts in a module: where a lazy package's names have their homes."""
    return {
        key.value: value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    }


def _plain_python(cell: str) -> str:
    """A cell with calls in place of IPython's magics."""
    from IPython.core.inputtransformer2 import TransformerManager  # comes with ipykernel

    return TransformerManager().transform_cell(cell)
