"""Shell of the step ``explain``."""
