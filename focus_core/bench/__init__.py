"""Figures against floors and rivals; each module is one bench behind ``focus bench NAME``."""
