"""What the tests share: every history that they write has to pass Temporal's own Replayer (``replayed.py``)."""

import os
import sys
from pathlib import Path

import pytest
import wfsim_temporal

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
pytest_plugins = ["replayed"]
# So do the sessions that tests start.
os.environ["PYTEST_PLUGINS"] = "replayed"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, os.environ.get("PYTHONPATH")]))


def pytest_collection_modifyitems(items):
    for item in items:
        if "real" in item.fixturenames:
            item.add_marker("real_server")


@pytest.fixture
def simulate():
    """Run something in a simulation."""
    return wfsim_temporal.simulate


@pytest.fixture
def unreplayed():
    """Keep a test's histories from the real Replayer: it would wait for code that comes to no end."""
    import replayed

    yield
    replayed.servers.clear()
