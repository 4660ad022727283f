"""Shell of the step ``promote``."""
