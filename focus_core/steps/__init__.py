"""The verbs of the chain: one file each, one public function each, URIs in, stores and metrics out."""
