"""Arguments: what a call was given, exactly or by a function of it."""

from __future__ import annotations

from functools import partial

import pytest

from wfsim import DAGWorkflow, Retry, Saga, StateMachine, called, fail, given, simulate
from wfsim.errors import DesignError
from wfsim.kernel import perform


class Card:
    """Something that is no data."""


def charge(order, amount=20, *, card=None):
    return f"{amount} for {order}" if card is None else f"{amount} for {order} by card"


def refund(context):
    return context.input


def checkout():
    saga = Saga("checkout")
    saga.add_step("charge", forward=partial(charge, "o-1", card=Card()), compensate=refund)
    return saga.add_step("ship", forward=lambda context: context["charge"])


async def client(order):
    """Code of a user's own that performs its calls."""
    await perform("call", "client", "charge", charge, order)
    await perform("call", "client", "charge", charge, order, 5)


WRONG = given(client).when("o-1")


def test_arguments_are_compared_by_name():
    """What is named must be so; what is not named may be anything; defaults count as given."""
    given(checkout).when("go").then_called(called("charge", order="o-1", amount=20), "ship")
    WRONG.then_called(called("charge", order="o-1", amount=20), called("charge", amount=5))


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"order": "o-2"}, "no call charge (order='o-2')"),
        ({"amount": lambda amount: amount > 20}, "no call charge (amount=<lambda>)"),
        ({"arguments": {"order": "o-1"}}, "no call charge (arguments={'order': 'o-1'})"),
        ({"arguments": lambda given: given["amount"] == 3}, "no call charge (arguments=<lambda>)"),
    ],
)
def test_another_argument_fails_the_sentence(expected, told):
    """The message tells what was expected, and the arguments of interest of what happened."""
    outcome = given(client).when("o-1")
    with pytest.raises(AssertionError) as caught:
        outcome.then_called(called("charge", **expected), none_other=False)
    assert told in str(caught.value)
    shown = "charge(amount=20)" if "amount" in expected else "charge(order='o-1'"
    assert shown in str(caught.value)


def test_a_function_judges_one_argument_or_all():
    """As a matcher does: of a value, or of the mapping of them all."""
    WRONG.then_called(
        called("charge", amount=lambda amount: amount > 10),
        called("charge", arguments=lambda given: given["amount"] < 10 and given["order"] == "o-1"),
    )


def test_all_arguments_and_no_others():
    """``arguments`` is the whole; a value in it may be a function too."""
    exact = {"order": "o-1", "amount": lambda amount: amount == 5, "card": None}
    WRONG.then_called("charge", called("charge", arguments=exact))


def test_unwanted_arguments_are_found():
    """``then_not_called`` speaks of arguments too."""
    WRONG.then_not_called(called("charge", order="o-2"))
    with pytest.raises(AssertionError, match=r"charge\(order='o-1'\)"):
        WRONG.then_not_called(called("charge", order="o-1"))


def test_a_context_is_spread():
    """A step is given the saga's input and the results so far; a compensation too."""
    outcome = given(checkout).under(fail("ship")).when("go")
    outcome.then_called(
        called("ship", input="go", results={"charge": "20 for o-1 by card"}), in_order=False, none_other=False
    )
    outcome.then_compensated(called("charge", input="go"))


def test_a_machine_tells_what_its_functions_are_given():
    """Event, payload, input and data."""

    def pay(context):
        context.data["paid"] = context.payload

    def machine():
        return StateMachine("a", name="m", data={"paid": 0}).add_transition("a", "b", "pay", action=pay)

    given(machine, input="order-1").when("pay", 20).then_called(
        called("pay", arguments={"event": "pay", "payload": 20, "input": "order-1", "data": {"paid": 0}})
    )


def test_a_task_is_given_the_results_before_it():
    """The results of dependencies, by the names of the task's parameters."""

    def dag():
        flow = DAGWorkflow(name="d")
        flow.add_task("load", lambda: [1, 2])
        flow.add_task("total", lambda load: sum(load), depends_on=["load"])
        return flow

    given(dag).when().then_called(called("load", arguments={}), called("total", load=[1, 2]))


def test_every_attempt_has_them():
    """A call that is tried again is one call, with the arguments of all its tries."""

    def flaky():
        saga = Saga("s")
        return saga.add_step("charge", forward=partial(charge, "o-1"), retry=Retry(attempts=3))

    outcome = given(flaky).under(fail("charge", attempts=[1, 2])).when("go")
    outcome.then_called(called("charge", order="o-1", attempts=3))
    tries = outcome.run.history.where(kind="forward", type="invoke")
    assert [op.data["arguments"]["order"] for op in tries] == ["o-1"] * 3


def test_what_is_no_data_is_its_type():
    """An object without a form of its own is told by its class, never by its place in memory."""
    card = given(checkout).when("go").calls[0].arguments["card"]
    assert card.startswith("<")
    assert card.endswith(".Card>")
    assert "0x" not in card


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"ordr": "o-1"}, "'charge' has no argument 'ordr'; did you mean 'order'?"),
        ({"attemps": 2}, "'charge' has no argument 'attemps'; did you mean 'attempts'?"),
        ({"weight": 2}, "'charge' has no argument 'weight'; it has: order, amount, card"),
        ({"arguments": 3}, r"arguments=3 of called\('charge'\) must be a mapping by name"),
    ],
)
def test_a_slip_in_a_name_is_an_error(expected, message):
    """An argument that no call of the name has would be waited for for ever."""
    with pytest.raises(DesignError, match=message):
        WRONG.then_not_called(called("charge", **expected))


def test_what_a_lambda_hides_is_said():
    """A function that takes nothing shows nothing; the message says how to let it."""
    order = "o-1"
    saga = Saga("s").add_step("charge", forward=lambda: charge(order))
    with pytest.raises(DesignError, match="what a lambda closes over cannot be seen"):
        given(saga).when("go").then_called(called("charge", order="o-1"))
    saga = Saga("s").add_step("charge", forward=lambda order=order: charge(order))
    given(saga).when("go").then_called(called("charge", order="o-1"))


def test_histories_hold_no_arguments_unless_asked():
    """A run records them only if it is told to, and is the same otherwise."""
    plain = simulate(client, "o-1")
    assert all("arguments" not in op.data for op in plain.history)
    told = simulate(client, "o-1", record_arguments=True)
    stripped = [{key: value for key, value in op.data.items() if key != "arguments"} for op in told.history]
    assert stripped == [op.data for op in plain.history]
    assert told.history.where(kind="call", type="invoke")[1].data["arguments"] == {
        "order": "o-1",
        "amount": 5,
        "card": None,
    }
    assert told.fingerprint == simulate(client, "o-1", record_arguments=True).fingerprint


def test_arguments_of_any_signature_have_a_name():
    """Extra positional ones are called by their place, extra keywords by their own name."""

    def many(first, *rest, **more):
        return [first, rest, more]

    def built_in():
        return None

    async def main():
        await perform("call", "d", "many", partial(many, 1, 2, x=3), 4)
        await perform("call", "d", "max", max, 1, 2)
        await perform("call", "d", "none", built_in)

    history = simulate(main, record_arguments=True).history
    found = [op.data["arguments"] for op in history.where(kind="call", type="invoke")]
    assert found == [{"first": 1, "1": 2, "2": 4, "x": 3}, {"0": 1, "1": 2}, {}]


@pytest.mark.parametrize("blocks", [False, True], ids=["awaited", "called"])
def test_the_arguments_of_a_dags_task_have_the_names_of_its_function(blocks):
    """The results that a task is given are named as in the user's own function, which may block or not."""

    async def fetch():
        return "order 1"

    async def pack(order, paper="brown"):
        return f"{order} in {paper}"

    def pack_blocking(order, paper="brown"):
        return f"{order} in {paper}"

    def shop():
        dag = DAGWorkflow(name="shop")
        dag.add_task("fetch", func=fetch)
        return dag.add_task("pack", func=pack_blocking if blocks else pack, depends_on=["fetch"])

    given(shop).when("go").then_called("fetch", called("pack", order="order 1", paper="brown"))
