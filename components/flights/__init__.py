"""Shell of the step ``notify``."""
