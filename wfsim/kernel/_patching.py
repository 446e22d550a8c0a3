"""How a running simulation stands in for parts of the standard library, and how all of it is put back.

Two ways, both in force only while a simulation runs:

- `replace(original, stand_in)` for functions. Code holds references of its own (`from time import sleep`, a
  default argument `now=time.monotonic`, a class attribute, a dataclass's default_factory), so every module
  is searched for them. A module is searched once; starting a run costs as much as there are references, not
  modules.
- `override(cls, name, make)` for methods, also of types written in C (locks): it changes the type itself,
  so that it works for objects that were made long before and are kept in places that nobody can search.

A stand-in looks whether the simulation runs in the calling thread and else calls the original. So other
threads notice nothing, and a reference that somebody keeps after the run goes on to work.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import _lru_cache_wrapper
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CellType, ModuleType

_Function = TypeVar("_Function", bound="Callable[..., Any]")

_IMMUTABLE_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
_OWN = __name__.rpartition(".")[0]
_ABSENT: Any = object()
_FUNCTIONS = (FunctionType, MethodDescriptorType, WrapperDescriptorType)

_pairs: dict[int, tuple[Any, Any]] = {}
_overrides: list[_Override] = []
_declarations: dict[str, Callable[[], object]] = {}


def replace(original: Any, stand_in: _Function) -> _Function:
    """Let `stand_in` take the place of the function `original` wherever a module refers to it."""
    # A function that is an attribute of a class becomes a method; a builtin does not, nor a staticmethod.
    pair = (original, staticmethod(stand_in))
    _pairs[id(original)] = _pairs[id(pair[1])] = pair
    return stand_in


def override(cls: type, name: str, make: Callable[[Any], Any]) -> None:
    """Let `make(method)` take the place of the attribute `name` of `cls`, usually a method."""
    _overrides.append(_Override(cls, name, make))


def when_imported(module: str, declare: Callable[[], object]) -> None:
    """Call `declare`, which makes overrides, before the first run that finds `module` imported."""
    _declarations[module] = declare


def install() -> None:
    """Put all stand-ins in place."""
    for module in [module for module in _declarations if module in sys.modules]:
        _declarations.pop(module)()
    for one in _overrides:
        one.put()
    _references.refresh()
    for slot in _references.slots:
        slot.exchange(*slot.pair)


def restore() -> None:
    """Put all originals back, also into modules that were imported meanwhile."""
    _references.refresh()
    for slot in _references.slots:
        original, stand_in = slot.pair
        slot.exchange(stand_in, original)
    for one in _overrides:
        one.take_back()


# -- methods


class _Override:
    """A method of a type that is changed in the type itself."""

    def __init__(self, cls: type, name: str, make: Callable[[Any], Any]) -> None:
        self._cls = cls
        self._name = name
        self._make = make
        self._before: Any = None
        self._method: Any = None
        # `vars` of a type written in C is a read-only view; this is the dict behind it.
        self._namespace = gc.get_referents(vars(cls))[0] if cls.__flags__ & _IMMUTABLE_TYPE else None

    def put(self) -> None:
        before = vars(self._cls).get(self._name, _ABSENT)
        if before is not self._before:  # the first time, or somebody else has changed the method since
            self._before, self._method = before, self._make(_callable(before))
        self._set(self._method)

    def take_back(self) -> None:
        if vars(self._cls).get(self._name) is self._method:
            self._set(self._before)

    def _set(self, method: Any) -> None:
        if method is _ABSENT:
            delattr(self._cls, self._name)
        elif self._namespace is None:
            setattr(self._cls, self._name, method)
        else:
            self._namespace[self._name] = method
            ctypes.pythonapi.PyType_Modified(ctypes.py_object(self._cls))


def _callable(method: Any) -> Any:
    """Give a method as a function of its object: what libraries wrap around one has to be bound to it first."""
    if method is _ABSENT or type(method) in _FUNCTIONS:  # wrapt's wrappers say that they are instances
        return method

    def bound(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return method.__get__(self, type(self))(*args, **kwargs)

    return bound


# -- references


class _Slot(Protocol):
    """A place that holds a reference to an original or to its stand-in."""

    pair: tuple[Any, Any]

    def exchange(self, old: Any, new: Any) -> None:
        """Put `new` here if `old` is what is here."""


class _Item:
    """A module's global, or a keyword-only default."""

    __slots__ = ("_key", "_namespace", "pair")

    def __init__(self, pair: tuple[Any, Any], namespace: dict[str, Any], key: str) -> None:
        self.pair = pair
        self._namespace = namespace
        self._key = key

    def exchange(self, old: Any, new: Any) -> None:
        if self._namespace.get(self._key) is old:
            self._namespace[self._key] = new


class _Attribute:
    """An attribute of a class; a stand-in needs no wrapping, see `replace`."""

    __slots__ = ("_cls", "_key", "pair")

    def __init__(self, pair: tuple[Any, Any], cls: type, key: str) -> None:
        self.pair = pair
        self._cls = cls
        self._key = key

    def exchange(self, old: Any, new: Any) -> None:
        if vars(self._cls).get(self._key) is old:
            setattr(self._cls, self._key, new)


class _Wrapped:
    """A `staticmethod` of a class around an original."""

    __slots__ = ("_before", "_cls", "_key", "pair")

    def __init__(self, pair: tuple[Any, Any], cls: type, key: str) -> None:
        self.pair = pair
        self._cls = cls
        self._key = key
        self._before = vars(cls)[key]

    def exchange(self, _old: Any, new: Any) -> None:
        now = vars(self._cls).get(self._key)
        if new is self.pair[1]:
            if now is self._before:
                setattr(self._cls, self._key, new)
        elif now is self.pair[1]:
            setattr(self._cls, self._key, self._before)


class _Default:
    """A default of a positional argument."""

    __slots__ = ("_function", "_place", "pair")

    def __init__(self, pair: tuple[Any, Any], function: FunctionType, place: int) -> None:
        self.pair = pair
        self._function = function
        self._place = place

    def exchange(self, old: Any, new: Any) -> None:
        defaults, place = self._function.__defaults__, self._place
        if defaults and len(defaults) > place and defaults[place] is old:
            self._function.__defaults__ = (*defaults[:place], new, *defaults[place + 1 :])


class _Cell:
    """A variable of an enclosing function; there dataclasses keep their default factories."""

    __slots__ = ("_cell", "pair")

    def __init__(self, pair: tuple[Any, Any], cell: CellType) -> None:
        self.pair = pair
        self._cell = cell

    def exchange(self, old: Any, new: Any) -> None:
        if _content(self._cell) is old:
            self._cell.cell_contents = new


class _References:
    """All places in all modules that refer to an original or a stand-in."""

    def __init__(self) -> None:
        self.slots: list[_Slot] = []
        self._modules: list[ModuleType] = []
        self._namespaces: list[dict[str, Any]] = []
        self._size = 0
        self._found: dict[str, tuple[dict[str, Any], int, list[_Slot]]] = {}

    def refresh(self) -> None:
        """Search the modules that are new, or whose number of names changed, since the last time."""
        modules = list(sys.modules.values())
        if modules == self._modules and sum(map(len, self._namespaces)) == self._size:
            return
        before, self._found = self._found, {}
        for name, module in list(sys.modules.items()):
            namespace = _namespace(module)
            if namespace is None or name == _OWN or name.startswith((_OWN + ".", "time_machine")):
                continue
            known = before.get(name)
            if known is None or known[0] is not namespace or known[1] != len(namespace):
                known = (namespace, len(namespace), list(_search(namespace)))
            self._found[name] = known
        self._modules = modules
        self._namespaces = [namespace for namespace, _, _ in self._found.values()]
        self._size = sum(map(len, self._namespaces))
        self.slots = [slot for _, _, slots in self._found.values() for slot in slots]


def _namespace(module: object) -> dict[str, Any] | None:
    try:
        # Not `vars`: that would make a lazy module import itself.
        found = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def _search(namespace: dict[str, Any]) -> Iterator[_Slot]:
    name = namespace.get("__name__")
    for key, value in list(namespace.items()):
        if id(value) in _pairs:
            yield _Item(_pairs[id(value)], namespace, key)
        elif type(value) is not BuiltinFunctionType:
            yield from _search_value(value, name)


def _search_value(value: Any, module: Any) -> Iterator[_Slot]:
    # Only what the module itself defines: the rest is found where it comes from.
    kind = type(value)
    if kind is FunctionType:
        if value.__module__ == module:
            yield from _search_function(value)
    elif kind is _lru_cache_wrapper:
        yield from _search_value(value.__wrapped__, module)
    elif issubclass(kind, type) and type.__getattribute__(value, "__dict__").get("__module__") == module:
        yield from _search_class(value)


def _search_function(function: FunctionType) -> Iterator[_Slot]:
    for place, value in enumerate(function.__defaults__ or ()):
        if id(value) in _pairs:
            yield _Default(_pairs[id(value)], function, place)
    keywords = function.__kwdefaults__ or {}
    for key, value in keywords.items():
        if id(value) in _pairs:
            yield _Item(_pairs[id(value)], keywords, key)
    for cell in function.__closure__ or ():
        value = _content(cell)
        if id(value) in _pairs:
            yield _Cell(_pairs[id(value)], cell)
        elif type(value) is FunctionType and value.__module__ == function.__module__:
            yield from _search_defaults(value)


def _search_defaults(function: FunctionType) -> Iterator[_Slot]:
    """Search a function that a decorator hides; not its own closure, functions may enclose each other."""
    for place, value in enumerate(function.__defaults__ or ()):
        if id(value) in _pairs:
            yield _Default(_pairs[id(value)], function, place)


def _search_class(cls: type) -> Iterator[_Slot]:
    for key, value in list(type.__getattribute__(cls, "__dict__").items()):
        if id(value) in _pairs:
            yield _Attribute(_pairs[id(value)], cls, key)
            continue
        inner = value.__func__ if type(value) in {staticmethod, classmethod} else value
        if id(inner) in _pairs:
            yield _Wrapped(_pairs[id(inner)], cls, key)
        elif type(inner) is FunctionType:
            yield from _search_function(inner)
        else:
            yield from _search_member(cls, key, inner)


def _search_member(cls: type, key: str, value: Any) -> Iterator[_Slot]:
    if type(value) is property:
        for function in (value.fget, value.fset, value.fdel):
            if type(function) is FunctionType:
                yield from _search_function(function)
    elif issubclass(type(value), type) and value.__qualname__ == f"{cls.__qualname__}.{key}":
        yield from _search_class(value)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


_references = _References()
