"""Measure wfsim against a hand-written SimPy model of the same work, in one process.

python benchmarks/run.py            a table
python benchmarks/run.py --json     one object: work -> contender -> how many times as fast as SimPy
python benchmarks/run.py --growth   what one workflow costs among 1,000, 10,000 and 100,000 that arrive over time
python benchmarks/run.py --list     what there is
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# The wfsim that is measured is the one that this file came with.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import event_bus
import mm4_queue
import recorded_dag
import recorded_saga
import retry_saga
from works import BASELINE, Figures, Work, assert_same

SEED = 1
GROWTH_SIZES = (1_000, 10_000, 100_000)

Ratios = dict[str, float]
Tell = Callable[[str], None]


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(argv)
    makers = (retry_saga, mm4_queue, recorded_saga, recorded_dag, event_bus)
    works = [module.work() for module in makers]
    if options.list:
        _list(works)
        return 0
    if options.growth:
        _print_growth(growth(recorded_saga.work()), as_json=options.json)
        return 0
    unknown = [name for name in options.work or () if name not in {work.name for work in works}]
    if unknown:
        known = ", ".join(work.name for work in works)
        print(f"there is no work {', '.join(unknown)}; there are: {known}", file=sys.stderr)
        return 2
    chosen = [work for work in works if not options.work or work.name in options.work]
    rounds = options.rounds or (3 if options.quick else 15)
    ratios = {work.name: measure(work, rounds, quick=options.quick, tell=_tell) for work in chosen}
    if options.json:
        print(
            json.dumps(
                {name: {who: round(ratio, 3) for who, ratio in row.items()} for name, row in ratios.items()}
            )
        )
    else:
        _print_table(chosen, ratios, rounds)
    return 0


def measure(work: Work, rounds: int, *, quick: bool = False, tell: Tell = lambda _line: None) -> Ratios:
    """How many times as fast as SimPy each contender is: the median of the rounds.

    A round lets every contender do the work once, one after another, and compares what they took within that round
    only: a machine that is slow for a while is slow for all of them. The first round warms up and is not counted; in
    it every contender's figures are compared.
    """
    size = work.quick_size if quick else work.size
    expected = work.contenders[BASELINE](size, SEED)
    work.check(expected)
    for who, contender in work.contenders.items():
        figures = contender(size, SEED)
        if work.exact:
            assert_same(figures, expected, f"{work.name}: {who}")
        else:
            work.check(figures)
    ratios: dict[str, list[float]] = {who: [] for who in work.contenders}
    for number in range(1, rounds + 1):
        tell(f"{work.name}: round {number} of {rounds}")
        took = {who: _cpu_seconds(work, who, size) for who in _rotated(work.contenders, number)}
        for who, values in ratios.items():
            values.append(took[BASELINE] / took[who])
    tell("")
    return {who: statistics.median(values) for who, values in ratios.items()}


def growth(work: Work, sizes: tuple[int, ...] = GROWTH_SIZES) -> dict[str, dict[int, float]]:
    """Microseconds of CPU time for one item among so many, for each contender: the best of some rounds."""
    return {
        who: {size: min(_cpu_seconds(work, who, size) for _ in range(3)) / size * 1e6 for size in sizes}
        for who in work.contenders
    }


def _print_growth(costs: dict[str, dict[int, float]], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({who: {str(n): round(us, 2) for n, us in row.items()} for who, row in costs.items()})
        )
        return
    print(f"microseconds for one saga among so many that arrive over time, Python {sys.version.split()[0]}")
    print(" " * 8, *(f"{size:>10,}" for size in GROWTH_SIZES))
    for who, row in costs.items():
        print(f"{who:<8}", *(f"{us:>10.1f}" for us in row.values()))


def _rotated(contenders: Iterable[str], by: int) -> list[str]:
    """Another one begins in each round: whoever follows a hungry one may find cold caches."""
    names = list(contenders)
    by %= len(names)
    return names[by:] + names[:by]


def _cpu_seconds(work: Work, who: str, size: int) -> float:
    """CPU time of one contender, each from the same state of the garbage collector."""
    contender = work.contenders[who]
    gc.collect()
    start = time.process_time()
    figures: Figures = contender(size, SEED)
    took = time.process_time() - start
    del figures
    return took


def _tell(line: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _list(works: list[Work]) -> None:
    for work in works:
        print(f"{work.name}: {work.about}")
        for who in work.contenders:
            print(f"  {who}")


def _print_table(works: list[Work], ratios: dict[str, Ratios], rounds: int) -> None:
    names = list(dict.fromkeys(who for row in ratios.values() for who in row))
    width = max(map(len, names))
    print(f"times as fast as SimPy by hand, median of {rounds} rounds, Python {sys.version.split()[0]}")
    print(" " * width, *(f"{work.name:>12}" for work in works))
    for who in names:
        print(f"{who:<{width}}", *(_cell(ratios[work.name].get(who)) for work in works))


def _cell(ratio: float | None) -> str:
    return f"{'-' if ratio is None else f'{ratio:.2f}':>12}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: work -> contender -> ratio"
    )
    parser.add_argument("--list", action="store_true", help="print the works and who does them")
    parser.add_argument(
        "--work", action="append", metavar="NAME", help="measure this work only; may be repeated"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds to measure (15; with --quick 3)")
    parser.add_argument(
        "--growth", action="store_true", help="measure what one workflow costs among more and more of them"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small works and few rounds: a look, not a measurement"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
