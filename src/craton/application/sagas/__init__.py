"""Sagas: how they are written, what is known of each, and the rules by which they go on."""

from craton.application.sagas.definition import Cause, Definition, Saga, Step, step, wait_for
from craton.application.sagas.starting import Sagas

__all__ = ["Cause", "Definition", "Saga", "Sagas", "Step", "step", "wait_for"]
