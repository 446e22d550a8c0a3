"""The saga, in its parts: what it is made of, how it runs, and how it finds its way back."""

from __future__ import annotations

from wfsim.workflows._saga._saga import Context, Saga, Step

__all__ = ["Context", "Saga", "Step"]
