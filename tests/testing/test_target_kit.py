"""The kit for targets: wfsim's own targets keep every law, and for each law a target that breaks it is caught."""

import asyncio
import socket

import pytest

import wfsim
from wfsim import testing
from wfsim.errors import DesignError, InjectedFault, LawBroken
from wfsim.harness import Description, DesignTarget, Factory, FunctionTarget
from wfsim.kernel import current, event, perform
from wfsim.testing import LAWS, check_target


async def book():
    await asyncio.sleep(1)
    wfsim.effect("booked")


async def cancel():
    wfsim.effect("cancelled")


async def refuse():
    raise ValueError("no")


def saga(last=book):
    return (
        wfsim.Saga("trip")
        .add_step("hotel", forward=book, compensate=cancel)
        .add_step("car", forward=last, compensate=cancel)
    )


def make_design():
    return DesignTarget(saga())


def make_failing_design():
    return DesignTarget(saga(refuse))


def make_function():
    return FunctionTarget(book)


def make_failing_function():
    return FunctionTarget(refuse)


def make_factory():
    return Factory(saga)


def make_failing_factory():
    return Factory(saga, {"last": refuse})


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    ("make", "failing"),
    [
        (make_design, make_failing_design),
        (make_function, make_failing_function),
        (make_factory, make_failing_factory),
    ],
    ids=["design", "function", "factory"],
)
def test_the_built_in_targets_keep(law, make, failing):
    """Each of the three keeps each law."""
    check_target(make, failing=failing, laws=[law])


class Model:
    """A target that keeps the laws: two steps, one after the other. What breaks one is made from it."""

    name = "model"
    steps = ("pay", "ship")

    def describe(self):
        return Description(self.name, "model", self.steps)

    async def start(self):
        return []

    async def drive(self, system, *args):
        for step in ("pay", "ship"):
            await perform("step", self.name, step, self.act, system, step)
        return len(args)

    async def act(self, system, step):
        await asyncio.sleep(0.5)
        system.append(step)


class FailsModel(Model):
    async def act(self, system, step):
        raise ValueError(system, step)


def make_failing():
    return FailsModel()


def number(instance):
    return instance


def test_a_target_of_another_engine_keeps_them_all():
    """Also with an input for each instance."""
    check_target(Model, failing=FailsModel, inputs=number)


class DescribesAnew(Model):
    count = 0

    def describe(self):
        type(self).count += 1
        return Description(f"model {self.count}", "model", self.steps)


class ForgetsAStep(Model):
    steps = ("pay",)


class NamesTwice(Model):
    steps = ("pay", "ship", "pay")


class NoTarget:
    def describe(self):
        return Description("half", "model")


class Nameless(Model):
    name = ""


class InventsAStep(Model):
    steps = ("pay", "ship", "fly")


class CallsHome(Model):
    async def act(self, system, step):
        with socket.create_connection(("127.0.0.1", 9)):
            system.append(step)


runs = []


class CountsRuns(Model):
    async def start(self):
        runs.append(1)
        event("start", f"run {len(runs)}")
        return []


class WalksASet(Model):
    async def start(self):
        for name in {f"worker-{number}" for number in range(20)}:
            event("start", name)
        return []


class KeepsState(Model):
    def __init__(self):
        self.seen = []

    async def start(self):
        self.seen.append(1)
        event("start", f"run {len(self.seen)}")
        return self.seen


class SwallowsErrors(Model):
    async def act(self, system, step):
        pass


class Explodes(Model):
    def describe(self):
        raise ValueError("broken")


class StrikesAll(Model):
    """Makes a fault point of whatever name a rule gives."""

    async def start(self):
        await perform("step", self.name, testing._NOBODY, wait)
        return []


async def wait():
    await asyncio.sleep(0)


class SharesAFate(Model):
    async def drive(self, system, *args):
        try:
            if system:
                raise RuntimeError("another instance has failed")
            await perform("step", self.name, "pay", wait)
            await asyncio.sleep(1)
            if system:
                raise RuntimeError("another instance has failed")
        except InjectedFault:
            system.append(args)
            raise
        await perform("step", self.name, "ship", wait)


class OneAtATime(Model):
    async def drive(self, system, *args):
        if system:
            raise RuntimeError("busy")
        system.append("busy")
        await super().drive(system, *args)


class GoesOn(Model):
    async def drive(self, system, *args):
        current().loop.create_task(self.later())
        await super().drive(system, *args)

    async def later(self):
        await asyncio.sleep(60)
        wfsim.effect("too late")


@pytest.mark.parametrize(
    ("law", "make", "told"),
    [
        ("described", DescribesAnew, "and later"),
        ("described", ForgetsAStep, "'ship', which describe() does not name"),
        ("described", NamesTwice, "each once"),
        ("described", NoTarget, "is no Target"),
        ("described", Nameless, "with a name"),
        ("virtual", CallsHome, "real world"),
        ("repeatable", CountsRuns, "different histories"),
        ("repeatable elsewhere", WalksASet, "another process with PYTHONHASHSEED="),
        ("fresh", KeepsState, "third run"),
        ("struck", InventsAStep, "no rule can strike fly"),
        ("struck", StrikesAll, "struck something"),
        ("independent", SharesAFate, "instance 2 did not end well"),
        ("independent", OneAtATime, "busy"),
        ("over", GoesOn, "'too late'"),
    ],
)
def test_a_target_that_breaks_a_law_is_caught(law, make, told):
    """The error names the law, and says what is wrong."""
    with pytest.raises(LawBroken) as caught:
        check_target(make, failing=make_failing, laws=[law])
    assert caught.value.law == law
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("failing", "told"), [(SwallowsErrors, "ended as ok"), (Explodes, "ended the harness, with ValueError")]
)
def test_a_failure_that_does_not_show_is_caught(failing, told):
    """The design should fail and does not, or it takes the harness with it."""
    with pytest.raises(LawBroken, match="failing") as caught:
        check_target(Model, failing=failing, laws=["failing"])
    assert told in str(caught.value)


def test_a_step_that_this_design_does_not_come_to_is_said():
    """Then no rule is expected to strike there; what names no step is refused."""
    check_target(InventsAStep, failing=make_failing, unreached=["f*"], laws=["struck"])
    with pytest.raises(DesignError, match="no step is called so; they are pay, ship"):
        check_target(Model, failing=make_failing, unreached=["f*"], laws=["struck"])


def test_what_another_process_cannot_find_is_refused():
    """A lambda has no place in a file."""
    with pytest.raises(DesignError, match="top of a file"):
        check_target(lambda: Model(), failing=make_failing, laws=["repeatable elsewhere"])


def test_a_law_that_does_not_exist_is_refused():
    """The error lists those that do."""
    with pytest.raises(DesignError, match="described, virtual, repeatable"):
        check_target(Model, failing=make_failing, laws=["gravity"])
