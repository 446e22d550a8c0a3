"""A saga as a step of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.workflows._saga._lives import start, undo

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.storage import Journal
    from wfsim.workflows._saga._context import Context
    from wfsim.workflows._saga._saga import Saga


class Nested:
    """Runs the inner saga as one step; its compensation is the inner saga's whole compensation.

    The inner instance is named after the outer one and the step, and kept in the outer saga's journal.
    """

    __slots__ = ("_given", "_inner", "_journal")

    def __init__(self, inner: Saga, given: Callable[[Context], Any] | None, journal: Journal | None) -> None:
        self._inner = inner
        self._given = given
        self._journal = journal

    async def forward(self, context: Context) -> dict[str, Any]:
        """Run the inner saga, or carry it on."""
        return await start(self._inner, self._input(context), self._key(context), self._journal)

    async def compensate(self, context: Context) -> None:
        """Undo all that the inner saga has done."""
        key, results = self._key(context), context.get(context.step)
        await undo(self._inner, self._input(context), key, results, self._journal, context.error)

    def _input(self, context: Context) -> Any:
        return context.input if self._given is None else self._given(context)

    def _key(self, context: Context) -> str:
        return f"{context.key}/{context.step}"
