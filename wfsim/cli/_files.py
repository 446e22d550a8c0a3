"""Which files the given paths mean."""

from __future__ import annotations

from pathlib import Path

from wfsim.errors import ScenarioError

SUFFIXES = (".yaml", ".yml")


def scenario_files(path: str) -> list[str]:
    """Give the scenario files that ``path`` means: itself, or all in that directory, hidden ones left out.

    Raise ScenarioError if there is nothing there.
    """
    place = Path(path)
    if place.is_file():
        return [path]
    if not place.is_dir():
        if place.is_symlink():
            raise ScenarioError(f"a link to {place.readlink()}, which does not exist", path)
        raise ScenarioError("no such file or directory", path, suggestion=_near(place))
    found = sorted(file for file in place.rglob("*") if file.suffix in SUFFIXES and not _hidden(file, place))
    if not found:
        raise ScenarioError("no scenario in this directory: it holds no .yaml or .yml file", path)
    return [str(file) for file in found]


def _hidden(file: Path, under: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(under).parts)


def _near(path: Path) -> str:
    """Find the neighbour whose name was probably meant."""
    from difflib import get_close_matches

    if not path.parent.is_dir():
        return ""
    names = sorted(
        other.name for other in path.parent.iterdir() if other.is_dir() or other.suffix in SUFFIXES
    )
    close = get_close_matches(path.name, [name for name in names if name != path.name], n=1)
    return str(path.parent / close[0]) if close else ""
