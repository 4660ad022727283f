"""Shell of the step ``train``."""
