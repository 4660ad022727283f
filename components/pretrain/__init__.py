"""Shell of the step ``pretrain``."""
