"""Sagas: how they are written, what is known of each, and the rules by which they proceed."""

from craton.application.sagas.definition import Cause, Saga, SagaDefinition, Step, step, wait_for
from craton.application.sagas.start import Sagas

__all__ = ["Cause", "Saga", "SagaDefinition", "Sagas", "Step", "step", "wait_for"]
