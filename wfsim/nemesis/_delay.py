"""Delay: the call takes longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

from wfsim.errors import DesignError
from wfsim.kernel import Distribution, constant, sleep
from wfsim.nemesis._rule import Rule, Where, check_options, fault_kind, rule
from wfsim.units import NS_PER_SECOND, Duration

if TYPE_CHECKING:
    from wfsim.kernel import FaultPoint, Simulation
