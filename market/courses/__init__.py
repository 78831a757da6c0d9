"""Courses: who takes part in which, in plain tables."""
