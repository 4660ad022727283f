"""Kubeflow shells, one for each step: they call `focus_core.steps` and hold no logic."""
