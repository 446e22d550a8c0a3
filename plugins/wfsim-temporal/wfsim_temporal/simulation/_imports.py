"""What programs import from elsewhere is imported before their run, as it is for the tests in a file.

Libraries look around in the real world when they are imported: sentry_sdk ends up in starting ``ldconfig``. A run
refuses that, and so it has to be over before the run begins. The programs' own modules belong to the run.
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wfsim_temporal.errors import NotSimulated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class _Wanted(NamedTuple):
    module: str
    names: tuple[str, ...] = ()  # those that are imported from it
    folder: Path | None = None  # of a relative import: where it begins

    @property
    def modules(self) -> list[str]:
        """All that may be modules: ``shop`` and ``shop.orders`` in ``from shop import orders``."""
        inner = [f"{self.module}.{name}" if self.module else name for name in self.names]
        return [self.module, *inner] if self.module else inner


def import_libraries(programs: Sequence[str], folders: Sequence[str]) -> None:
    """Import whatever ``programs`` and their own modules, which lie in ``folders``, import at their top.

    What cannot be imported is left to the program, which may know of it. Raises NotSimulated for gevent.
    """
    waiting = [found for one in programs for found in _own_files(one, folders)]
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for wanted in _imports_of(file):
            places = folders if wanted.folder is None else [str(wanted.folder)]
            own = [found for name in wanted.modules for found in _own_files(name, places)]
            waiting += own
            if not own and wanted.folder is None:
                _import(wanted, file)


def _own_files(name: str, folders: Sequence[str]) -> Iterator[Path]:
    """Give the file of a program; or those that importing a module runs, of its packages too."""
    if name.endswith(".py"):
        yield Path(name).resolve()
        return
    parts = name.split(".")
    for folder in folders:
        for depth in range(1, len(parts) + 1):
            path = Path(folder, *parts[:depth])
            files = (path / "__init__.py", path / "__main__.py", path.with_suffix(".py"))
            yield from (one for one in files if one.is_file())


def _imports_of(file: Path) -> Iterator[_Wanted]:
    try:
        waiting: list[ast.AST] = [ast.parse(file.read_bytes())]
    except (OSError, SyntaxError, ValueError):
        return  # the program says it when it runs
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (_Wanted(one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = file.parents[node.level - 1] if node.level else None
            yield _Wanted(node.module or "", tuple(one.name for one in node.names), folder)
        elif not isinstance(node, _FUNCTIONS) and not _is_for_types_alone(node):
            waiting += ast.iter_child_nodes(node)


def _is_for_types_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _import(wanted: _Wanted, file: Path) -> None:
    library = wanted.module.partition(".")[0]
    if library == "gevent":
        raise NotSimulated(
            f"{file.name} imports gevent, whose event loop waits in real time. Run what it calls without gevent: "
            "in a simulation sleeps, threads, locks and asyncio are virtual as they are."
        )
    if library in sys.stdlib_module_names:
        return
    for name in wanted.modules:
        # What is imported from a module is a module itself if nothing else.
        if name in sys.modules or hasattr(sys.modules.get(wanted.module), name.rpartition(".")[2]):
            continue
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - any code may run; the program meets it again
            return
