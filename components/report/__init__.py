"""Shell of the step ``report``."""
