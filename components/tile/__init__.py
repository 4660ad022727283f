"""Shell of the step ``tile``."""
