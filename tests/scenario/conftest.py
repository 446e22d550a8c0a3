"""A folder with Python designs for scenario files to name."""

from __future__ import annotations

import pytest

DESIGNS = '''
"""Designs for the tests of scenario files."""

import asyncio

from wfsim import effect
from wfsim.workflows import Saga

NUMBER = 3


class OutOfStock(Exception):
    pass


async def checkout(order=None):
    await asyncio.sleep(1)
    effect("charged", order)
    return order


class Shop:
    name = "shop"

    def __init__(self, *, patience: int = 1, greeting: str = "hello"):
        self.patience = patience
        self.greeting = greeting
        self.seen = 0

    async def run(self, order=None):
        self.seen += 1
        return (self.greeting, self.patience, self.seen, order)


class Unready:
    def __init__(self):
        raise RuntimeError("no database")

    async def run(self):
        pass


def make(**anything):
    return checkout


def clerk(environment):
    yield environment.timeout(1)


saga = Saga("hand made").add_step("reserve", forward=lambda: None)
'''


@pytest.fixture
def folder(tmp_path):
    """A folder with designs, right and wrong."""
    (tmp_path / "designs.py").write_text(DESIGNS)
    (tmp_path / "needy.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "unfinished.py").write_text("def checkout(:\n")
    (tmp_path / "explosive.py").write_text("\n1 / 0\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
    return tmp_path
