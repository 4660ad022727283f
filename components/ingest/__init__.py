"""Shell of the step ``ingest``."""
