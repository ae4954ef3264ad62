"""Reads the structure of a package from its source: classes, rooms and imports.

A room is a folder of modules; a module at the top of a package is a room of its own.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Arrow:
    """One import from another room."""

    source: str
    target: str
    importer: str
    imported: str

    def __str__(self) -> str:
        return f"{self.importer} imports {self.imported}"


class Package:
    """The modules of a package, by their dotted names."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.paths = {_dotted(path, folder.parent): path for path in sorted(folder.rglob("*.py"))}

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {name: ast.parse(path.read_text()) for name, path in self.paths.items()}

    def room(self, module: str) -> str:
        """Returns the room's path below the package, as "capture/model"; "" is the package."""
        inside = module.split(".")[1:]
        is_folder = self.paths[module].name == "__init__.py"
        return "/".join(inside if is_folder else inside[:-1] or inside)

    def classes(self) -> Iterator[str]:
        for tree in self.trees.values():
            yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))

    def files(self) -> Iterator[str]:
        return (path.name for path in self.paths.values() if path.name != "__init__.py")

    def folder_sizes(self) -> Counter[Path]:
        """Returns the number of modules by folder, `__init__.py` not counted."""
        paths = self.paths.values()
        return Counter(path.parent for path in paths if path.name != "__init__.py")

    def public_modules(self) -> set[str]:
        return {name for name in self.paths if not _is_folder_or_private(name, self.paths[name])}

    def arrows(self) -> Iterator[Arrow]:
        """Imports between rooms, also those inside functions."""
        for module, tree in self.trees.items():
            for imported in self.imported_by(tree):
                source, target = self.room(module), self.room(imported)
                if source != target:
                    yield Arrow(source, target, module, imported)

    def imported_by(self, tree: ast.Module) -> Iterator[str]:
        """Modules of this package that the code imports, where it names them."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in self.paths)
            elif isinstance(node, ast.ImportFrom) and node.module in self.paths:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in self.paths else node.module

    def exports(self, module: str) -> dict[str, str]:
        """Returns where a folder's `__init__` has its names from."""
        found = {}
        for node in self.trees[module].body:
            if isinstance(node, ast.ImportFrom) and node.module in self.paths:
                found |= {alias.name: node.module for alias in node.names}
        return found

    def imported_by_name(self, tree: ast.Module) -> Iterator[str]:
        """As `imported_by`, and the modules behind names that a folder's `__init__` exports."""
        yield from self.imported_by(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in self.paths:
                exports = self.exports(node.module)
                yield from (exports[name.name] for name in node.names if name.name in exports)


def repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def arrows_against(order: tuple[str, ...], arrows: Iterable[Arrow]) -> list[str]:
    """Returns the imports of a room that does not come after the importing one in `order`."""
    position = {room: number for number, room in enumerate(order)}
    return [str(arrow) for arrow in arrows if position[arrow.source] >= position[arrow.target]]


def unlisted(order: tuple[str, ...], package: Package) -> set[str]:
    """Returns rooms that are not in `order`, and entries of `order` that are no rooms."""
    return {package.room(module) for module in package.paths} ^ set(order)


def untested(package: Package, tests: Iterable[Path]) -> list[str]:
    """Returns the public modules that no test imports."""
    trees = (ast.parse(path.read_text()) for path in tests)
    imported = {module for tree in trees for module in package.imported_by_name(tree)}
    return sorted(package.public_modules() - imported)


def _dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _is_folder_or_private(module: str, path: Path) -> bool:
    return path.name == "__init__.py" or any(part.startswith("_") for part in module.split("."))
