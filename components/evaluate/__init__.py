"""Shell of the step ``evaluate``."""
