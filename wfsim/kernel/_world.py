"""PLACEHOLDER by the lead until the real one lands: shows the interface that _simulation.py uses."""
class World:
    def __init__(self, simulation):  # .environment.now_ns, .stream(name), .start (aware datetime)
        self.simulation = simulation
    def __enter__(self): return self
    def __exit__(self, *exc): return None
