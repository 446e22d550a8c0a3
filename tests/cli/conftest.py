"""Scenario files to run from the command line."""

from __future__ import annotations

import pytest

GOOD = """\
name: bank outage
design:
  saga: shop
  steps:
    - name: reserve
      latency: 30ms
      compensate: release
    - name: charge
      latency: 20ms..80ms
      retry: {attempts: 3, delay: 200ms}
      compensate: refund
faults:
  - fail: {error: ConnectionError, message: bank is down}
    at: charge
expect:
  - compensated_in_reverse
  - effect_count: {name: charge, exactly: 0}
seeds: [3, 4]
"""
FAILING = GOOD.replace("exactly: 0", "exactly: 1").replace("bank outage", "wrong hope")
BAD = GOOD.replace("faults:", "fautls:")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a good, a failing and (below, in ``broken``) a bad scenario."""
    for name, text in (("good.yaml", GOOD), ("failing.yml", FAILING), ("broken/bad.yaml", BAD)):
        path = tmp_path / "scenarios" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path
