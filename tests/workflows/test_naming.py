"""Steps without a name get a good one."""

from __future__ import annotations

from functools import partial

import pytest

from wfsim.workflows import Saga


def charge_payment(amount=1):
    return amount


class Shop:
    def charge(self, amount=1):
        return amount


class Refund:
    def __call__(self):
        return None


shop = Shop()
order = 7


def local_lambda():
    def book():
        return None

    return lambda: book()


def local_lambda_with_argument():
    def book(what):
        return what

    item = 3
    return lambda: book(item)


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (charge_payment, "charge_payment"),
        (lambda: charge_payment(), "charge_payment"),
        (lambda: charge_payment(order), "charge_payment"),
        (lambda context: charge_payment(context["price"]), "charge_payment"),
        (lambda: charge_payment(amount=order), "charge_payment"),
        (lambda: shop.charge(), "charge"),
        (lambda: shop.charge(order), "charge"),
        (shop.charge, "charge"),
        (partial(charge_payment, 3), "charge_payment"),
        (partial(lambda amount: charge_payment(amount), 3), "charge_payment"),
        (Refund(), "Refund"),
        (local_lambda(), "book"),
        (local_lambda_with_argument(), "book"),
        (lambda: None, "step-1"),
        (lambda: charge_payment(abs(order)), "step-1"),
        (lambda: order, "step-1"),
    ],
)
def test_name_comes_from_the_function(forward, name):
    """A step is called as its function is; a lambda's as the one function that it calls.

    Else by its number.
    """
    assert Saga().add_step(forward=forward).steps[0].name == name


def test_names_are_made_unique():
    """Equal derived names are numbered; so steps can be told apart in a history."""
    saga = Saga()
    for _ in range(3):
        saga.add_step(forward=charge_payment, read_only=True)
    saga.add_step(forward=lambda: None)
    assert [step.name for step in saga.steps] == [
        "charge_payment",
        "charge_payment-2",
        "charge_payment-3",
        "step-4",
    ]
