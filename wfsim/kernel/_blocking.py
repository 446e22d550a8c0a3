"""PLACEHOLDER by the lead until the real one lands: shows the interface that _simulation.py, _loop.py, _process.py use."""
class Bridge:
    def __init__(self, simulation):  # .environment, .new_loop(), .loops
        self.simulation = simulation
    def __enter__(self): return self          # installs patches; also asyncio's event loop policy stays the lead's
    def __exit__(self, *exc): return None
    def in_thread(self): return False         # whether this code runs in a simulated thread (a greenlet other than the hub)
    def parker(self, what): raise NotImplementedError   # object with .park() (blocks this thread) and .wake() (from anywhere), for a nested event loop
    def call_blocking(self, func, args, loop):          # -> asyncio future of `loop`; starts func at once in a new greenlet, context copied by caller
        future = loop.create_future()
        try: future.set_result(func(*args))
        except Exception as error: future.set_exception(error)
        return future
    def crash(self, is_of):                   # is_of(context) -> bool: freeze all threads whose context answers yes
        return None
    def waiting(self): return ()              # tuple[Waiting, ...] of blocked threads (wfsim.kernel._waiting.Waiting)
    def finish(self): return None             # wait in virtual time for non-daemon threads, abandon daemon ones
