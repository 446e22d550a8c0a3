"""What the tests share: every history that they write has to pass Temporal's own Replayer."""

import sys
from pathlib import Path

import pytest
import wfsim_temporal

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def simulate():
    """Run something in a simulation, and let the real Replayer judge each history that it wrote."""

    def run(main, *args, **options):
        done = wfsim_temporal.simulate(main, *args, **options)
        if not isinstance(done.error, wfsim_temporal.NonDeterministicWorkflow):
            done.check_replay()
        return done

    return run
