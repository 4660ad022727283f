"""Hyperspectral cubes: readers, calibration, bad bands, plots, windows, and the stores between the steps."""
