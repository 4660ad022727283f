"""Shell of the step ``split``."""
