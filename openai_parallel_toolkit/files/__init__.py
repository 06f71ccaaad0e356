"""Inputs, staging and outputs of a run."""
