"""Shell of the step ``season``."""
