"""Python references in a scenario file: ``module:attribute`` or ``file.py:attribute``."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import traceback
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from wfsim.scenario._problems import Wrong, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_PACKAGE = "scenario"
_FORM = 'write "module:attribute", or "file.py:attribute" with a path relative to this file'


def load_reference(text: Any, folder: FilePath, loaded: dict[str, ModuleType] | None = None) -> Any:
    """Return what a reference names; files are looked up from ``folder``, modules from there too.

    A file is executed anew each time, so that no scenario sees what another left in its globals; but of one that
    is in ``loaded``, which is kept up to date, that is taken. Raises Wrong if there is no such file, module or
    attribute, or if importing it fails.
    """
    where, _, attribute = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if not attribute or not (where.endswith(".py") or _is_module(where)):
        raise Wrong(f"expected a Python reference, got {_shown(text)}; {_FORM}")
    loaded = {} if loaded is None else loaded
    if where not in loaded:
        loaded[where] = _load_file(folder, where) if where.endswith(".py") else _load_module(where, folder)
    module = loaded[where]
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = (
                [name for name in vars(found) if not name.startswith("_")]
                if hasattr(found, "__dict__")
                else []
            )
            raise Wrong(f"{where} has no attribute {attribute!r}", suggestion=_near(attribute, names, where))
        found = getattr(found, part)
    return found


def load_error(text: Any, folder: FilePath) -> type[Exception]:
    """Return an exception class: a built-in one by its name, another by a reference. Raises Wrong."""
    if isinstance(text, str) and ":" in text:
        found = load_reference(text, folder)
    else:
        found = getattr(builtins, text, None) if isinstance(text, str) else None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    names = [name for name, value in vars(builtins).items() if _is_error(value)]
    raise Wrong(
        f"{_shown(text)} is no exception; name a built-in one (ConnectionError), or write module:Class",
        suggestion=nearest(text, names),
    )


def reference_to(error: type, folder: FilePath) -> str:
    """Return what ``load_error`` reads as this exception: a built-in name, or a reference."""
    name = error.__qualname__
    if error.__module__ == "builtins":
        return name
    if not error.__module__.startswith(f"{_PACKAGE}."):
        return f"{error.__module__}:{name}"
    path = str(sys.modules[error.__module__].__file__)
    return f"{os.path.relpath(path, folder)}:{name}"


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, Warning)


def _is_module(name: str) -> bool:
    return "/" not in name and all(name.split("."))


def _load_file(folder: FilePath, shown: str) -> ModuleType:
    path = folder / shown
    if not path.is_file():
        problem = f"there is no file {shown}; its path is relative to this file"
        raise Wrong(problem, suggestion=_near_file(folder, shown))
    name = f"{_PACKAGE}.{path.resolve().parent.name}.{path.stem}"
    loader = SourceFileLoader(name, str(path))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up while it is executed
    with _importable(path.parent, shown):
        loader.exec_module(module)
    return module


def _load_module(name: str, folder: FilePath) -> ModuleType:
    with _importable(folder, name):
        return importlib.import_module(name)


@contextmanager
def _importable(folder: FilePath, shown: str) -> Iterator[None]:
    """Let imports find ``folder`` and the current directory; turn whatever goes wrong into one problem."""
    before = list(sys.path)
    sys.path[:0] = [str(folder), ""]
    try:
        yield
    except ModuleNotFoundError as error:
        what = (
            f"there is no module {error.name}"
            if error.name == shown
            else f"importing {shown} failed: {error}"
        )
        raise Wrong(what) from error
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno
        at = FilePath(error.filename or shown if isinstance(error, SyntaxError) else frames[-1].filename).name
        what = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
        raise Wrong(f"importing {shown} failed: {what} ({at}, line {line})") from error
    finally:
        sys.path[:] = before


def _near_file(folder: FilePath, shown: str) -> str:
    """Find the file that was probably meant: of that name in a directory above, or of a similar one beside."""
    for above in ("..", "../.."):
        if (folder / above / shown).is_file():
            return f"{above}/{shown}"
    path = folder / shown
    siblings = sorted(other.name for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
    return nearest(path.name, siblings)


def _near(attribute: str, names: list[str], where: str) -> str:
    close = nearest(attribute, names)
    return f"{where}:{close}" if close else ""


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)
