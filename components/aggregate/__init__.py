"""Shell of the step ``aggregate``."""
