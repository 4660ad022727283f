"""Images that the components run in; ``infra/images`` holds the file that builds each.

Kubeflow's local runner warns about images whose name lacks "python".
"""

PYTHON_IMAGE = "focus-python:0.1.0"
