"""Shell of the step ``flights``."""
