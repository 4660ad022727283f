"""Shell of the step ``gather``."""
