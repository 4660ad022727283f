"""The steps as Kubeflow pipelines, and what compiles and runs them."""
