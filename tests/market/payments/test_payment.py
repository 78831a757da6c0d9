"""A payment's rules: how much, how it stands, and that no money is kept for what has failed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from craton.domain import CurrencyMismatch, DomainError, Event, Id, Money, Text
from craton.ports import StoredEvent
from market.payments.domain import Limits, Payment
from market.payments.events import (
    AmountNotPositive,
    AmountOverLimit,
    ChargeAnnounced,
    DepositNotRefundable,
    DisputeClosed,
    Means,
    NothingToRefund,
    NotPaidInBrowser,
    PaidAgain,
    PaidAgainReturned,
    PaymentCameLate,
    PaymentCancelledInAdvance,
    PaymentFailed,
    PaymentId,
    PaymentOver,
    PaymentProcessed,
    PaymentRefunded,
    PaymentStatus,
    Purpose,
    RefundExceeded,
    RefundId,
    RefundRequested,
    Standing,
)
from market.payments.module import payments
from tests.market.money import eur

ORDER, PAYER = Id.new(), Id.new()


def requested(
    amount: Money | None = None,
    method: str | None = "pm_card_visa",
    purpose: Purpose = Purpose.ORDER,
    means: Means = Means.CARD,
) -> Payment:
    wanted = eur("10.00") if amount is None else amount
    return Payment.request(PaymentId.derived(ORDER), ORDER, PAYER, wanted, purpose, means, method)


def paid(amount: Money | None = None, purpose: Purpose = Purpose.ORDER) -> Payment:
    payment = requested(amount, purpose=purpose)
    settle(payment, Standing.SUCCEEDED)
    return payment


def settle(payment: Payment, standing: Standing, reference: str = "pi_1") -> None:
    payment.settle(standing, Text("why"), reference, RefundId.new())


def refund(payment: Payment, amount: str | None = None) -> RefundId:
    id = RefundId.new()
    payment.refund(id, None if amount is None else eur(amount))
    return id


def told(payment: Payment, kind: type[Event]) -> Iterator[Event]:
    return (event for event in payment.recorded if isinstance(event, kind))


# --- how much ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "over"),
    [
        (eur("10000.00"), eur("10000.01")),
        (Money.of("1000000", "JPY"), Money.of("1000001", "JPY")),
        (Money.of("10000.000", "KWD"), Money.of("10000.001", "KWD")),
        (Money.of("10000.0000", "CLF"), Money.of("10000.0001", "CLF")),
    ],
    ids=str,
)
def test_the_limit_is_accepted_and_the_smallest_unit_more_refused(limit: Money, over: Money) -> None:
    assert requested(limit).amount == limit
    with pytest.raises(AmountOverLimit) as refused:
        requested(over)

    assert refused.value.limit == limit


@pytest.mark.parametrize("amount", ["0", "-0.01", "-10000.01"])
def test_an_amount_is_more_than_nothing(amount: str) -> None:
    with pytest.raises(AmountNotPositive):
        requested(eur(amount))


def test_the_smallest_unit_can_be_paid() -> None:
    assert requested(Money.of("1", "JPY")).amount == Money.of("1", "JPY")


def test_the_id_of_a_payment_follows_from_its_order() -> None:
    assert PaymentId.derived(ORDER) == PaymentId.derived(str(ORDER))
    assert PaymentId.derived(ORDER) != PaymentId.derived(Id.new())


# --- how it stands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("means", "method", "status"),
    [
        (Means.CARD, "pm_card_visa", PaymentStatus.PROCESSING),
        (Means.CARD, "wallet", PaymentStatus.PROCESSING),  # what a card is called means nothing
        (Means.WALLET, None, PaymentStatus.PROCESSING),
        (Means.CARD, None, PaymentStatus.REQUIRES_ACTION),
    ],
)
def test_a_payment_is_made_in_the_browser_only_if_the_payer_chooses_a_card_there(
    means: Means, method: str | None, status: PaymentStatus
) -> None:
    payment = requested(method=method, means=means)

    assert payment.status is status
    if status is PaymentStatus.REQUIRES_ACTION:
        payment.require_browser()
    else:
        with pytest.raises(NotPaidInBrowser):
            payment.require_browser()


@pytest.mark.parametrize("standing", [Standing.SUCCEEDED, None])
def test_a_payment_that_has_ended_cannot_be_made_in_the_browser(standing: Standing | None) -> None:
    payment = requested(method=None)
    if standing is None:
        payment.give_up(Text("timed out"))
    else:
        settle(payment, standing)

    with pytest.raises(PaymentOver) as refused:
        payment.require_browser()

    assert refused.value.status is payment.status


def test_a_charge_is_announced_once_and_only_while_it_may_be_paid() -> None:
    payment = requested()

    for _ in range(2):
        payment.announce("pi_1")
    settle(payment, Standing.REQUIRES_ACTION)
    waiting = payment.status
    settle(payment, Standing.FAILED)
    payment.announce("pi_2")

    assert (waiting, payment.announced) == (PaymentStatus.REQUIRES_ACTION, "pi_1")
    assert list(told(payment, ChargeAnnounced)) == [ChargeAnnounced(reference="pi_1", order=ORDER)]


def test_success_is_told_once() -> None:
    payment = paid()

    for standing in Standing:
        settle(payment, standing)

    assert payment.status is PaymentStatus.SUCCEEDED
    assert payment.recorded[1:] == (
        PaymentProcessed(order=ORDER, payer=PAYER, amount=eur("10.00"), purpose=Purpose.ORDER, reference="pi_1"),
    )


def test_failure_is_told_once_with_its_reason() -> None:
    payment = requested()

    for standing in (Standing.FAILED, Standing.FAILED, Standing.PROCESSING, Standing.REQUIRES_ACTION):
        settle(payment, standing)
    payment.give_up(Text("timed out"))

    assert payment.status is PaymentStatus.FAILED
    assert payment.recorded[1:] == (PaymentFailed(order=ORDER, payer=PAYER, reason=Text("why")),)


def test_a_wallet_that_refuses_fails_the_payment() -> None:
    payment = requested(method=None, means=Means.WALLET)

    settle(payment, Standing.FAILED)

    assert payment.status is PaymentStatus.FAILED


def test_money_that_is_taken_by_a_second_charge_goes_back_once() -> None:
    payment = paid()

    for _ in range(3):
        settle(payment, Standing.SUCCEEDED, "pi_2")
    settle(payment, Standing.SUCCEEDED, "")  # nobody says by which charge: it is no other

    (again,) = told(payment, PaidAgain)
    assert isinstance(again, PaidAgain)
    assert again.reference == "pi_2"
    assert (payment.refundable, payment.references) == (eur("10.00"), ("pi_1", "pi_2"))
    payment.finish_refund(again.refund, eur("10.00"))
    assert list(told(payment, PaidAgainReturned)) == [
        PaidAgainReturned(order=ORDER, payer=PAYER, refund=again.refund, amount=eur("10.00"))
    ]
    assert (payment.status, payment.refunded) == (PaymentStatus.SUCCEEDED, eur("0.00"))


def test_in_the_browser_the_payer_may_try_another_card() -> None:
    payment = requested(method=None)

    settle(payment, Standing.FAILED)
    declined = payment.status
    settle(payment, Standing.SUCCEEDED)

    assert (declined, payment.status) == (PaymentStatus.REQUIRES_ACTION, PaymentStatus.SUCCEEDED)


@pytest.mark.parametrize("method", ["pm_card_visa", None])
@pytest.mark.parametrize("purpose", Purpose)
def test_a_payment_that_is_given_up_fails_and_late_money_goes_back_once(method: str | None, purpose: Purpose) -> None:
    payment = requested(method=method, purpose=purpose)
    payment.give_up(Text("timed out"))

    for _ in range(3):
        settle(payment, Standing.SUCCEEDED)

    (back,) = told(payment, RefundRequested)
    assert isinstance(back, RefundRequested)
    assert back.amount == payment.amount
    assert len(list(told(payment, PaymentCameLate))) == 1
    assert not list(told(payment, PaymentProcessed))  # so that nobody delivers anything for it
    assert payment.reference == "pi_1"
    payment.finish_refund(back.refund, back.amount)
    settle(payment, Standing.SUCCEEDED)
    assert payment.status is PaymentStatus.REFUNDED
    assert len(list(told(payment, RefundRequested))) == 1


@pytest.mark.parametrize("standings", list(permutations(Standing)), ids=" ".join)
@pytest.mark.parametrize("method", ["pm_card_visa", None])
def test_in_any_order_of_reports_money_that_was_taken_is_paid_or_goes_back(
    standings: tuple[Standing, ...], method: str | None
) -> None:
    payment = requested(method=method)

    for standing in standings * 2:
        settle(payment, standing)

    assert payment.status is PaymentStatus.SUCCEEDED
    back = sum(fact.amount.minor for fact in told(payment, RefundRequested) if isinstance(fact, RefundRequested))
    failed = bool(list(told(payment, PaymentFailed)))
    assert failed is (method is not None and standings.index(Standing.FAILED) < standings.index(Standing.SUCCEEDED))
    assert back == (payment.amount.minor if failed else 0)


# --- what is given back --------------------------------------------------------------------------------------


def test_part_of_it_is_given_back_and_then_the_rest() -> None:
    payment = paid()

    first = refund(payment, "4.00")
    payment.finish_refund(first, eur("4.00"))
    partly = payment.status
    rest = refund(payment)
    payment.finish_refund(rest, eur("6.00"))

    assert (partly, payment.status) == (PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)
    assert [fact for fact in payment.recorded if isinstance(fact, PaymentRefunded)] == [
        PaymentRefunded(order=ORDER, payer=PAYER, refund=first, amount=eur("4.00"), remaining=eur("6.00")),
        PaymentRefunded(order=ORDER, payer=PAYER, refund=rest, amount=eur("6.00"), remaining=eur("0.00")),
    ]


def test_requested_refunds_count_before_they_arrive() -> None:
    payment = paid()
    refund(payment, "4.00")

    with pytest.raises(RefundExceeded) as exceeded:
        refund(payment, "6.01")
    refund(payment, "6.00")
    with pytest.raises(NothingToRefund):
        refund(payment, "0.01")
    with pytest.raises(NothingToRefund):
        refund(payment)

    assert exceeded.value.refundable == eur("6.00")


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_only_more_than_nothing_is_given_back(amount: str) -> None:
    with pytest.raises(AmountNotPositive):
        refund(paid(), amount)


def test_it_is_given_back_in_its_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        paid().refund(RefundId.new(), Money.of("1", "USD"))


def test_a_payment_that_did_not_succeed_is_not_refunded() -> None:
    waiting, failed = requested(), requested()
    settle(failed, Standing.FAILED)

    for payment in (waiting, failed):
        with pytest.raises(NothingToRefund):
            refund(payment)


def test_a_deposit_is_not_refunded_but_withdrawn() -> None:
    with pytest.raises(DepositNotRefundable):
        refund(paid(purpose=Purpose.DEPOSIT), "1.00")


def test_taking_back_lets_an_open_payment_fail_and_refunds_a_paid_one() -> None:
    waiting, done, partly = requested(), paid(), paid()
    refund(partly, "4.00")

    for payment in (waiting, done, partly) * 2:
        payment.take_back(RefundId.new())

    assert waiting.status is PaymentStatus.FAILED
    assert [payment.requested_refunds for payment in (waiting, done, partly)] == [eur("0"), eur("10"), eur("10")]
    assert [fact.reason for fact in told(waiting, PaymentFailed) if isinstance(fact, PaymentFailed)] == ["called off"]


def test_a_payment_that_is_cancelled_in_advance_has_failed() -> None:
    payment = Payment.cancel_in_advance(PaymentId.derived(ORDER), ORDER)

    payment.take_back(RefundId.new())
    payment.give_up(Text("timed out"))

    assert (payment.status, len(payment.recorded)) == (PaymentStatus.FAILED, 1)


def test_a_cancellation_in_advance_that_was_stored_under_its_former_name_is_read() -> None:
    order = Id.new()
    stored = StoredEvent(
        stream=f"payment-{PaymentId.derived(order)}",
        version=1,
        id="event",
        type="PaymentForestalled",
        schema_version=1,
        data=f'{{"order":"{order}"}}',
        metadata="{}",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        position=1,
    )

    assert payments.events.data(stored) == PaymentCancelledInAdvance(order=order)


# --- whatever happens ----------------------------------------------------------------------------------------


class PaymentInAnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.payment = requested()
        self.taken: set[str] = set()
        self.outstanding: list[RefundRequested] = []
        self.doubled: list[PaidAgain] = []
        self.returned = 0

    @rule(standing=st.sampled_from(Standing), reference=st.sampled_from(["pi_1", "pi_2", "pi_3"]))
    def the_gateway_tells(self, standing: Standing, reference: str) -> None:
        if standing is Standing.SUCCEEDED:
            self.taken.add(reference)
        self.run(lambda: settle(self.payment, standing, reference))

    @rule()
    def it_takes_too_long(self) -> None:
        self.run(lambda: self.payment.give_up(Text("timed out")))

    @rule()
    def the_order_is_cancelled(self) -> None:
        self.run(lambda: self.payment.take_back(RefundId.new()))

    @rule(minor=st.none() | st.integers(-1, 1_100))
    def somebody_refunds(self, minor: int | None) -> None:
        amount = None if minor is None else Money(minor, self.payment.currency)
        self.run(lambda: self.payment.refund(RefundId.new(), amount))

    @rule()
    def a_refund_arrives(self) -> None:
        if self.outstanding:
            arrived = self.outstanding.pop()
            self.returned += arrived.amount.minor
            self.run(lambda: self.payment.finish_refund(arrived.refund, arrived.amount))

    @rule()
    def a_second_payment_is_back(self) -> None:
        if self.doubled:
            again = self.doubled.pop()
            self.run(lambda: self.payment.finish_refund(again.refund, self.payment.amount))

    def run(self, what: Callable[[], object]) -> None:
        before = len(self.payment.recorded)
        try:
            what()
        except DomainError:
            assert len(self.payment.recorded) == before, "a refusal has left something behind"
        news = self.payment.recorded[before:]
        self.outstanding += [fact for fact in news if isinstance(fact, RefundRequested)]
        self.doubled += [fact for fact in news if isinstance(fact, PaidAgain)]

    def count(self, kind: type[Event]) -> int:
        return len(list(told(self.payment, kind)))

    @invariant()
    def what_others_are_told_is_told_once(self) -> None:
        assert self.count(PaymentProcessed) + self.count(PaymentFailed) <= 1
        assert self.count(PaymentCameLate) <= self.count(PaymentFailed)

    @invariant()
    def money_that_was_taken_is_paid_or_goes_back_whole(self) -> None:
        assert bool(self.taken) == bool(self.count(PaymentProcessed) or self.count(PaymentCameLate))
        if self.taken and self.count(PaymentFailed):
            assert self.payment.requested_refunds == self.payment.amount
        if self.payment.status is PaymentStatus.FAILED:
            assert not self.taken

    @invariant()
    def of_several_charges_all_but_one_go_back(self) -> None:
        assert self.count(PaidAgain) == max(0, len(self.taken) - 1)
        assert self.count(PaidAgainReturned) == self.count(PaidAgain) - len(self.doubled)
        assert set(self.payment.references) - {""} == self.taken

    @invariant()
    def no_more_goes_back_than_came(self) -> None:
        waiting = sum(fact.amount.minor for fact in self.outstanding)
        assert self.payment.refunded.minor == self.returned
        assert self.payment.requested_refunds.minor == self.returned + waiting
        assert self.payment.requested_refunds.minor <= (self.payment.amount.minor if self.taken else 0)

    @invariant()
    def its_status_says_how_much_is_left(self) -> None:
        status, amount = self.payment.status, self.payment.amount.minor
        assert (status is PaymentStatus.REFUNDED) == (self.returned == amount)
        assert (status is PaymentStatus.PARTIALLY_REFUNDED) == (0 < self.returned < amount)


TestPaymentInAnyOrder = PaymentInAnyOrder.TestCase
TestPaymentInAnyOrder.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)


class TestWhatTheGatewayTells:
    """Refunds made there, refunds that come back, disputes: in whatever order it is told."""

    def test_a_refund_that_came_back_is_not_taken_for_one_that_was_made_elsewhere(self) -> None:
        payment, refund = paid(), RefundId.new()
        payment.refund(refund, eur("10"))
        payment.finish_refund(refund, eur("10"))
        payment.learn_failed_refund(refund, eur("10"), "lost card")

        payment.learn_returned(eur("10"), RefundId.derived("evt_late"))

        assert (payment.status, payment.refunded) == (PaymentStatus.SUCCEEDED, eur("0"))
        payment.refund(RefundId.new(), eur("10"))

    def test_a_refund_may_fail_before_it_is_reported_here(self) -> None:
        payment, refund = paid(), RefundId.new()
        payment.refund(refund, eur("10"))

        payment.learn_failed_refund(refund, eur("10"), "lost card")
        payment.finish_refund(refund, eur("10"))

        assert (payment.status, payment.refunded) == (PaymentStatus.SUCCEEDED, eur("0"))
        payment.refund(RefundId.new(), eur("10"))

    def test_a_refund_that_was_made_elsewhere_may_come_back(self) -> None:
        payment = paid()
        payment.learn_returned(eur("4"), RefundId.derived("evt_1"))
        assert payment.status is PaymentStatus.PARTIALLY_REFUNDED

        payment.learn_failed_refund(None, eur("4"), "lost card")
        payment.learn_failed_refund(None, eur("4"), "lost card")

        assert (payment.status, payment.refunded) == (PaymentStatus.SUCCEEDED, eur("0"))

    def test_a_refund_that_was_requested_here_was_not_made_elsewhere(self) -> None:
        payment, refund = paid(), RefundId.new()
        payment.refund(refund, eur("4"))

        payment.learn_returned(eur("4"), RefundId.derived("evt_1"))
        payment.finish_refund(refund, eur("4"))

        assert payment.refunded == eur("4")

    def test_it_is_disputed_as_long_as_one_dispute_is_open_or_one_was_lost(self) -> None:
        payment = paid()
        for dispute in ("one", "two"):
            payment.learn_dispute(dispute, eur("5"), "fraudulent")
        payment.learn_end_of_dispute("one", lost=False)
        payment.learn_end_of_dispute("two", lost=True)
        payment.learn_dispute("three", eur("5"), "fraudulent")
        payment.learn_end_of_dispute("three", lost=False)

        ends = [fact.disputed for fact in payment.recorded if isinstance(fact, DisputeClosed)]
        assert ends == [True, True, True]


def test_with_a_limit_of_zero_every_payment_is_refused() -> None:
    with pytest.raises(AmountOverLimit):
        Limits.read("EUR=0").require_payable(eur("0.01"))
